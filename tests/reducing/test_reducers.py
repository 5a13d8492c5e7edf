"""Reducers against NumPy, whatever grouping the outputs come in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from xgraph.plan import Batch, Draws
from xgraph.reducing import Take, WeightedSum

ROWS, DRAWS, SHAPE = 4, 9, (2, 3)
MOMENTS = {
    "mean": lambda w, v: (w * v).sum(1),
    "square": lambda w, v: (w * v**2).sum(1),
    "variance": lambda w, v: (w * (v - (w * v).sum(1, keepdims=True)) ** 2).sum(1),
}


def rows_alone(count: int) -> Draws:
    """Draws of so many rows, for reducers that ask for no more."""
    return SimpleNamespace(counts=np.ones(count, np.int64))  # type: ignore[return-value]


def grouped(reducer: Any, values: np.ndarray, weights: np.ndarray, sizes: np.random.Generator) -> dict[str, np.ndarray]:
    """Feeds values (rows, draws, ...) in runs of random length."""
    rows, draws = np.divmod(np.arange(values.shape[0] * values.shape[1]), values.shape[1])
    state = reducer.start(rows_alone(len(values)))
    start = 0
    while start < len(rows):
        cut = slice(start, start + int(sizes.integers(1, 8)))
        flat = values[rows[cut], draws[cut]]
        batch = Batch(rows[cut], draws[cut], {}, weights[rows[cut], draws[cut]])
        assert not reducer.update(state, {"a": flat, "b": flat.sum(-1)}, batch)
        start = cut.stop
    return reducer.finish(state)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("moment", MOMENTS)
def test_weighted_sum(moment: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((ROWS, DRAWS, *SHAPE)).astype(np.float32) + 3
    weights = rng.random((ROWS, DRAWS))
    weights /= weights.sum(1, keepdims=True)
    found = grouped(WeightedSum(moment), values, weights, rng)
    wide = values.astype(np.float64)
    for name, array in (("a", wide), ("b", values.sum(-1).astype(np.float64))):
        w = weights.reshape(ROWS, DRAWS, *[1] * (array.ndim - 2))
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], MOMENTS[moment](w, array), rtol=1e-5)


@pytest.mark.parametrize("moment", MOMENTS)
def test_grouping_does_not_show(moment: Any) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((ROWS, 200, *SHAPE)).astype(np.float32) * 1e4
    weights = np.full((ROWS, 200), 1 / 200)
    results = [grouped(WeightedSum(moment), values, weights, np.random.default_rng(s))["a"] for s in range(4)]
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=2e-7)


def test_rows_that_are_not_run_stay_zero() -> None:
    reducer = WeightedSum()
    state = reducer.start(rows_alone(5))
    rows = np.array([1, 1, 4])
    reducer.update(state, {"a": np.array([[1.0], [3.0], [5.0]])}, Batch(rows, rows, {}, np.array([0.5, 0.5, 1.0])))
    np.testing.assert_array_equal(reducer.finish(state)["a"], [[0], [2], [0], [0], [5]])


def test_variance_is_never_negative() -> None:
    values = np.full((ROWS, DRAWS, *SHAPE), 12345.678, np.float32)
    found = grouped(WeightedSum("variance"), values, np.full((ROWS, DRAWS), 1 / DRAWS), np.random.default_rng(0))
    assert (found["a"] >= 0).all()
    assert found["a"].max() < 1e-6 * 12345.678**2


def test_take_puts_rows_in_order() -> None:
    reducer = Take()
    state = reducer.start(rows_alone(3))
    for row in (2, 0, 1):
        one = np.array([row])
        reducer.update(state, {"a": np.array([[row * 10.0]], np.float32)}, Batch(one, one * 0, {}, np.ones(1)))
    np.testing.assert_array_equal(reducer.finish(state)["a"], [[0], [10], [20]])
