"""Pools over regions of interest: RoiAlign samples between pixels, MaxRoiPool takes whole ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xgraph.graph.arithmetic import count, positions, size_of
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dtype_of
from xgraph.graph.site import Site
from xgraph.rules.derived import through
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.geometry import Taps, bounded, linear_taps, read_taps, whole
from xgraph.rules.vjp.shaping import cast_like

# Axes of what RoiAlign samples: taps along y and x, regions, then bins and samples per bin of y and of x, channels.
_SAMPLES_Y, _SAMPLES_X = 4, 6


@through(vjp, "RoiAlign")
def roi_align(b: Emit, s: Site) -> Sequence[Value | None]:
    """Each bin averages (or takes the maximum of) bilinear samples on a regular grid inside it.

    The maximum is taken over the weighted pixels of all samples, as the standard's text, its reference and runtimes do.
    """
    x, rois = s.input(0), s.input(1)
    axes, kept = [], []
    for axis, name in ((0, "output_height"), (1, "output_width")):
        at, valid = _sample_points(b, s, rois, axis, s.attr(name, 1))
        axes.append(_taps(b, x, at, axis))
        kept.append(valid)
    samples = b.Unsqueeze(s.input(2), [1, 2, 3, 4])
    values, weights = read_taps(b, x, samples, axes)
    read = b.Mul(values, weights)
    over = [0, 1, _SAMPLES_Y, _SAMPLES_X]
    valid = b.Unsqueeze(b.And(*kept), [-1])
    if s.attr("mode", "avg") == "avg":
        share = cast_like(b, valid, read)
        number = b.Max(b.ReduceSum(share, [_SAMPLES_Y - 2, _SAMPLES_X - 2], keepdims=0), 1.0)
        pooled = b.Div(b.ReduceSum(b.Mul(read, share), over, keepdims=0), number)
    else:
        lowest = b.scalar(float(np.finfo(dtype_of(read)).min), read)
        best = b.ReduceMax(b.Where(valid, read, lowest), over, keepdims=0)
        # A region of negative size has no samples.
        pooled = b.Where(b.Equal(best, lowest), b.scalar(0.0, best), best)
    return [b.Transpose(pooled, perm=[0, 3, 1, 2])]


def _sample_points(b: Emit, s: Site, rois: Value, axis: int, bins: int) -> tuple[Value, Value]:
    """Emits where a region is sampled along one axis and which of the samples count.

    Both are ``[R, bins, samples, 1, 1]`` for y and ``[R, 1, 1, bins, samples]`` for x. Without a sampling_ratio
    each region has ``ceil(size / bins)`` samples per bin, and there are as many as the largest region has.
    """
    scale = float(s.attr("spatial_scale", 1.0))
    half_pixel = s.attr("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    begin, end = (b.Mul(b.Slice(rois, [i], [i + 1], [1]), scale) for i in (1 - axis, 3 - axis))
    start, size = (b.Sub(begin, 0.5) if half_pixel else begin), b.Sub(end, begin)
    if not half_pixel:
        size = b.Max(size, 1.0)
    start, size = b.Unsqueeze(start, [2]), b.Unsqueeze(size, [2])
    width = b.Div(size, float(bins))
    ratio = int(s.attr("sampling_ratio", 0))
    if ratio > 0:
        number: Value = b.scalar(float(ratio), rois)
        numbers = b.constant(np.arange(ratio, dtype=np.int64))
    else:
        number = b.Ceil(width)
        most = whole(b, b.Max(b.ReduceMax(number, keepdims=0), 1.0))
        numbers = count(b, b.Unsqueeze(most, [0]))
    steps = b.Unsqueeze(cast_like(b, numbers, rois), [0, 1])
    inside = b.Div(b.Add(steps, 0.5), b.Max(number, 1.0))
    bin_numbers = b.constant(np.arange(bins).reshape(1, bins, 1).astype(dtype_of(rois)))
    at = b.Add(start, b.Mul(width, b.Add(bin_numbers, inside)))
    where = [3, 4] if axis == 0 else [1, 2]
    return b.Unsqueeze(at, where), b.Unsqueeze(b.Less(steps, number), where)


def _taps(b: Emit, x: Value, at: Value, axis: int) -> Taps:
    """Emits the two taps of each sample: none further than a pixel outside, bounded within."""
    size = size_of(b, x, 2 + axis)
    end = cast_like(b, size, at)
    near = b.And(b.GreaterOrEqual(at, -1.0), b.LessOrEqual(at, end))
    inside = b.Min(b.Max(at, 0.0), b.Sub(end, 1.0))
    places, weights = linear_taps(b, inside, axis, 2)
    return Taps(bounded(b, places, size), cast_like(b, b.Mul(weights, cast_like(b, near, weights)), x))


@through(vjp, "MaxRoiPool")
def max_roi_pool(b: Emit, s: Site) -> Sequence[Value | None]:
    """The maximum of the pixels of each bin, 0 where it has none; regions are rounded, so nothing flows to them."""
    x, rois = s.input(0), s.input(1)
    rows, columns = s.ints("pooled_shape", [1, 1])
    samples = whole(b, b.Squeeze(b.Slice(rois, [0], [1], [1]), [1]))
    image = b.Gather(x, samples, axis=0)
    lowest = b.scalar(float(np.finfo(dtype_of(x)).min), x)
    in_columns = b.Unsqueeze(_bins(b, s, 1, columns), [1, 2])
    best = b.ReduceMax(b.Where(in_columns, b.Unsqueeze(image, [3]), lowest), [4], keepdims=0)
    in_rows = b.Unsqueeze(_bins(b, s, 0, rows), [1, 3])
    turned = b.Unsqueeze(b.Transpose(best, perm=[0, 1, 3, 2]), [2])
    best = b.ReduceMax(b.Where(in_rows, turned, lowest), [4], keepdims=0)
    return [b.Where(b.Equal(best, lowest), b.scalar(0.0, best), best)]


def _bins(b: Emit, s: Site, axis: int, bins: int) -> Value:
    """Emits which positions of an axis each bin holds, ``[R, bins, size]``; bins may overlap by a pixel."""
    x, rois = s.input(0), s.input(1)
    scale = float(s.attr("spatial_scale", 1.0))
    # A region is (sample, x1, y1, x2, y2), and halves round away from zero.
    scaled = [b.Mul(b.Slice(rois, [i], [i + 1], [1]), scale) for i in (2 - axis, 4 - axis)]
    begin, end = (b.Mul(b.Sign(v), b.Floor(b.Add(b.Abs(v), 0.5))) for v in scaled)
    width = b.Div(b.Max(b.Add(b.Sub(end, begin), 1.0), 1.0), float(bins))
    numbers = b.constant(np.arange(bins).reshape(1, bins).astype(dtype_of(rois)))
    low = b.Unsqueeze(b.Add(begin, b.Floor(b.Mul(numbers, width))), [2])
    high = b.Unsqueeze(b.Add(begin, b.Ceil(b.Mul(b.Add(numbers, 1.0), width))), [2])
    at = b.Unsqueeze(cast_like(b, positions(b, x, 2 + axis), rois), [0, 1])
    return b.And(b.GreaterOrEqual(at, low), b.Less(at, high))
