"""Baselines made from pictures: the same whether channels come second or last."""

from __future__ import annotations

import numpy as np
import pytest

from xgraph.sampling.baseline import baseline


@pytest.mark.parametrize("spec", ["blur", "mean"])
def test_channels_last(spec: str) -> None:
    first = np.random.default_rng(0).normal(size=(2, 3, 8, 10)).astype(np.float32)
    last = first.transpose(0, 2, 3, 1)
    rows = np.arange(2)
    expected = baseline(spec, first, first.shape[1:], rows, rows, samples=2)
    found = baseline(spec, last, last.shape[1:], rows, rows, samples=2, channel_axis=3)
    np.testing.assert_allclose(found.transpose(0, 3, 1, 2), expected, atol=1e-6)
