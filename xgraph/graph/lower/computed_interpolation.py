"""Interpolation matrices of sizes known at run time, built in the graph by the formulas of ``interpolation``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit
from xgraph.graph.lower.interpolation import Interpolation

_FLOAT, _INT64 = int(ir.DataType.FLOAT), int(ir.DataType.INT64)


@dataclass(frozen=True, slots=True)
class ComputedAxis:
    """One axis that is resized: vectors of length 1, sizes in int64, the others in float32."""

    size: ir.Value
    resized: ir.Value
    scale: ir.Value
    start: ir.Value | None
    end: ir.Value | None


def computed_matrix(b: Emit, how: Interpolation, axis: ComputedAxis, dtype: ir.DataType) -> ir.Value:
    """Emits ``R`` of shape ``[resized, size]``; rows of extrapolated outputs are zero. Antialiasing is not covered."""
    at = _sources(b, how, axis)
    if dtype.itemsize > at.dtype.itemsize:  # type: ignore[union-attr]
        at = b.Cast(at, to=int(dtype))
    # The pixel to the left of a source, and the position behind it: 0 < ratio <= 1.
    left = b.Sub(b.Ceil(at), 1.0)
    taps = _taps(b, how, b.Sub(at, left))
    columns = [b.Add(b.Cast(left, to=_INT64), offset) for offset, _ in taps]
    weights = [weight for _, weight in taps]
    if how.exclude_outside:
        inside = [b.And(b.GreaterOrEqual(column, 0), b.Less(column, axis.size)) for column in columns]
        weights = [b.Where(held, weight, b.scalar(0.0, weight)) for held, weight in zip(inside, weights, strict=True)]
        total = _sum(b, weights)
        weights = [b.Div(weight, total) for weight in weights]
    if how.coordinates == "tf_crop_and_resize":
        last = b.Sub(b.Cast(axis.size, to=int(at.dtype)), 1.0)  # type: ignore[arg-type]
        inside_image = b.And(b.GreaterOrEqual(at, 0.0), b.LessOrEqual(at, last))
        weights = [b.Where(inside_image, weight, b.scalar(0.0, weight)) for weight in weights]
    pixels, last_pixel = _count(b, axis.size), b.Sub(axis.size, [1])
    terms = []
    for column, weight in zip(columns, weights, strict=True):
        bounded = b.Unsqueeze(b.Max(b.Min(column, last_pixel), [0]), [1])
        terms.append(b.Where(b.Equal(bounded, pixels), b.Unsqueeze(weight, [1]), b.scalar(0.0, weight)))
    matrix = _sum(b, terms)
    return matrix if matrix.dtype == dtype else b.Cast(matrix, to=int(dtype))


def _sources(b: Emit, how: Interpolation, axis: ComputedAxis) -> ir.Value:
    """Emits where in the input each output lies, ``[resized]`` in float32: that is what runtimes round."""
    x = b.Cast(_count(b, axis.resized), to=_FLOAT)
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
            return b.Where(several, b.Add(b.Mul(axis.start, last), spread), b.Add(middle, b.Mul(x, 0.0)))
    raise GraphError(f"Resize has no coordinate_transformation_mode '{how.coordinates}'")


def _taps(b: Emit, how: Interpolation, ratio: ir.Value) -> list[tuple[int, ir.Value]]:
    """Returns the offsets of the pixels read, each with the coefficients of all outputs."""
    rest = b.Sub(b.scalar(1.0, ratio), ratio)
    match how.mode:
        case "nearest":
            right = b.Cast(_rounds_up(b, how, ratio), to=int(ratio.dtype))  # type: ignore[arg-type]
            return [(0, b.Sub(b.scalar(1.0, right), right)), (1, right)]
        case "linear":
            return [(0, rest), (1, ratio)]
        case "cubic":
            a = how.cubic_a
            near, far = (a + 2, -(a + 3), 0.0, 1.0), (a, -5 * a, 8 * a, -4 * a)
            return [
                (-1, _polynomial(b, b.Add(ratio, 1.0), far)),
                (0, _polynomial(b, ratio, near)),
                (1, _polynomial(b, rest, near)),
                (2, _polynomial(b, b.Add(rest, 1.0), far)),
            ]
    raise GraphError(f"Resize has no mode '{how.mode}'")


def _rounds_up(b: Emit, how: Interpolation, ratio: ir.Value) -> ir.Value:
    match how.rounding:
        case "round_prefer_floor":
            return b.Greater(ratio, 0.5)
        case "round_prefer_ceil":
            return b.GreaterOrEqual(ratio, 0.5)
        case "floor":
            return b.Equal(ratio, 1.0)
        case "ceil":
            return b.Greater(ratio, 0.0)
    raise GraphError(f"Resize has no nearest_mode '{how.rounding}'")


def _polynomial(b: Emit, x: ir.Value, coefficients: tuple[float, ...]) -> ir.Value:
    """Emits a polynomial by Horner's rule, highest power first."""
    total = b.Mul(x, coefficients[0])
    for coefficient in coefficients[1:-1]:
        total = b.Mul(b.Add(total, coefficient), x)
    return b.Add(total, coefficients[-1])


def _count(b: Emit, size: ir.Value) -> ir.Value:
    zero, one = b.constant(np.array(0, np.int64)), b.constant(np.array(1, np.int64))
    return b.Range(zero, b.Squeeze(size, [0]), one)


def _sum(b: Emit, terms: list[ir.Value]) -> ir.Value:
    total = terms[0]
    for term in terms[1:]:
        total = b.Add(total, term)
    return total
