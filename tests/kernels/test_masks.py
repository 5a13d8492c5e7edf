"""Masks: the random words are NumPy's, the subsets uniform, the numbers those of itertools."""

from __future__ import annotations

import itertools
from collections import Counter
from math import comb
from types import ModuleType

import numpy as np
import pytest

from xgraph.kernels import jit, reference

STREAM, SEED = 5, 2**70 + 11

both = pytest.mark.parametrize("kernels", [reference, jit], ids=["reference", "jit"])


def pairs(rows: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(np.arange(rows), draws), np.tile(np.arange(draws), rows)


def alike(amount: int, count: int) -> np.ndarray:
    return np.full(amount, count)


@both
@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1, 2**64, 2**128 - 1])
def test_words_are_numpys(kernels: ModuleType, seed: int) -> None:
    rows, draws = np.array([0, 1, 2**40, 2**63 - 1]), np.array([0, 2**63 - 1, 3, 9])
    for stream in (0, 1, 2**32 - 1):
        found = kernels.words(seed, stream, rows, draws, 11)
        for own, row, draw in zip(found, rows.tolist(), draws.tolist(), strict=True):
            counter = np.array([0, stream << 32, draw, row], np.uint64)
            np.testing.assert_array_equal(own, np.random.Philox(key=seed, counter=counter).random_raw(11))


@both
def test_words_go_on_where_a_shorter_call_ends(kernels: ModuleType) -> None:
    rows, draws = pairs(2, 3)
    longest = kernels.words(SEED, STREAM, rows, draws, 13)
    for n in range(13):
        np.testing.assert_array_equal(kernels.words(SEED, STREAM, rows, draws, n), longest[:, :n])


