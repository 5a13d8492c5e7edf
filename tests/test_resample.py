"""Resizing against numbers that OpenCV 4.11 gave, and against the literal formula."""

from __future__ import annotations

import numpy as np
import pytest

from xgraph.errors import InputError
from xgraph.resample import INTERPOLATIONS, resize

PICTURE = np.array(
    [[10, 200, 30, 90, 250], [60, 0, 255, 120, 40], [5, 77, 180, 220, 140], [90, 33, 64, 128, 199]], np.uint8
)
# cv2.resize(PICTURE, (3, 2), interpolation=...)
SHRUNK = {
    "nearest": [[10, 200, 90], [5, 77, 220]],
    "bilinear": [[56, 143, 132], [50, 122, 171]],
    "bicubic": [[54, 150, 120], [46, 115, 184]],
    "area": [[61, 126, 129], [51, 119, 171]],
    "lanczos": [[52, 146, 114], [50, 102, 195]],
}
# rows 1 and 2 of cv2.resize(PICTURE, (7, 6), interpolation=...)
GROWN = {
    "nearest": [[10, 10, 200, 30, 30, 90, 250], [60, 60, 0, 255, 255, 120, 40]],
    "bilinear": [[35, 72, 112, 143, 116, 122, 145], [51, 29, 78, 242, 167, 102, 57]],
    "bicubic": [[36, 65, 116, 150, 108, 107, 139], [60, 0, 65, 255, 195, 82, 27]],
    "area": [[35, 74, 108, 143, 112, 121, 145], [60, 24, 51, 255, 147, 88, 40]],
    "lanczos": [[44, 60, 114, 146, 101, 99, 141], [67, 0, 64, 255, 208, 65, 31]],
}


def literal_bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Four neighbours per output pixel, in float64, pixel by pixel."""
    out = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            y = (i + 0.5) * image.shape[0] / height - 0.5
            x = (j + 0.5) * image.shape[1] / width - 0.5
            top, left = int(np.floor(y)), int(np.floor(x))
            for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
                share = (1 - abs(y - row)) * (1 - abs(x - column))
                row, column = min(max(row, 0), image.shape[0] - 1), min(max(column, 0), image.shape[1] - 1)
                out[i, j] += share * image[row, column]
    return out


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_uint8_is_within_one_grey_level_of_opencv(interpolation: str) -> None:
    shrunk = resize(PICTURE, (2, 3), interpolation)
    grown = resize(PICTURE, (6, 7), interpolation)[1:3]
    assert shrunk.dtype == grown.dtype == np.uint8
    assert np.abs(shrunk.astype(int) - SHRUNK[interpolation]).max() <= 1
    assert np.abs(grown.astype(int) - GROWN[interpolation]).max() <= 1


@pytest.mark.parametrize("size", [(2, 3), (9, 4), (3, 11), (4, 5), (1, 1)])
def test_bilinear_is_the_literal_formula(size: tuple[int, int]) -> None:
    image = np.random.default_rng(1).normal(size=(4, 5))
    out = resize(image, size)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, literal_bilinear(image, *size), atol=1e-6)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_constant_stays_constant_and_channels_stay_apart(interpolation: str) -> None:
    image = np.stack([np.full((7, 5), 3.0), np.full((7, 5), -2.0)], axis=2)
    for size in ((3, 2), (13, 9), (13, 2)):
        out = resize(image, size, interpolation)
        assert out.shape == (*size, 2)
        np.testing.assert_allclose(out, np.broadcast_to([3.0, -2.0], out.shape), rtol=1e-6)


def test_the_input_is_not_written_to_and_not_returned() -> None:
    image = PICTURE.copy()
    out = resize(image, PICTURE.shape)
    out[:] = 0
    np.testing.assert_array_equal(image, PICTURE)


@pytest.mark.parametrize(
    ("size", "interpolation", "says"),
    [((0, 3), "bilinear", "4 x 5 to 0 x 3"), ((2, 3), "bilinaer", "did you mean 'bilinear'")],
)
def test_bad_requests_are_named(size: tuple[int, int], interpolation: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        resize(PICTURE, size, interpolation)
