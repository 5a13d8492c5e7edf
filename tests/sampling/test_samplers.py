"""What samplers feed: for some pairs of (row, draw), whatever batch they come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from xgraph.errors import MethodError
from xgraph.plan import ALPHA, Sampler, Wrt
from xgraph.sampling import Noise, Once, RandomPath, RandomStart, StraightPath
from xgraph.sampling.baseline import baseline
from xgraph.sampling.philox import normals, uniforms
from xgraph.sampling.quadrature import nodes

SHAPE, SEED = (2, 4, 4), 9
IMAGES = np.random.default_rng(0).standard_normal((3, *SHAPE)).astype(np.float32)
INPUTS = {"image": IMAGES, "mask": np.arange(3)[:, None]}
IMAGE, LAYER = Wrt("input", "image"), Wrt("layer", "conv")
ARRAY, EACH = np.full(SHAPE, 0.5), IMAGES[::-1] * 2
SPECS = (0.0, "mean", ARRAY, "uniform", EACH, "blur", "gaussian")


def path(*baselines: Any, steps: int = 3) -> StraightPath:
    return StraightPath((IMAGE,), baselines, *nodes("gauss_legendre", steps))


def random_path(*baselines: Any, draws: int = 8) -> RandomPath:
    return RandomPath(draws, (IMAGE,), baselines, 0.3)


SAMPLERS: dict[str, Sampler] = {
    "once": Once(),
    "noise": Noise(5, 0.2),
    "path": path(0.0),
    "paths": path(*SPECS),
    "random path": random_path("gaussian"),
    "random paths": random_path(*SPECS),
    "random start": RandomStart(random_path(*SPECS)),
}


def pairs(sampler: Sampler) -> tuple[np.ndarray, np.ndarray]:
    every = np.arange(3 * sampler.draws)
    return every // sampler.draws, every % sampler.draws


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("size", [1, 2, 7])
def test_grouping_does_not_matter(name: str, size: int) -> None:
    sampler = SAMPLERS[name]
    rows, draws = pairs(sampler)
    together = sampler.batch(INPUTS, (SHAPE,), rows, draws, SEED)
    for start in range(0, len(rows), size):
        cut = slice(start, start + size)
        part = sampler.batch(INPUTS, (SHAPE,), rows[cut], draws[cut], SEED)
        np.testing.assert_array_equal(part.rows, rows[cut])
        np.testing.assert_array_equal(part.draws, draws[cut])
        np.testing.assert_array_equal(part.weights, together.weights[cut])
        assert part.feeds.keys() == together.feeds.keys()
        for key, array in part.feeds.items():
            np.testing.assert_array_equal(*np.broadcast_arrays(array, together.feeds[key][cut]))


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_feed_has_one_entry_per_pair(name: str) -> None:
    sampler = SAMPLERS[name]
    batch = sampler.batch(INPUTS, (SHAPE,), *pairs(sampler), SEED)
    count = 3 * sampler.draws
    assert {len(array) for array in batch.feeds.values()} == {count}
    np.testing.assert_array_equal(batch.feeds["image"], IMAGES[batch.rows])
    np.testing.assert_array_equal(batch.feeds["mask"][:, 0], batch.rows)
    np.testing.assert_allclose(np.bincount(batch.rows, batch.weights), 1)


def test_noise() -> None:
    batch = Noise(5, 0.2).batch(INPUTS, (SHAPE,), np.array([0, 2]), np.array([4, 1]), SEED)
    drawn = normals("noise", SEED, np.array([0, 2]), np.array([4, 1]), SHAPE)
    np.testing.assert_allclose(batch.feeds["xg_noise"], drawn * 0.2, rtol=1e-6)
    two = Noise(5, 0.2).batch(INPUTS, (SHAPE, (3,)), np.array([0]), np.array([4]), SEED)
    assert {key: array.shape for key, array in two.feeds.items() if key.startswith("xg")} == {
        "xg_noise_0": (1, *SHAPE),
        "xg_noise_1": (1, 3),
    }
    np.testing.assert_allclose(two.feeds["xg_noise_0"], drawn[:1] * 0.2, rtol=1e-6)


def literal(spec: Any, row: int, draw: int) -> np.ndarray:
    one = np.asarray([row]), np.asarray([draw])
    if isinstance(spec, str) and spec == "mean":
        return np.broadcast_to(IMAGES[row].mean((1, 2), keepdims=True), SHAPE)
    if isinstance(spec, str) and spec == "gaussian":
        return normals("baseline", SEED, *one, SHAPE)[0]
    if isinstance(spec, str) and spec == "uniform":
        low, high = IMAGES[row].min(), IMAGES[row].max()
        return low + (high - low) * uniforms("baseline", SEED, *one, SHAPE)[0]
    if isinstance(spec, str):
        return baseline(spec, IMAGES, SHAPE, *one, samples=3)[0]
    return np.broadcast_to(spec[row] if np.ndim(spec) == 4 else spec, SHAPE)


def test_path() -> None:
    sampler = path(*SPECS)
    assert sampler.draws == 3 * len(SPECS)
    rows, draws = pairs(sampler)
    batch = sampler.batch(INPUTS, (SHAPE,), rows, draws, SEED)
    x, w = nodes("gauss_legendre", 3)
    np.testing.assert_allclose(batch.feeds[ALPHA], x[draws % 3], rtol=1e-6)
    np.testing.assert_allclose(batch.weights, w[draws % 3] / len(SPECS))
    for i, (row, draw) in enumerate(zip(rows, draws, strict=True)):
        expected = literal(SPECS[draw // 3], row, draw // 3)
        np.testing.assert_allclose(batch.feeds["xg_baseline"][i], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(sampler.positions, np.tile(x, len(SPECS)).astype(np.float32))
    np.testing.assert_allclose(sampler.draw_weights.sum(), 1)


def test_random_path() -> None:
    sampler = random_path(*SPECS, draws=40)
    rows, draws = pairs(sampler)
    batch = sampler.batch(INPUTS, (SHAPE,), rows, draws, SEED)
    np.testing.assert_array_equal(batch.feeds[ALPHA], uniforms("alpha", SEED, rows, draws))
    np.testing.assert_allclose(batch.feeds["xg_noise"], normals("noise", SEED, rows, draws, SHAPE) * 0.3, rtol=1e-6)
    which = (uniforms("choice", SEED, rows, draws) * len(SPECS)).astype(int)
    assert set(which) == set(range(len(SPECS)))
    for i, (row, draw) in enumerate(zip(rows, draws, strict=True)):
        expected = literal(SPECS[which[i]], row, draw)
        np.testing.assert_allclose(batch.feeds["xg_baseline"][i], expected, rtol=1e-5, atol=1e-6)
    start = RandomStart(sampler).batch(INPUTS, (SHAPE,), rows, draws, SEED)
    assert set(start.feeds) == {"image", "mask", ALPHA, "xg_baseline"}
    assert not start.feeds[ALPHA].any()
    np.testing.assert_array_equal(start.feeds["xg_baseline"], batch.feeds["xg_baseline"])


def test_constant_baselines_stay_small() -> None:
    batch = path("zero").batch(INPUTS, (SHAPE,), np.array([0, 1]), np.array([0, 2]), SEED)
    assert batch.feeds["xg_baseline"].shape == (2, 1, 1, 1)


def test_baselines_of_a_layer_need_no_input() -> None:
    sampler = StraightPath((LAYER,), (0.5, "gaussian", np.ones((7,))), *nodes("trapezoid", 2))
    rows, draws = np.zeros(6, np.int64), np.arange(6)
    fed = sampler.batch(INPUTS, ((7,),), rows, draws, SEED).feeds["xg_baseline"]
    drawn = normals("baseline", SEED, rows[:1], np.array([1]), (7,))[0]
    np.testing.assert_array_equal(fed, [[0.5] * 7, [0.5] * 7, drawn, drawn, [1] * 7, [1] * 7])
    with pytest.raises(MethodError, match="baseline='mean' is made from an input"):
        StraightPath((LAYER,), ("mean",), *nodes("trapezoid", 2)).batch(INPUTS, ((7,),), rows, draws, SEED)


@pytest.mark.parametrize(
    ("spec", "shape", "problem"),
    [
        (np.zeros((2, 4, 5)), SHAPE, r"\[2, 4, 5\] does not fit 3 samples of shape \[2, 4, 4\]"),
        (np.zeros((4, 2, 4, 4)), SHAPE, r"\[4, 2, 4, 4\] does not fit 3 samples"),
        (np.zeros((2, 2, 4, 4)), SHAPE, r"\[2, 2, 4, 4\] does not fit 3 samples"),
        ("grey", SHAPE, "baseline='grey' is not known"),
        (True, SHAPE, "baseline=True is not known"),
        (None, SHAPE, "baseline=None is not known"),
    ],
)
def test_baselines_that_do_not_fit(spec: Any, shape: tuple[int, ...], problem: str) -> None:
    # Whatever the batch: not only the one that holds the last row.
    for row in (0, 2):
        with pytest.raises(MethodError, match=problem) as raised:
            baseline(spec, IMAGES, shape, np.array([row]), np.array([0]), samples=3)
        assert "\n" not in str(raised.value)


def test_fixed_baselines_for_one_file() -> None:
    sampler = path(0.25, ARRAY, ARRAY[None], "zero", steps=2)
    fixed = sampler.fixed_baselines(("batch", *SHAPE))
    assert fixed.shape == (8, 1, *SHAPE)
    for draw, level in enumerate([0.25, 0.25, 0.5, 0.5, 0.5, 0.5, 0, 0]):
        assert (fixed[draw] == level).all()
    assert path(0.25, steps=2).fixed_baselines(("batch", *SHAPE)).shape == (2, 1, 1, 1, 1)
    assert path(np.ones(7), steps=2).fixed_baselines(("batch", 7)).shape == (2, 1, 7)
    assert path(np.ones((5, 7)), steps=2).fixed_baselines(("batch", "sequence", 7)).shape == (2, 1, 5, 7)
    for spec, message in (
        (EACH, r"an array of shape \[3, 2, 4, 4\] is made outside the graph"),
        ("blur", "'blur' is made outside the graph"),
        ("gaussian", "'gaussian' is made outside the graph"),
        (True, "True is made outside the graph"),
        (np.zeros((4, 4)), r"\[4, 4\] does not fit samples of shape \[2, 4, 4\]"),
        (np.zeros((2, 4, 5)), r"\[2, 4, 5\] does not fit samples of shape \[2, 4, 4\]"),
    ):
        with pytest.raises(MethodError, match=message):
            path(spec).fixed_baselines(("batch", *SHAPE))
