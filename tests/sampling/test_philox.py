"""Draws depend on (seed, row, draw) and on nothing else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from xgraph.sampling.philox import generator, normals, uniforms

ROWS, DRAWS, SHAPE = 5, 6, (3, 2)
PURPOSES = ("noise", "alpha", "baseline", "choice")
both = pytest.mark.parametrize("draw", [normals, uniforms])


def pairs() -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(np.arange(ROWS), DRAWS), np.tile(np.arange(DRAWS), ROWS)


@both
@pytest.mark.parametrize("size", [1, 2, 7, 29])
def test_grouping_does_not_matter(draw: Callable[..., np.ndarray], size: int) -> None:
    rows, draws = pairs()
    together = draw("noise", 3, rows, draws, SHAPE)
    starts = range(0, len(rows), size)
    grouped = np.concatenate([draw("noise", 3, rows[s : s + size], draws[s : s + size], SHAPE) for s in starts])
    np.testing.assert_array_equal(together, grouped)


@both
def test_order_does_not_matter(draw: Callable[..., np.ndarray]) -> None:
    rows, draws = pairs()
    order = np.random.default_rng(0).permutation(len(rows))
    np.testing.assert_array_equal(
        draw("noise", 3, rows[order], draws[order], SHAPE), draw("noise", 3, rows, draws, SHAPE)[order]
    )


@both
def test_everything_in_the_key_counts(draw: Callable[..., np.ndarray]) -> None:
    one = np.asarray([4]), np.asarray([2])
    keys = [
        *((purpose, 3, *one, SHAPE) for purpose in PURPOSES),
        ("noise", 4, *one, SHAPE),
        ("noise", 2**64 - 1, *one, SHAPE),
        ("noise", 3, one[1], one[0], SHAPE),
        ("noise", 3, one[0], one[1] + 1, SHAPE),
        ("noise", 3, one[0] + 1, one[1], SHAPE),
        ("noise", 3, *one, SHAPE, 1),
    ]
    drawn = [draw(*key).tobytes() for key in keys]
    assert len(set(drawn)) == len(keys)
    assert draw(*keys[0]).tobytes() == drawn[0]


@both
def test_kind(draw: Callable[..., np.ndarray]) -> None:
    rows, draws = pairs()
    values = draw("noise", 0, rows, draws, SHAPE)
    assert values.dtype == np.float32
    assert values.shape == (len(rows), *SHAPE)
    assert draw("alpha", 0, rows, draws, ()).shape == (len(rows),)
    assert draw("noise", 0, rows[:0], draws[:0], SHAPE).shape == (0, *SHAPE)


def test_distributions() -> None:
    rows = np.arange(400)
    normal = normals("noise", 0, rows, rows, (50,))
    assert abs(normal.mean()) < 0.03
    assert normal.std() == pytest.approx(1, abs=0.02)
    assert (normal**4).mean() == pytest.approx(3, abs=0.2)
    uniform = uniforms("alpha", 0, rows, rows, (50,))
    assert uniform.min() >= 0
    assert uniform.max() < 1
    counts = np.histogram(uniform, bins=10, range=(0, 1))[0]
    np.testing.assert_allclose(counts, 2000, rtol=0.1)


def test_long_streams_of_neighbours_do_not_overlap() -> None:
    """A stream that is drawn far must not run into the next draw's, row's or purpose's."""
    far = generator("noise", 0, 0, 0)
    far.random(200_000)
    tail = set(far.random(50_000).tolist())
    for neighbour in (("noise", 0, 0, 1), ("noise", 0, 1, 0), ("alpha", 0, 0, 0), ("noise", 0, 0, 0, 1)):
        assert not tail & set(generator(*neighbour).random(50_000).tolist())
