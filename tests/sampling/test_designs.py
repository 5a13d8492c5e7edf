"""Designs: which coalitions are run, in which order, and with which weight."""

from __future__ import annotations

import numpy as np
import pytest

from xgraph.reducing.linear import Normal, shapley, shapley_kernel
from xgraph.sampling.designs import Bernoulli, Coalitions, Design, LeaveOut, Permutations, Sequential

SEED = 4


def masks(design: Design, count: int, row: int = 0, kept: int | None = None) -> np.ndarray:
    """Returns all masks of a row with so many features, bool (draws, bits)."""
    features = np.array([count])
    draws = np.arange(int(design.counts(features)[0]))
    width = (count if kept is None else kept) // 8 + 1
    bits = design.bits(SEED, np.full(len(draws), row), draws, np.full(len(draws), count), width)
    assert bits.shape == (len(draws), width)
    return np.unpackbits(bits, axis=1, bitorder="little").astype(bool)


DESIGNS = {
    "bernoulli": Bernoulli(40),
    "sequential": Sequential(40),
    "coalitions": Coalitions(40),
    "permutations": Permutations(5),
    "leave out": LeaveOut(2, 3),
}


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 20])
@pytest.mark.parametrize("name", DESIGNS)
def test_what_lies_behind_the_last_feature_is_on(name: str, count: int) -> None:
    assert masks(DESIGNS[name], count, kept=30)[:, count:].all()


@pytest.mark.parametrize("name", DESIGNS)
def test_draw_0_is_the_sample(name: str) -> None:
    assert masks(DESIGNS[name], 9)[0].all()


@pytest.mark.parametrize("name", DESIGNS)
def test_shared_designs_do_not_depend_on_the_row(name: str) -> None:
    same = (masks(DESIGNS[name], 12, row=0) == masks(DESIGNS[name], 12, row=3)).all()
    assert same == DESIGNS[name].shared


@pytest.mark.parametrize("count", range(1, 8))
def test_enough_samples_run_every_coalition_once(count: int) -> None:
    found = masks(Coalitions(2 + 2**count), count)[:, :count]
    assert len(found) == max(2, 2**count)
    assert len({row.tobytes() for row in found}) == 2**count
    draws = np.arange(len(found))
    weights = Coalitions(2 + 2**count).weights(draws, np.full(len(draws), count))
    expected = shapley_kernel(found.sum(axis=1), np.full(len(found), count))
    np.testing.assert_allclose(weights, expected, rtol=1e-12)


def test_sizes_run_whole_from_both_ends_then_at_random() -> None:
    count, samples = 12, 200
    found = masks(Coalitions(samples), count)[:, :count]
    sizes = found.sum(axis=1)
    assert len(found) == samples
    assert list(sizes[:2]) == [count, 0]
    # As many as would fall on them at random: sizes 2 and 10 would fit, and leave 42 draws for all others.
    whole = 2 * count
    assert sorted(sizes[2 : 2 + whole]) == [1] * 12 + [11] * 12
    drawn = found[2 + whole :]
    assert set(drawn.sum(axis=1)) <= set(range(2, 11))
    np.testing.assert_array_equal(drawn[0::2], ~drawn[1::2])


def test_weights_add_up_to_the_mass_of_the_kernel() -> None:
    count, samples = 30, 400
    draws = np.arange(samples)
    weights = Coalitions(samples).weights(draws, np.full(samples, count))
    mass = sum((count - 1) / (s * (count - s)) for s in range(1, count))
    np.testing.assert_allclose(weights.sum(), mass, rtol=1e-12)
    assert (weights[:2] == 0).all()


def test_permutations_grow_by_one_feature() -> None:
    count = 7
    found = masks(Permutations(4), count)[2:, :count].reshape(4, count - 1, count)
    np.testing.assert_array_equal(found.sum(axis=2), np.tile(np.arange(1, count), (4, 1)))
    assert (found[:, 1:] >= found[:, :-1]).all()
    # Every other order is the one before it backwards.
    np.testing.assert_array_equal(found[1], ~found[0][::-1])
    assert (found[0] != found[2]).any()


@pytest.mark.parametrize(
    ("window", "stride", "count", "starts"), [(1, 1, 3, [0, 1, 2]), (2, 2, 5, [0, 2, 4]), (3, 1, 2, [0])]
)
def test_leave_out(window: int, stride: int, count: int, starts: list[int]) -> None:
    found = masks(LeaveOut(window, stride), count)[1:, :count]
    for own, start in zip(found, starts, strict=True):
        np.testing.assert_array_equal(np.flatnonzero(~own), np.arange(start, min(start + window, count)))


def fitted(samples: int, seed: int, *, whole: bool = True) -> float:
    """Returns how far KernelSHAP is off for thirty main effects and ten features that only count together."""
    count, rng = 30, np.random.default_rng(seed)
    effects, design = rng.standard_normal(count), Coalitions(samples, whole=whole)
    draws = np.arange(int(design.counts(np.array([count]))[0]))
    features = np.full(len(draws), count)
    bits = design.bits(seed, np.zeros_like(draws), draws, features, 4)
    on = np.unpackbits(bits, axis=1, bitorder="little")[:, :count].astype(float)
    scores = on @ effects + 5 * on[:, :10].all(axis=1)
    normal = Normal.of(on, design.weights(draws, features), scores[:, None])
    exact = effects + 0.5 * (np.arange(count) < 10)
    found = shapley(normal, 0, float(scores[0]), float(scores[1])).coefficients
    return float(np.abs(found - exact).max() / np.abs(exact).max())


def test_more_samples_do_not_make_it_worse() -> None:
    """Around the budgets at which all coalitions of one more size would just fit."""
    errors = {n: np.mean([fitted(n, seed) for seed in range(12)]) for n in (400, 700, 1000, 1300)}
    assert errors[1000] <= 1.2 * errors[400]
    assert errors[1300] <= 1.2 * errors[700]
    assert errors[1300] < 0.15


def test_random_coalitions_alone_are_unbiased_wherever_a_run_ends() -> None:
    assert np.mean([fitted(1000, seed, whole=False) for seed in range(12)]) < 0.2