@both
def test_halves_are_the_bits_of_the_words(kernels: ModuleType) -> None:
    rows, draws = pairs(1, 4)
    bits = kernels.unpack(kernels.bernoulli(SEED, STREAM, rows, draws, alike(4, 130), 0.5, 17), 136)
    words = kernels.words(SEED, STREAM, rows, draws, 3)
    for feature in range(130):
        on = words[:, feature // 64] >> np.uint64(feature % 64) & np.uint64(1)
        np.testing.assert_array_equal(bits[:, feature], on)
    assert bits[:, 130:].all()


@both
def test_others_compare_a_word_each(kernels: ModuleType) -> None:
    rows, draws = pairs(1, 4)
    bits = kernels.unpack(kernels.bernoulli(SEED, STREAM, rows, draws, alike(4, 30), 0.3, 4), 32)
    words = kernels.words(SEED, STREAM, rows, draws, 30)
    np.testing.assert_array_equal(bits[:, :30], (words >> np.uint64(11)) * 2.0**-53 < 0.3)
    assert bits[:, 30:].all()


@both
@pytest.mark.parametrize("probability", [0.0, 0.2, 0.5, 0.7, 1.0])
def test_as_often_on_as_asked_for(kernels: ModuleType, probability: float) -> None:
    rows, draws = pairs(4, 200)
    bits = kernels.bernoulli(SEED, STREAM, rows, draws, alike(800, 50), probability, 7)
    share = kernels.unpack(bits, 50).mean(axis=0)
    # 4.5 standard deviations: of 50 features one in 3000 suites would be further off.
    np.testing.assert_allclose(share, probability, rtol=0, atol=4.5 * np.sqrt(probability * (1 - probability) / 800))
    np.testing.assert_array_equal(kernels.popcounts(bits, alike(800, 50)), kernels.unpack(bits, 50).sum(axis=1))


def test_every_subset_is_equally_likely() -> None:
    rows, draws = pairs(10, 1000)
    bits = jit.subsets(SEED, STREAM, rows, draws, alike(10_000, 5), alike(10_000, 2), 1)
    times = Counter((bits[:, 0] & 31).tolist())
    assert len(times) == 10
    # Chi-squared with 9 degrees of freedom: 33.7 is passed once in 10 000.
    assert sum((n - 1000) ** 2 / 1000 for n in times.values()) < 33.7


def test_every_permutation_is_equally_likely() -> None:
    rows, draws = pairs(12, 1000)
    orders = jit.permutations(SEED, STREAM, rows, draws, alike(12_000, 4), 4)
    times = Counter(map(tuple, orders.tolist()))
    assert len(times) == 24
    # Chi-squared with 23 degrees of freedom: 58.6 is passed about once in 20 000.
    assert sum((n - 500) ** 2 / 500 for n in times.values()) < 58.6


@both
def test_subsets_are_prefixes_of_the_permutation(kernels: ModuleType) -> None:
    rows, draws = np.full(14, 3), np.full(14, 8)
    order = kernels.permutations(SEED, STREAM, rows[:1], draws[:1], alike(1, 13), 15)[0]
    assert sorted(order[:13].tolist()) == list(range(13))
    assert order[13:].tolist() == [-1, -1]
    bits = kernels.subsets(SEED, STREAM, rows, draws, alike(14, 13), np.arange(14), 2)
    for size, on in enumerate(kernels.unpack(bits, 13)):
        assert set(np.flatnonzero(on).tolist()) == set(order[:size].tolist())


@both
@pytest.mark.parametrize("size", [1, 2, 7, 29])
def test_grouping_and_order_do_not_matter(kernels: ModuleType, size: int) -> None:
    rows, draws = pairs(5, 6)
    counts, sizes = 10 + rows * 3, draws
    calls = {
        "words": lambda own: kernels.words(SEED, STREAM, rows[own], draws[own], 9),
        "halves": lambda own: kernels.bernoulli(SEED, STREAM, rows[own], draws[own], counts[own], 0.5, 4),
        "others": lambda own: kernels.bernoulli(SEED, STREAM, rows[own], draws[own], counts[own], 0.4, 4),
        "subsets": lambda own: kernels.subsets(SEED, STREAM, rows[own], draws[own], counts[own], sizes[own], 4),
        "permutations": lambda own: kernels.permutations(SEED, STREAM, rows[own], draws[own], counts[own], 30),
    }
    order = np.random.default_rng(0).permutation(30)
    for call in calls.values():
        together = call(np.arange(30))
        parts = [call(order[start : start + size]) for start in range(0, 30, size)]
        np.testing.assert_array_equal(np.concatenate(parts), together[order])


@both
def test_everything_in_the_key_counts(kernels: ModuleType) -> None:
    one, two = np.array([1]), np.array([2])
    keys = [(3, 5, one, two), (4, 5, one, two), (3 + 2**64, 5, one, two), (3, 6, one, two), (3, 5, two, one)]
    keys += [(3, 5, two, two), (3, 5, one, one)]
    assert len({kernels.words(*key, 4).tobytes() for key in keys}) == len(keys)


@both
@pytest.mark.parametrize("count", [0, 1, 5, 8, 11])
def test_combinations_are_in_the_order_of_itertools(kernels: ModuleType, count: int) -> None:
    for size in range(count + 1):
        amount = comb(count, size)
        bits = kernels.combinations(np.arange(amount), alike(amount, count), alike(amount, size), 2)
        found = [tuple(np.flatnonzero(on).tolist()) for on in kernels.unpack(bits, count)]
        assert found == list(itertools.combinations(range(count), size))
        assert kernels.unpack(bits, 16)[:, count:].all()


@both
def test_the_last_of_more_combinations_than_a_word_counts(kernels: ModuleType) -> None:
    """200 over 100 is about 9e58: no rank is as high, but the numbers on the way are."""
    ranks, counts, sizes = np.array([0, 2**63 - 1, 199]), alike(3, 200), np.array([100, 100, 199])
    first, high, last = kernels.unpack(kernels.combinations(ranks, counts, sizes, 25), 200)
    assert first[:100].all()
    assert not first[100:].any()
    assert high.sum() == 100
    assert np.flatnonzero(last == 0).tolist() == [0]


@both
def test_complement(kernels: ModuleType) -> None:
    rows, draws = pairs(3, 5)
    counts = np.arange(15)
    bits = kernels.bernoulli(SEED, STREAM, rows, draws, counts, 0.5, 2)
    other = kernels.complement(bits, counts)
    for count, one, two in zip(counts.tolist(), kernels.unpack(bits, 16), kernels.unpack(other, 16), strict=True):
        assert (one[:count] != two[:count]).all()
        assert two[count:].all()
    np.testing.assert_array_equal(kernels.complement(other, counts), bits)
    np.testing.assert_array_equal(kernels.popcounts(bits, counts) + kernels.popcounts(other, counts), counts)
