"""When rows are done: checks at fixed draws, errors that mean what they say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from xgraph.feeds import BITS
from xgraph.plan import Batch
from xgraph.reducing import Contributions, Stop
from xgraph.reducing.scores import rank_correlation, runs
from xgraph.sampling import Permutations
from xgraph.sampling.features import Features


def batch(rows: list[int], draws: list[int]) -> Batch:
    return Batch(np.array(rows), np.array(draws), {}, np.ones(len(rows)))


def test_runs_are_of_one_row_and_end_at_checks() -> None:
    found = [(row, (part.start, part.stop)) for row, part in runs(batch([0, 0, 0, 0, 1, 1], [8, 9, 10, 11, 0, 1]), 10)]
    assert found == [(0, (0, 2)), (0, (2, 4)), (1, (4, 6))]
    assert [part.stop for _, part in runs(batch([2, 2, 2], [9, 10, 11]))] == [3]


def test_stop_wants_small_errors_and_a_settled_order() -> None:
    now = np.array([1.0, 0.5, -0.2])
    stop = Stop(0.1)
    assert stop.reached(now, np.full(3, 0.09), now)
    assert not stop.reached(now, np.full(3, 0.11), now)
    assert not stop.reached(now, np.zeros(3), None)
    assert not stop.reached(now, np.zeros(3), now[::-1])
    assert not stop.reached(now, np.full(3, np.nan), now)


@pytest.mark.parametrize(("a", "b", "expected"), [([1, 2, 3], [2, 4, 9], 1), ([1, 2, 3], [3, 2, 1], -1), ([1], [2], 1)])
def test_rank_correlation(a: list[int], b: list[int], expected: float) -> None:
    assert rank_correlation(np.array(a), np.array(b)) == pytest.approx(expected)


MODELS = {
    "steep": lambda x: 1 / (1 + np.exp(-20 * (x.sum(axis=1) - 2.5))),
    "product": lambda x: x.prod(axis=1),
    "main effects": lambda x: x @ np.arange(5) + x[:, 0] * x[:, 1],
}


def sampled(model: Any, seed: int, samples: int, *, paired: bool) -> tuple[np.ndarray, float]:
    """Returns Shapley values of five features, and their largest standard error, without a graph."""
    count, design = 5, Permutations(samples, paired)
    labels = np.arange(count, dtype=np.int32)[None]
    counts = design.counts(np.array([count]))
    draws = np.arange(int(counts[0]))
    bits = design.bits(seed, np.zeros_like(draws), draws, np.full(len(draws), count), 1)
    features = Features((labels,), np.array([count]), ((count,),))
    reducer = Contributions(paired=paired)
    state = reducer.start(SimpleNamespace(features=features, counts=counts))  # type: ignore[arg-type]
    on = np.unpackbits(bits, axis=1, bitorder="little")[:, :count].astype(float)
    reducer.update(state, {"score": model(on)}, Batch(draws * 0, draws, {BITS: bits}, np.ones(len(draws))))
    found = reducer.finish(state)["score"]
    return found.values[0][0], float(found.checks["standard_error"][0])


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_standard_errors_are_those_of_the_estimates(name: str, paired: bool) -> None:
    repeats = [sampled(MODELS[name], seed, 40, paired=paired) for seed in range(150)]
    true = np.std([values for values, _ in repeats], axis=0).max()
    told = np.sqrt(np.mean([error**2 for _, error in repeats]))
    # The largest of five estimated errors is a little above the true one; 150 repeats know it to 6 %.
    assert 0.85 * true - 1e-12 <= told <= 1.35 * true + 1e-12


def test_one_pair_tells_no_error() -> None:
    assert np.isnan(sampled(MODELS["product"], 0, 2, paired=True)[1])
