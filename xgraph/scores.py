"""Numbers about the explained value: scores, probabilities, and whether shares add up."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xgraph.of import Of


def scores(explained: np.ndarray, classes: np.ndarray | None, weights: np.ndarray) -> np.ndarray:
    """Returns the explained number of each row: the entry of its class, or the sum weighted by the seed."""
    rows = len(explained)
    if classes is not None:
        return np.asarray(explained[np.arange(rows), classes])
    return np.asarray((explained * weights).reshape(rows, -1).sum(axis=1))


def probability(head: str, of: Of, explained: np.ndarray) -> np.ndarray | None:
    """Returns the probabilities of (rows, classes); None where the model's own head defines none."""
    if explained.ndim != 2 or head == "none":
        return None
    if of != "logit":
        return explained if of == "probability" else np.asarray(np.exp(-explained))
    if head == "sigmoid":
        return np.asarray(0.5 + 0.5 * np.tanh(explained / 2.0))
    powers = np.exp(explained - explained.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def completeness(values: Mapping[str, np.ndarray], covered: np.ndarray) -> dict[str, np.ndarray]:
    """Returns |Σ attribution - (f(x) - f(b))| and f(x) - f(b) per row."""
    total = sum(array.reshape(len(array), -1).sum(axis=1, dtype=np.float64) for array in values.values())
    return {
        "completeness_gap": np.abs(total - covered).astype(np.float32),
        "score_difference": covered.astype(np.float32),
    }
