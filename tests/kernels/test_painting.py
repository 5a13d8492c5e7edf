"""Painting: what windows, grids and segments add up to."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from xgraph.kernels import jit, reference

both = pytest.mark.parametrize("kernels", [reference, jit], ids=["reference", "jit"])


@both
def test_windows_count_the_last_axis_first(kernels: ModuleType) -> None:
    found = kernels.windows(np.arange(12), np.array([2, 3, 2]), np.array([10, 4, 1]))
    wanted = [(10 * i, 4 * j, k) for i in range(2) for j in range(3) for k in range(2)]
    assert found.dtype == np.int64
    assert list(map(tuple, found.tolist())) == wanted


@both
def test_one_axis(kernels: ModuleType) -> None:
    painted = kernels.paint_windows(np.array([1.0, 10.0, 100.0]), (3,), (2,), (6,))
    np.testing.assert_allclose(painted, [1, 1, 11, 10, 110, 100], rtol=1e-15)


@both
def test_windows_are_cut_and_gaps_are_zero(kernels: ModuleType) -> None:
    painted = kernels.paint_windows(np.array([0.1, 0.2, 0.3]), (2,), (3,), (7,))
    np.testing.assert_array_equal(painted, [0.1, 0.1, 0, 0.2, 0.2, 0, 0.3])


@both
@pytest.mark.parametrize(
    ("positions", "window", "stride", "sizes"),
    [
        ((5,), (3,), (2,), (11,)),
        ((6, 4), (5, 3), (1, 2), (10, 8)),
        ((1, 9, 7), (3, 4, 5), (3, 2, 3), (3, 20, 21)),
        ((2, 3, 4), (2, 2, 2), (3, 3, 9), (4, 5, 6)),
    ],
)
def test_against_the_definition(
    kernels: ModuleType,
    positions: tuple[int, ...],
    window: tuple[int, ...],
    stride: tuple[int, ...],
    sizes: tuple[int, ...],
) -> None:
    """Entry by entry, with the windows' starts from ``windows``."""
    drops = np.random.default_rng(0).standard_normal(positions)
    starts = kernels.windows(np.arange(drops.size), np.array(positions), np.array(stride))
    painted, cover = np.zeros(sizes), np.zeros(sizes, np.int64)
    for entry in np.ndindex(sizes):
        inside = ((starts <= entry) & (np.array(entry) < starts + window)).all(axis=1)
        painted[entry], cover[entry] = drops.reshape(-1)[inside].sum(), inside.sum()
    np.testing.assert_allclose(kernels.paint_windows(drops, window, stride, sizes), painted, atol=1e-13)
    found = kernels.cover_windows(positions, window, stride, sizes)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, cover)
    np.testing.assert_allclose(kernels.paint_windows(np.ones(positions), window, stride, sizes), cover, atol=1e-13)


def test_a_real_size_keeps_its_precision() -> None:
    drops = 1e3 * np.random.default_rng(0).standard_normal((1, 209, 209))
    box = ((3, 16, 16), (3, 1, 1), (3, 224, 224))
    painted, cover = jit.paint_windows(drops, *box), jit.cover_windows(drops.shape, *box)
    assert painted[0, 100, 100] == pytest.approx(drops[0, 85:101, 85:101].sum(), rel=1e-9)
    assert painted[2, 223, 223] == pytest.approx(drops[0, 208, 208], rel=1e-9)
    assert (cover.min(), cover.max()) == (1, 256)


@both
def test_grids_are_summed_by_place(kernels: ModuleType) -> None:
    random = np.random.default_rng(0)
    grids, places = random.integers(0, 2, (30, 9), dtype=np.uint8), random.integers(0, 4, 30)
    scores, sums = random.standard_normal((30, 2)), np.zeros((2, 4, 9))
    for part in (slice(0, 11), slice(11, 30)):
        kernels.accumulate_grids(grids[part], places[part], scores[part], sums)
    wanted = np.einsum("pq,pt,pc->tqc", np.eye(4)[places], scores, grids)
    np.testing.assert_allclose(sums, wanted, atol=1e-13)


@both
def test_segments(kernels: ModuleType) -> None:
    values = np.arange(10, dtype=np.float32).reshape(2, 5)
    labels = np.array([1, 0, 1, 3, -1], np.int32)
    np.testing.assert_array_equal(kernels.segment_sums(values, labels, 3), [[1, 2, 0], [6, 12, 0]])
    np.testing.assert_array_equal(kernels.segment_sizes(labels, 3), [1, 2, 0])


@both
def test_segment_sums_are_in_double_precision(kernels: ModuleType) -> None:
    values = np.full((1, 100_000), 0.1, np.float32)
    total = kernels.segment_sums(values, np.zeros(100_000, np.int32), 1)
    np.testing.assert_allclose(total, 100_000 * np.float64(np.float32(0.1)), rtol=1e-12)
