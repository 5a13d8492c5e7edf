"""Interpolation matrices of sizes known at run time, built in the graph by the formulas of ``interpolation``.

Every output weighs every pixel by the kernel of their distance: a dense matrix, but no size need be known for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from xgraph.errors import GraphError
from xgraph.graph.arithmetic import count, keys_kernel
from xgraph.graph.emit import Emit
from xgraph.graph.lower.interpolation import Interpolation

_FLOAT, _INT64 = int(ir.DataType.FLOAT), int(ir.DataType.INT64)
_RADIUS = {"linear": 1.0, "cubic": 2.0}


@dataclass(frozen=True, slots=True)
class ComputedAxis:
    """One axis that is resized: vectors of length 1, sizes in int64, the others in float32."""

    size: ir.Value
    resized: ir.Value
    scale: ir.Value
    start: ir.Value | None
    end: ir.Value | None


def computed_matrix(b: Emit, how: Interpolation, axis: ComputedAxis, dtype: ir.DataType) -> ir.Value:
    """Emits ``R`` of shape ``[resized, size]``; rows of extrapolated outputs are zero."""
    sources = _sources(b, how, axis)
    at = b.Unsqueeze(b.Cast(sources, to=int(dtype)) if dtype == ir.DataType.DOUBLE else sources, [1])
    matrix = _nearest(b, how, axis, at) if how.mode == "nearest" else _weighted(b, how, axis, at)
    if how.coordinates == "tf_crop_and_resize":
        last = b.Sub(_like(b, axis.size, at), 1.0)
        inside = b.And(b.GreaterOrEqual(at, 0.0), b.LessOrEqual(at, last))
        matrix = b.Where(inside, matrix, b.scalar(0.0, matrix))
    return _to(b, matrix, dtype)


def _weighted(b: Emit, how: Interpolation, axis: ComputedAxis, at: ir.Value) -> ir.Value:
    """Emits the kernel of all distances; pixels beyond the border count for the one at the border."""
    scale = b.Min(_like(b, axis.scale, at), 1.0) if how.antialias else b.constant(np.ones(1, _numpy(at)))
    reach = b.Cast(b.Ceil(b.Div(b.scalar(_RADIUS.get(how.mode, 0.0), at), scale)), to=_INT64)
    columns = b.Sub(count(b, b.Add(axis.size, b.Mul(reach, 2))), reach)
    weights = _kernel(b, how, b.Mul(b.Abs(b.Sub(_like(b, columns, at), at)), scale))
    zero = b.scalar(0.0, at)
    before, behind = b.Less(columns, 0), b.GreaterOrEqual(columns, axis.size)
    if how.exclude_outside:
        weights = b.Where(b.Or(before, behind), zero, weights)
    weights = b.Div(weights, b.ReduceSum(weights, [1], keepdims=1))
    matrix = b.Slice(weights, reach, b.Add(reach, axis.size), [1])
    if how.exclude_outside:
        return matrix
    pixels = count(b, axis.size)
    for outside, border in ((before, b.Equal(pixels, 0)), (behind, b.Equal(pixels, b.Sub(axis.size, [1])))):
        extra = b.ReduceSum(b.Where(outside, weights, zero), [1], keepdims=1)
        matrix = b.Add(matrix, b.Where(border, extra, zero))
    return matrix


def _kernel(b: Emit, how: Interpolation, d: ir.Value) -> ir.Value:
    if how.mode == "linear":
        return b.Max(b.Sub(b.scalar(1.0, d), d), 0.0)
    if how.mode == "cubic":
        near, far = keys_kernel(b, d, how.cubic_a)
        return b.Where(b.LessOrEqual(d, 1.0), near, b.Where(b.Less(d, 2.0), far, b.scalar(0.0, d)))
    raise GraphError(f"Resize has no mode '{how.mode}'")


def _nearest(b: Emit, how: Interpolation, axis: ComputedAxis, at: ir.Value) -> ir.Value:
    """Emits a one in each row, at the pixel that the source is rounded to."""
    left = b.Sub(b.Ceil(at), 1.0)
    ratio = b.Sub(at, left)
    match how.rounding:
        case "round_prefer_floor":
            right = b.Greater(ratio, 0.5)
        case "round_prefer_ceil":
            right = b.GreaterOrEqual(ratio, 0.5)
        case "floor":
            right = b.Equal(ratio, 1.0)
        case "ceil":
            right = b.Greater(ratio, 0.0)
        case _:
            raise GraphError(f"Resize has no nearest_mode '{how.rounding}'")
    chosen = b.Add(b.Cast(left, to=_INT64), b.Cast(right, to=_INT64))
    bounded = b.Max(b.Min(chosen, b.Sub(axis.size, [1])), [0])
    return _like(b, b.Equal(bounded, count(b, axis.size)), at)


def _sources(b: Emit, how: Interpolation, axis: ComputedAxis) -> ir.Value:
    """Emits where in the input each output lies, ``[resized]`` in float32: that is what runtimes round."""
    x = b.Cast(count(b, axis.resized), to=_FLOAT)
    size, resized = b.Cast(axis.size, to=_FLOAT), b.Cast(axis.resized, to=_FLOAT)
    last, steps = b.Sub(size, 1.0), b.Max(b.Sub(resized, 1.0), 1.0)
    several = b.Greater(resized, 1.0)
    half_pixel = b.Sub(b.Div(b.Add(x, 0.5), axis.scale), 0.5)
    match how.coordinates:
        case "half_pixel":
            return half_pixel
        case "pytorch_half_pixel":
            return b.Where(several, half_pixel, b.scalar(0.0, x))
        case "half_pixel_symmetric":
            covered = b.Div(resized, b.Mul(axis.scale, size))
            return b.Add(b.Mul(b.Div(size, 2.0), b.Sub(b.scalar(1.0, size), covered)), half_pixel)
        case "asymmetric":
            return b.Div(x, axis.scale)
        case "align_corners":
            return b.Div(b.Mul(x, last), steps)
        case "tf_crop_and_resize":
            assert axis.start is not None
            assert axis.end is not None
            spread = b.Div(b.Mul(b.Mul(x, b.Sub(axis.end, axis.start)), last), steps)
            middle = b.Mul(b.Mul(b.Add(axis.start, axis.end), 0.5), last)
            return b.Where(several, b.Add(b.Mul(axis.start, last), spread), middle)
    raise GraphError(f"Resize has no coordinate_transformation_mode '{how.coordinates}'")


def _to(b: Emit, value: ir.Value, dtype: ir.DataType) -> ir.Value:
    return value if value.dtype == dtype else b.Cast(value, to=int(dtype))


def _like(b: Emit, value: ir.Value, x: ir.Value) -> ir.Value:
    assert x.dtype is not None
    return _to(b, value, x.dtype)


def _numpy(x: ir.Value) -> np.dtype:
    assert x.dtype is not None
    return x.dtype.numpy()
