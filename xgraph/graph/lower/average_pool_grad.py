"""AveragePoolGrad: each window gives an equal share of what it received to the inputs that it averaged.

With the attribute ``sums`` it gives all of it to each: the gradient of a sum over windows.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import onnx_ir as ir

from xgraph.graph.arithmetic import count
from xgraph.graph.emit import Emit
from xgraph.graph.lower.spread import ones, same_begins, spread
from xgraph.graph.lower.window import Window, read_window
from xgraph.graph.shapes import rank
from xgraph.graph.site import Site


def average_pool_grad(b: Emit, s: Site, profile: str) -> ir.Value:
    """Emits ``dx[i] = sum of g[o] / count(o) over the windows o that hold i``."""
    g, shape = s.input(0), s.input(2)
    window = read_window(s, s.ints("kernel_shape", []))
    taps = math.prod(window.kernel)
    counts = _counts(b, s, g, shape, window)
    if _is_global(window):
        return b.Expand(b.Div(g, counts), shape)
    if window.unit_stride and window.dense and _fits_average(window):
        # Every input sees `taps` windows, so that the sum over windows is an average of zero-padded g.
        assert window.begins is not None
        assert window.ends is not None
        scaled = g if counts is not None and _all_equal(counts, taps) else b.Mul(b.Div(g, counts), float(taps))
        flipped = [k - 1 - p for pads in (window.begins, window.ends) for k, p in zip(window.kernel, pads, strict=True)]
        return b.AveragePool(scaled, kernel_shape=window.kernel, pads=flipped, count_include_pad=1)
    share = b.Div(g, counts)
    if _tiles(window):
        n = rank(g)
        scales = np.array([1, 1, *window.kernel], np.float32)
        assert n == len(scales)
        return b.Resize(
            share,
            None,
            scales,
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
    return _spread(b, share, shape, window)


def _spread(b: Emit, share: ir.Value, shape: ir.Value, window: Window) -> ir.Value:
    """Emits the transposed convolution with ones, over ``[N * C, 1, ...]``: the channels do not mix."""
    n = len(window.kernel)
    outputs = window.outputs or b.Slice(b.Shape(share), [2], [2 + n])
    if isinstance(outputs, tuple):
        columns = b.Reshape(share, [-1, 1, *outputs])
    else:
        columns = b.Reshape(share, b.Concat(b.constant(np.array([-1, 1])), outputs, axis=0))
    summed = spread(b, columns, b.constant(ones(share, 1, 1, *window.kernel)), shape, window, 1)
    return b.Reshape(summed, shape)


def _counts(b: Emit, s: Site, g: ir.Value, shape: ir.Value, window: Window) -> ir.Value:
    """Returns how many inputs each window averages, as a constant if possible, ``[1, 1, *outputs]`` or a scalar."""
    if s.attr("sums", 0):
        return b.scalar(1.0, g)
    include = bool(s.attr("count_include_pad", 0))
    if window.sizes is not None and window.begins is not None:
        grid = np.ones(())
        for axis in range(len(window.kernel)):
            grid = np.multiply.outer(grid, _axis_counts(window, axis, include))
        if (grid == grid.flat[0]).all():
            return b.scalar(float(grid.flat[0]), g)
        assert g.dtype is not None
        return b.constant(grid[None, None].astype(g.dtype.numpy()))
    padded = window.begins is None or any((*window.begins, *(window.ends or ())))
    # SAME padding fits whatever the sizes are, so that ceil_mode adds no window.
    if (include or not padded) and not (s.attr("ceil_mode", 0) and window.begins is not None):
        return b.scalar(float(math.prod(window.kernel)), g)
    begins = same_begins(b, g, b.Slice(shape, [2], [2 + len(window.kernel)]), window) if window.begins is None else None
    counts = [_computed_counts(b, g, shape, window, axis, include, begins) for axis in range(len(window.kernel))]
    return functools.reduce(b.Mul, counts)


def _computed_counts(
    b: Emit, g: ir.Value, shape: ir.Value, window: Window, axis: int, include: bool, begins: ir.Value | None
) -> ir.Value:
    """As ``_axis_counts`` for sizes known at run time, ``[1, 1, .., outputs, .., 1]``."""
    n = len(window.kernel)
    numbers = count(b, b.Slice(b.Shape(g), [2 + axis], [3 + axis]))
    if begins is not None:
        begin = b.Slice(begins, [axis], [axis + 1])
    else:
        assert window.begins is not None
        begin = b.constant(np.array([window.begins[axis]], np.int64))
    starts = b.Unsqueeze(b.Sub(b.Mul(numbers, [window.strides[axis]]), begin), [1])
    taps = np.arange(window.kernel[axis], dtype=np.int64) * window.dilations[axis]
    position = b.Add(starts, b.constant(taps))
    low, high = b.constant(np.array([0], np.int64)), b.Slice(shape, [2 + axis], [3 + axis])
    if include:
        # With SAME padding no window reaches beyond it, so that begins are given here.
        assert window.ends is not None
        low, high = b.Neg(begin), b.Add(high, [window.ends[axis]])
    inside = b.And(b.GreaterOrEqual(position, low), b.Less(position, high))
    assert g.dtype is not None
    counts = b.ReduceSum(b.Cast(inside, to=int(g.dtype)), [1], keepdims=0)
    return b.Unsqueeze(counts, [other for other in range(2 + n) if other != 2 + axis])


def _axis_counts(window: Window, axis: int, include: bool) -> np.ndarray:
    """Returns the taps of each window that count, along one axis: inside the input, or the padded input."""
    assert window.sizes is not None
    assert window.outputs is not None
    assert window.begins is not None
    assert window.ends is not None
    size, begin, end = window.sizes[axis], window.begins[axis], window.ends[axis]
    position = np.arange(window.outputs[axis])[:, None] * window.strides[axis] - begin
    position = position + np.arange(window.kernel[axis]) * window.dilations[axis]
    low, high = (-begin, size + end) if include else (0, size)
    return np.asarray(((position >= low) & (position < high)).sum(1), np.float64)


def _all_equal(counts: ir.Value, taps: int) -> bool:
    tensor = counts.const_value
    return tensor is not None and bool((tensor.numpy() == taps).all())


def _is_global(window: Window) -> bool:
    """Tells whether there is one window, and it holds the whole input."""
    if window.sizes is None or window.outputs is None or window.begins is None:
        return False
    axes = zip(window.kernel, window.sizes, window.outputs, window.begins, window.dilations, strict=True)
    return all(o == 1 and d == 1 and k - p >= size for k, size, o, p, d in axes)


def _fits_average(window: Window) -> bool:
    """Tells whether the complementary padding is one that AveragePool accepts: from 0 to kernel - 1."""
    if window.begins is None or window.ends is None:
        return False
    if window.sizes is not None:
        assert window.outputs is not None
        pairs = zip(window.sizes, window.outputs, window.begins, window.ends, window.kernel, strict=True)
        if any(o != size + p + e - k + 1 for size, o, p, e, k in pairs):
            return False
    return all(p <= k - 1 for pads in (window.begins, window.ends) for k, p in zip(window.kernel, pads, strict=True))


def _tiles(window: Window) -> bool:
    """Tells whether the windows lie side by side and fill the input."""
    if window.sizes is None or window.outputs is None or window.begins is None:
        return False
    axes = zip(window.kernel, window.strides, window.sizes, window.outputs, window.begins, strict=True)
    return window.dense and all(k == t and size == o * k and p == 0 for k, t, size, o, p in axes)
