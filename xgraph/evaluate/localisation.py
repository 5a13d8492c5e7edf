"""Localisation: does an explanation point at the evidence? For images with a mask, and for tokens with marks.

All functions take ``relevance`` (N, ...) and boolean ``evidence`` of the same shape, and return one number per sample.
"""

from __future__ import annotations

import numpy as np

from xgraph.errors import InputError
from xgraph.resample import resize
from xgraph.result import Attribution


def relevance(attribution: Attribution, size: tuple[int, int] | None = None, name: str | None = None) -> np.ndarray:
    """Returns one number per place, float64: what the metrics rank.

    Signed attributions are summed over channels, sensitivities take the largest absolute value; maps of a layer are
    resized bilinearly to ``size``. Tokens (N, T) and (N, T, d) give the absolute sum.

    Args:
        attribution: N rows.
        size: (height, width) of the evidence, for images.
        name: which entry of ``values``; default: the first.

    Raises:
        InputError: The values have another number of axes.
    """
    values = np.asarray(attribution.values[name or next(iter(attribution.values))], np.float64)
    if size is None:
        if values.ndim not in (2, 3):
            raise InputError(f"token relevance is (N, T) or (N, T, d), not {list(values.shape)}")
        return np.abs(values if values.ndim == 2 else values.sum(axis=2))
    if values.ndim == 4:
        values = np.abs(values).max(axis=1) if attribution.kind == "sensitivity" else values.sum(axis=1)
    if values.ndim != 3:
        raise InputError(f"image relevance is (N, C, h, w) or (N, h, w), not {list(values.shape)}")
    if values.shape[1:] == tuple(size):
        return values
    return np.stack([resize(row.astype(np.float32), size) for row in values]).astype(np.float64)


def pointing_game(relevance: np.ndarray, evidence: np.ndarray, tolerance: int = 0) -> np.ndarray:
    """Returns 1.0 where the most relevant place is evidence, or at most ``tolerance`` pixels from it, else 0.0.

    Zhang et al., "Top-down Neural Attention by Excitation Backprop", 2016, arXiv:1608.00507, who allow 15 pixels on
    photographs of about 500.
    """
    if tolerance:
        from skimage.morphology import dilation, disk

        evidence = np.stack([dilation(np.asarray(mask, bool), disk(tolerance)) for mask in evidence])
    flat, marks = _rows(relevance, evidence)
    return np.asarray(marks[np.arange(len(flat)), flat.argmax(axis=1)], np.float64)


def inside_mass(relevance: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Returns the share of positive relevance that lies on the evidence; NaN where there is none.

    Relevance mass accuracy: Arras, Osman and Samek, "CLEVR-XAI", 2022, arXiv:2003.07258.
    """
    flat, marks = _rows(relevance, evidence)
    positive = np.maximum(flat, 0.0)
    total = positive.sum(axis=1)
    inside = (positive * marks).sum(axis=1)
    return np.asarray(np.divide(inside, total, out=np.full(len(flat), np.nan), where=total > 0))


def ranking_auc(relevance: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Returns the area under the ROC curve of relevance as a score for evidence; NaN where there is only one kind."""
    from sklearn.metrics import roc_auc_score

    flat, marks = _rows(relevance, evidence)
    return np.asarray(
        [roc_auc_score(m, r) if m.any() and not m.all() else np.nan for r, m in zip(flat, marks, strict=True)]
    )


def _rows(relevance: np.ndarray, evidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if relevance.shape != evidence.shape:
        raise InputError(f"relevance {list(relevance.shape)} and evidence {list(evidence.shape)} differ in shape")
    return relevance.reshape(len(relevance), -1), np.asarray(evidence, bool).reshape(len(evidence), -1)
