"""Label maps: what scikit-image finds, numbered without gaps, and what a user gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from skimage import segmentation

from xgraph.errors import InputError, MethodError
from xgraph.sampling.superpixels import FEATURES_AT_MOST, check_segments, check_spec, superpixels


def picture(height: int = 64, width: int = 64) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    pixels = np.empty((height, width, 3))
    pixels[:] = (40, 90, 60)
    pixels[(y - height / 2) ** 2 + (x - width / 2) ** 2 < (height / 4) ** 2] = (200, 30, 30)
    pixels[: height // 4, : width // 2] = (250, 240, 10)
    return (pixels + np.random.default_rng(0).integers(-8, 5, pixels.shape)).clip(0, 255).astype(np.uint8)


LITERAL: dict[str, Any] = {
    "quickshift": lambda p: segmentation.quickshift(p, kernel_size=4, max_dist=200, ratio=0.2),
    "quickshift:ratio=1,kernel_size=5,max_dist=10": segmentation.quickshift,
    "quickshift:seed=3, sigma=1": lambda p: segmentation.quickshift(
        p, kernel_size=4, max_dist=200, ratio=0.2, sigma=1, rng=3
    ),
    "interpretdl": lambda p: segmentation.quickshift(p, sigma=1),
    "slic": lambda p: segmentation.slic(p, n_segments=50, compactness=10, sigma=1, start_label=0),
    "slic:n_segments=9,compactness=20": lambda p: segmentation.slic(
        p, n_segments=9, compactness=20, sigma=1, start_label=0
    ),
    "felzenszwalb": lambda p: segmentation.felzenszwalb(p, scale=100, sigma=0.5, min_size=20),
    "felzenszwalb:min_size=99": lambda p: segmentation.felzenszwalb(p, scale=100, sigma=0.5, min_size=99),
}


@pytest.mark.parametrize("spec", LITERAL)
def test_labels_are_those_of_scikit_image(spec: str) -> None:
    labels = superpixels(picture(), spec)
    expected = LITERAL[spec](picture())
    assert labels.dtype == np.int32
    pairs = np.unique(np.stack([labels.ravel(), expected.ravel()]), axis=1)
    assert len(pairs[0]) == len(np.unique(pairs[0])) == len(np.unique(pairs[1])), (
        "one label of ours per label of theirs"
    )


@pytest.mark.parametrize("spec", [*LITERAL, "grid", "grid:3x5"])
@pytest.mark.parametrize("size", [(64, 64), (60, 41)])
def test_labels_have_no_gaps_and_do_not_change(spec: str, size: tuple[int, int]) -> None:
    labels = superpixels(picture(*size), spec)
    np.testing.assert_array_equal(np.unique(labels), np.arange(labels.max() + 1))
    assert labels.shape == size
    assert labels.max() > 0
    np.testing.assert_array_equal(labels, superpixels(picture(*size), spec))


@pytest.mark.parametrize(
    ("spec", "rows", "columns"), [("grid", 7, 7), ("grid:3x5", 3, 5), ("grid:1x16", 1, 16), ("grid: 2 X 1", 2, 1)]
)
def test_cells_of_a_grid_are_as_equal_as_possible(spec: str, rows: int, columns: int) -> None:
    labels = superpixels(picture(20, 16), spec)
    assert labels.max() + 1 == rows * columns
    for line, count in ((labels[:, 0] // columns, rows), (labels[0], columns)):
        sizes = np.bincount(line)
        assert len(sizes) == count
        assert sizes.max() - sizes.min() <= 1
    np.testing.assert_array_equal(labels, labels[:, :1] + labels[:1])


@pytest.mark.parametrize("spec", ["quickshift", "felzenszwalb", "interpretdl"])
def test_a_picture_without_edges_is_refused(spec: str) -> None:
    flat = np.full((16, 16, 3), 128, np.uint8)
    with pytest.raises(InputError, match=rf"segments='{spec}' finds 1 segment .* 16 x 16 .* use 'grid' or 'slic'"):
        superpixels(flat, spec)
    assert superpixels(flat, "grid").max() == 48
    assert superpixels(flat, "slic").max() > 8


def test_slic_with_one_segment_points_to_the_grid() -> None:
    with pytest.raises(InputError, match=r"use 'grid'$"):
        superpixels(
            np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), "slic:compactness=0.1,n_segments=60"
        )


def test_grey_pictures() -> None:
    grey = np.repeat(picture()[..., :1], 3, axis=2)
    expected = segmentation.slic(grey, n_segments=50, compactness=10, sigma=1, start_label=0)
    np.testing.assert_array_equal(superpixels(grey, "slic"), expected)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("quickshif", r"is not one of quickshift, slic, .*; did you mean 'quickshift'\?"),
        ("", "is not one of"),
        (7, "segments=7 is no text"),
        ("slic:segments=60", r"slic has the options n_segments, compactness, .*did you mean 'n_segments'\?"),
        ("slic:", "'' is not understood"),
        ("slic:n_segments", "'n_segments' is not understood"),
        ("slic:n_segments=1.5", "n_segments=1.5 should be a whole number from 2"),
        ("slic:n_segments=1", "should be a whole number from 2"),
        ("slic:compactness=0", "should be a number above 0"),
        ("quickshift:ratio=nan", "should be a number from 0"),
        ("quickshift:max_dist=inf", "should be a number above 0"),
        ("quickshift:kernel_size=0.5", "should be a number from 1"),
        ("felzenszwalb:min_size=0", "should be a whole number from 1"),
        ("interpretdl:sigma=2", "interpretdl has no options"),
        ("grid:", "write 'grid:7x7'"),
        ("grid:7", "write 'grid:7x7'"),
        ("grid:0x7", "write 'grid:7x7'"),
        ("grid:1x1", "two cells or more"),
        ("grid:2x3x4", "write 'grid:7x7'"),
        ("grid:2.5x3", "write 'grid:7x7'"),
    ],
)
def test_specs_that_are_refused(spec: Any, message: str) -> None:
    for refused in (lambda: superpixels(picture(), spec), lambda: check_spec(spec)):
        with pytest.raises(MethodError, match=message) as caught:
            refused()
        assert "\n" not in str(caught.value)


def test_a_grid_finer_than_the_picture() -> None:
    with pytest.raises(InputError, match="use at most 'grid:5x6'"):
        superpixels(picture(5, 6), "grid")


@pytest.mark.parametrize(
    "given", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((1, 1, 3), np.uint8), np.zeros((4, 0, 3), "u1")]
)
def test_what_is_no_picture(given: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"uint8 picture of shape \(H, W, 3\)"):
        superpixels(given, "grid")


def test_one_label_map_for_all_rows() -> None:
    given = np.array([[0, 0, 5], [-3, 2, 2]])
    labels = check_segments(given, (2, 3), 4)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, np.repeat([[[0, 0, 5], [-1, 2, 2]]], 4, axis=0))
    np.testing.assert_array_equal(labels, check_segments(given[None], (2, 3), 4))


def test_one_label_map_per_row() -> None:
    given = np.array([[0, 1, 1], [7, -1, 0]])
    np.testing.assert_array_equal(check_segments(given, (3,), 2), given)
    np.testing.assert_array_equal(check_segments(given.tolist(), (3,), 2), given)
    np.testing.assert_array_equal(check_segments(given.astype(float), (3,), 2), given)
    np.testing.assert_array_equal(check_segments(given[:1].astype(np.uint8), (3,), 1), given[:1])


def test_a_map_of_two_is_one_of_booleans() -> None:
    np.testing.assert_array_equal(check_segments(np.array([True, False]), (2,), 1), [[1, 0]])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((3, 2)), r"of shape \[3, 2\] do not fit 2 samples of shape \[2, 3\]"),
        (np.zeros((3, 2, 3)), r"of shape \[3, 2, 3\] do not fit"),
        ([[1, 2], [1]], "different lengths"),
        (np.full((2, 3), 0.5), "are not whole numbers"),
        (np.full((2, 3), np.nan), "are not whole numbers"),
        (np.full((2, 3), np.inf), "are not whole numbers"),
        (np.full((2, 3), "a"), "are not whole numbers"),
        (np.full((2, 3), -1), "row 0 are all negative"),
        (np.array([np.zeros((2, 3)), np.full((2, 3), -1)]), "row 1 are all negative"),
        (np.full((2, 3), FEATURES_AT_MOST), f"numbers from {FEATURES_AT_MOST} on; number them"),
        (np.full((2, 3), 2**64 - 1, np.uint64), "100000 at most"),
    ],
)
def test_label_maps_that_are_refused(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_segments(given, (2, 3), 2)
    assert "\n" not in str(caught.value)


def test_holes_and_the_largest_number_are_allowed() -> None:
    given = np.array([0, FEATURES_AT_MOST - 1])
    np.testing.assert_array_equal(check_segments(given, (2,), 1), given[None])
