"""Features of segments against literal formulas, and clusters of them."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import rgb2gray, rgb2lab
from skimage.feature import local_binary_pattern
from tolerances import FORMULA

from xgraph.errors import InputError, MethodError
from xgraph.reducing.clusters import Clusters, pooled_features, segment_features
from xgraph.resample import resize
from xgraph.sampling.superpixels import superpixels


def scene(height: int = 24, width: int = 20) -> tuple[np.ndarray, np.ndarray]:
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    labels = superpixels(picture, "grid:3x2")
    labels[:4, :4] = -1
    return picture, labels


def test_features_are_what_the_formulas_say() -> None:
    picture, labels = scene()
    found = segment_features(picture, labels, 6)
    assert found.shape == (6, 19)
    assert found.dtype == np.float32
    lab = rgb2lab(picture)
    patterns = local_binary_pattern(np.rint(rgb2gray(picture) * 255).astype(np.uint8), 8, 1, "uniform")
    for segment in range(6):
        inside = labels == segment
        y, x = np.nonzero(inside)
        expected = [
            *lab[inside].mean(axis=0),
            *lab[inside].std(axis=0),
            *(np.mean(patterns[inside] == number) for number in range(10)),
            (y.mean() + 0.5) / 24,
            (x.mean() + 0.5) / 20,
            inside.mean(),
        ]
        np.testing.assert_allclose(found[segment], expected, rtol=FORMULA, atol=FORMULA)


def test_pooled_features_are_means_over_resized_maps() -> None:
    _, labels = scene()
    maps = np.random.default_rng(1).normal(size=(5, 4, 3)).astype(np.float32)
    found = pooled_features(maps, labels, 6)
    large = np.stack([resize(channel.astype(np.float64)[..., None], (24, 20), "bilinear")[..., 0] for channel in maps])
    expected = np.stack([large[:, labels == segment].mean(axis=1) for segment in range(6)])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=FORMULA)


@pytest.mark.parametrize("size", [(1, 1), (24, 20), (48, 33)])
def test_maps_of_any_size_are_pooled(size: tuple[int, int]) -> None:
    _, labels = scene()
    maps = np.stack([np.full(size, 3.0), np.full(size, -4.0)]).astype(np.float32)
    np.testing.assert_allclose(pooled_features(maps, labels, 6), np.tile([0.6, -0.8], (6, 1)), atol=FORMULA)


def test_segments_without_pixels_are_nan_and_in_no_cluster() -> None:
    picture, labels = scene()
    maps = np.ones((2, 3, 3), np.float32)
    clusters = Clusters.fit(segment_features(picture, labels, 6), 3)
    for features in (segment_features(picture, labels, 8), pooled_features(maps, labels, 8)):
        assert np.isnan(features[6:]).all()
        assert np.isfinite(features[:6]).all()
    numbers = clusters.assign(segment_features(picture, labels, 8))
    assert numbers.dtype == np.int64
    np.testing.assert_array_equal(numbers[6:], [-1, -1])
    assert (numbers[:6] >= 0).all()


def test_maps_of_zeros() -> None:
    _, labels = scene()
    np.testing.assert_array_equal(pooled_features(np.zeros((2, 3, 3), np.float32), labels, 6), np.zeros((6, 2)))


def test_a_picture_of_all_kept_pixels() -> None:
    picture, labels = scene()
    features = segment_features(picture, np.full_like(labels, -1), 2)
    assert np.isnan(features).all()
    with pytest.raises(InputError, match="none of 2 segments has features"):
        Clusters.fit(features, 2)


def blobs(per_blob: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0, 7], [10, 0, 7], [0, 1000, 7]], np.float32)
    truth = np.repeat(np.arange(3), per_blob)
    spread = rng.normal(size=(len(truth), 3)) * [0.5, 50, 0]
    return (centres[truth] + spread).astype(np.float32), truth


def test_blobs_are_found_whatever_their_units() -> None:
    features, truth = blobs()
    clusters = Clusters.fit(features, 3, seed=4)
    numbers = clusters.assign(features)
    assert len(clusters) == 3
    assert len({(a, b) for a, b in zip(numbers.tolist(), truth.tolist(), strict=True)}) == 3
    points = (features - clusters.mean) / clusters.scale
    nearest = np.linalg.norm(points[:, None] - clusters.centres[None], axis=2).argmin(axis=1)
    np.testing.assert_array_equal(numbers, nearest)


def test_the_same_seed_gives_the_same_clusters() -> None:
    features, _ = blobs()
    np.testing.assert_array_equal(Clusters.fit(features, 5, 2**100).centres, Clusters.fit(features, 5, 2**100).centres)


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_there_are_no_more_clusters_than_different_rows(rows: int) -> None:
    features = np.repeat(np.arange(rows, dtype=np.float32)[:, None], 3, axis=1).repeat(4, axis=0)
    clusters = Clusters.fit(features, 10)
    assert len(clusters) == rows
    assert len(set(clusters.assign(features).tolist())) == rows


def test_rows_that_differ_by_rounding_are_one() -> None:
    features = np.concatenate([np.full((20, 2), 1.0), np.full((20, 2), 5.0)]).astype(np.float32)
    features[::2] = np.nextafter(features[::2], np.float32(9))
    assert len(Clusters.fit(features, 30)) == 2


@pytest.mark.parametrize("k", [0, -1, 2.0, True, "3"])
def test_numbers_of_clusters_that_are_refused(k: object) -> None:
    with pytest.raises(MethodError, match="should be a whole number from 1"):
        Clusters.fit(blobs()[0], k)  # type: ignore[arg-type]


def test_features_that_are_refused() -> None:
    picture, labels = scene()
    maps = np.ones((2, 3, 3), np.float32)
    clusters = Clusters.fit(blobs()[0], 2)
    endless = np.full((2, 3), np.inf, np.float32)
    for refused, message in (
        (lambda: segment_features(picture.astype(float), labels, 6), "not float64"),
        (lambda: segment_features(picture[:5], labels, 6), "do not fit a picture"),
        (lambda: segment_features(picture, labels, 5), "labels reach 5, but there are 5 segments"),
        (lambda: segment_features(picture, labels.astype(float), 6), "give whole numbers"),
        (lambda: pooled_features(maps[0], labels, 6), "are no maps"),
        (lambda: pooled_features(maps * np.nan, labels, 6), "not finite"),
        (lambda: pooled_features(maps, labels, 5), "labels reach 5"),
        (lambda: Clusters.fit(np.zeros(3), 2), "one row per segment"),
        (lambda: Clusters.fit(endless, 2), "infinite"),
        (lambda: clusters.assign(endless), "infinite"),
        (lambda: clusters.assign(np.zeros((2, 4), np.float32)), "do not fit clusters of 3 features"),
        (lambda: Clusters(np.zeros((2, 3)), np.zeros(2), np.ones(3)), "need as many means"),
        (lambda: Clusters(np.zeros((2, 3)), np.zeros(3), np.zeros(3)), "scales above 0"),
        (lambda: Clusters(np.zeros(3), np.zeros(3), np.ones(3)), "centres of shape"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            refused()
        assert "\n" not in str(caught.value)
