"""InterpretDL's text methods, quirks included: one noise number per sample, scaled by the mean of the embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import xgraph
from xgraph.sampling.philox import normals, uniforms

pytest.importorskip("torch")

from methods.cases import CASES, SEED, TARGETS, Load, assert_close

pytestmark = pytest.mark.torch

SAMPLES, NOISE = 5, 0.7
CASE = CASES["embedding"]


def explain(model: xgraph.Model, method: str, **given: Any) -> xgraph.Attribution:
    return xgraph.explain(model, CASE.x(), method, list(TARGETS), seed=SEED, variant="interpretdl", **given)


def draws(words: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the noise ``c = u · noise · mean(w)`` and the position ``r`` of every draw, for all rows."""
    rows = np.arange(len(words))
    mean = words.mean(axis=(1, 2), keepdims=True)
    made = []
    for k in range(SAMPLES):
        draw = np.full(len(rows), k)
        noise = normals("noise", SEED, rows, draw, (1, 1)) * NOISE * mean
        made.append((noise, uniforms("alpha", SEED, rows, draw).reshape(-1, 1, 1)))
    return made


def test_smooth_grad(net_model: Load) -> None:
    site = CASE.site("probability")
    words = site.value
    expected = np.mean([site.gradient(words + noise) for noise, _ in draws(words)], axis=0)
    found = explain(net_model(CASE.net), "smooth_grad", samples=SAMPLES, noise=NOISE)
    assert found.target.of == "probability"
    assert_close(found.values[CASE.key], expected)


def test_gradient_shap(net_model: Load) -> None:
    site = CASE.site("probability")
    words = site.value
    expected = words * np.mean([site.gradient(r * (words + noise)) for noise, r in draws(words)], axis=0)
    found = explain(net_model(CASE.net), "gradient_shap", samples=SAMPLES, noise=NOISE)
    assert_close(found.values[CASE.key], expected)
    summed = explain(net_model(CASE.net), "gradient_shap", samples=SAMPLES, noise=NOISE, reduce="sum")
    assert_close(summed.values[CASE.key], expected.sum(axis=2))
