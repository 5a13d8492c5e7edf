"""Image resizing as OpenCV does it: ``out = A_rows @ image @ A_columns^T`` with two sparse matrices.

Paddle deployments resize with OpenCV, which *samples*: its kernels keep their width when an image shrinks, so
nothing is smoothed. Pillow (and with it torchvision and timm) *filters*: the kernel widens with the shrink
factor. The two differ by tens of grey levels on textured pictures, enough to change a prediction, so both
must be available; this module is the first kind, without needing OpenCV.

Pixel centres are at half integers: output ``i`` looks at ``(i + 0.5) * size_in / size_out - 0.5``, and
    indices outside
the image take its border pixel. Two exceptions, both OpenCV's: ``nearest`` takes pixel ``floor(i * size_in /
size_out)``, and ``area`` averages the covered pixels where both axes shrink, else interpolates between the
edges of pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xgraph.errors import InputError, nearest

Array = NDArray[Any]

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "area")


def _triangle(x: Array) -> Array:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _cubic(x: Array) -> Array:
    """Keys' cubic convolution with OpenCV's a = -0.75 (Pillow has -0.5)."""
    a, x = -0.75, np.abs(x)
    inner = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    outer = ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    return np.where(x < 1.0, inner, np.where(x < 2.0, outer, 0.0))


def _lanczos(x: Array) -> Array:
    return np.where(np.abs(x) < 4.0, np.sinc(x) * np.sinc(x / 4.0), 0.0)


_KERNELS: dict[str, tuple[Callable[[Array], Array], int]] = {  # name -> kernel, its radius in input pixels
    "bilinear": (_triangle, 1),
    "bicubic": (_cubic, 2),
    "lanczos": (_lanczos, 4),
}


def bilinear(size_in: int, size_out: int) -> Array:
    """Returns the matrix (size_out, size_in) of bilinear interpolation along one axis, edges continued."""
    return _sampled(size_in, size_out, _triangle, 1)


def _sampled(size_in: int, size_out: int, kernel: Callable[[Array], Array], radius: int) -> Array:
    centre = (np.arange(size_out) + 0.5) * (size_in / size_out) - 0.5
    taps = (np.floor(centre).astype(np.int64) - radius + 1)[:, None] + np.arange(2 * radius)
    share = kernel(taps - centre[:, None])
    matrix = np.zeros((size_out, size_in))
    rows = np.broadcast_to(np.arange(size_out)[:, None], taps.shape)
    np.add.at(matrix, (rows, np.clip(taps, 0, size_in - 1)), share / share.sum(axis=1, keepdims=True))
    return matrix


def _picked(size_in: int, size_out: int) -> Array:
    index = np.floor(np.arange(size_out) * (size_in / size_out)).astype(np.int64)
    return np.asarray(np.eye(size_in)[np.minimum(index, size_in - 1)])


def _covered(size_in: int, size_out: int) -> Array:
    """The share of each input pixel that an output pixel covers."""
    edges = np.arange(size_out + 1) * (size_in / size_out)
    pixels = np.arange(size_in)
    overlap = np.minimum(edges[1:, None], pixels + 1.0) - np.maximum(edges[:-1, None], pixels)
    overlap = np.maximum(overlap, 0.0)
    return np.asarray(overlap / overlap.sum(axis=1, keepdims=True))


def _edge_linear(size_in: int, size_out: int) -> Array:
    """OpenCV's ``area`` where an axis grows: linear only in the output pixels that straddle an input edge."""
    index = np.arange(size_out)
    low = np.floor(index * (size_in / size_out)).astype(np.int64)
    share = (index + 1) - (low + 1) * (size_out / size_in)
    share = np.where(share <= 0.0, 0.0, share - np.floor(share))
    eye = np.eye(size_in)
    high = np.minimum(low + 1, size_in - 1)
    return np.asarray((1.0 - share)[:, None] * eye[low] + share[:, None] * eye[high])


@lru_cache(maxsize=64)
def _taps(size_in: int, size_out: int, interpolation: str, shrinks: bool) -> tuple[Array, Array]:
    """Returns which input pixels make each output pixel, and their float32 shares: both (taps, size_out)."""
    if interpolation == "nearest":
        matrix = _picked(size_in, size_out)
    elif interpolation == "area":
        matrix = _covered(size_in, size_out) if shrinks else _edge_linear(size_in, size_out)
    else:
        matrix = _sampled(size_in, size_out, *_KERNELS[interpolation])
    used = matrix != 0.0
    first = used.argmax(axis=1)
    last = size_in - 1 - used[:, ::-1].argmax(axis=1)
    index = first + np.arange(int((last - first).max()) + 1)[:, None]
    inside = np.minimum(index, size_in - 1)
    share = np.where(index <= last, matrix[np.arange(size_out), inside], 0.0)
    return inside, share.astype(np.float32)


def _resize_axis(image: Array, axis: int, size_out: int, interpolation: str, shrinks: bool) -> Array:
    shape = [1] * image.ndim
    shape[axis] = size_out
    total: Array | None = None
    for index, share in zip(*_taps(image.shape[axis], size_out, interpolation, shrinks), strict=True):
        part = image.take(index, axis=axis) * share.reshape(shape)
        total = part if total is None else np.add(total, part, out=total)
    assert total is not None
    return total


def resize(image: Array, size: tuple[int, int], interpolation: str = "bilinear") -> Array:
    """Returns ``image`` (h, w) or (h, w, C) resized to ``size`` = (h, w), contiguous.

    uint8 in, uint8 out, rounded to nearest and clipped: within one grey level of OpenCV, whose arithmetic is
        fixed point.
    Every other dtype gives float32.

    Raises:
        InputError: unknown ``interpolation``, or an axis without pixels.
    """
    if interpolation not in INTERPOLATIONS:
        hint = nearest(interpolation, INTERPOLATIONS)
        raise InputError(f"interpolation '{interpolation}' is not one of {', '.join(INTERPOLATIONS)}{hint}")
    (rows, columns), (height, width) = image.shape[:2], size
    if min(rows, columns, height, width) < 1:
        raise InputError(f"cannot resize {rows} x {columns} to {height} x {width}; every side needs a pixel")
    shrinks = height <= rows and width <= columns
    out = image if image.dtype == np.uint8 else image.astype(np.float32)
    if height != rows:  # rows first: they are contiguous, and most pictures shrink
        out = _resize_axis(out, 0, height, interpolation, shrinks)
    if width != columns:
        out = _resize_axis(out, 1, width, interpolation, shrinks)
    if image.dtype == np.uint8:
        return np.asarray(np.clip(np.rint(out), 0, 255), dtype=np.uint8)
    return np.ascontiguousarray(out)
