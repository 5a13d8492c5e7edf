"""ResizeGrad: Resize is linear and acts on each axis alone, ``y = R x``, so its adjoint is ``dx = R^T g`` per axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from xgraph.graph.emit import Emit
from xgraph.graph.lower.computed_interpolation import ComputedAxis, computed_matrix
from xgraph.graph.lower.interpolation import Interpolation
from xgraph.graph.shapes import Dim, dims, rank, static
from xgraph.graph.site import Site

_ROI, _SCALES, _SIZES = 3, 4, 5
"""Inputs of the adjoint node."""


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis that is resized; None stands for what is known at run time only."""

    axis: int
    place: int
    """Where the axis stands in the scales, sizes and regions that are given."""
    size: int | None
    resized: int | None
    scale: float | None
    roi: tuple[float, float] | None


def resize_grad(b: Emit, s: Site, profile: str) -> ir.Value:
    """Emits ``R^T g`` along each axis that is resized."""
    g = s.input(0)
    how = _interpolation(s)
    axes = [axis for axis in _axes(s) if not _is_identity(axis, how)]
    if axes and all(_repeats(axis, how) for axis in axes):
        return _block_sums(b, g, {axis.axis: round(axis.scale or 1) for axis in axes})
    for axis in reversed(axes):
        g = _along(b, g, _matrix(b, s, g, axis, how), axis.axis)
    return g


def _interpolation(s: Site) -> Interpolation:
    return Interpolation(
        mode=s.attr("mode", "nearest"),
        coordinates=s.attr("coordinate_transformation_mode", "half_pixel"),
        rounding=s.attr("nearest_mode", "round_prefer_floor"),
        cubic_a=float(s.attr("cubic_coeff_a", -0.75)),
        exclude_outside=bool(s.attr("exclude_outside", 0)),
        antialias=bool(s.attr("antialias", 0)),
    )


def _crops(s: Site) -> bool:
    return bool(s.attr("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize")


def _axes(s: Site) -> list[_Axis]:
    """Reads per axis the sizes and the scale, from constants where there are, else from annotated shapes.

    The scales follow the region in the inputs, and the sizes follow the scales.
    """
    x, g = s.y[0], s.input(0)
    n = rank(x)
    sizes, resized = dims(x) or (), dims(g) or (None,) * n
    axes = [axis % n for axis in s.ints("axes", range(n))]
    given, wanted = s.const(_SCALES), s.const(_SIZES)
    policy = s.attr("keep_aspect_ratio_policy", "stretch")
    scales: list[float | None]
    if given is not None and given.size:
        scales = [float(scale) for scale in given]
    elif wanted is not None and wanted.size:
        scales = [_ratio(int(want), sizes[axis]) for axis, want in zip(axes, wanted, strict=True)]
        known = [scale for scale in scales if scale is not None]
        if policy != "stretch":
            common = min(known, default=0.0) if policy == "not_larger" else max(known, default=0.0)
            scales = [common if len(known) == len(scales) else None] * len(axes)
    elif _is_given(s, _SCALES) or policy != "stretch":
        scales = [None] * len(axes)
    else:
        scales = [_ratio(resized[axis], sizes[axis]) for axis in axes]
    region = s.const(_ROI) if _crops(s) else np.repeat([0.0, 1.0], len(axes))
    return [
        _Axis(
            axis,
            i,
            _static(sizes[axis]),
            _static(resized[axis]),
            scale,
            None if region is None else (float(region[i]), float(region[i + len(axes)])),
        )
        for i, (axis, scale) in enumerate(zip(axes, scales, strict=True))
    ]


def _is_given(s: Site, i: int) -> bool:
    """Tells whether an optional vector is there: left out or empty, another one counts."""
    return s.has(i) and static(s.input(i)) != (0,)


def _ratio(resized: Dim, size: Dim) -> float | None:
    if resized is not None and resized == size:
        return 1.0
    return resized / size if isinstance(resized, int) and isinstance(size, int) else None


def _static(dim: Dim) -> int | None:
    return dim if isinstance(dim, int) else None


def _is_identity(axis: _Axis, how: Interpolation) -> bool:
    """Tells whether the axis is left alone: equal sizes and, where a region is cropped, all of it."""
    if axis.roi is not None and axis.scale is not None and axis.size is not None and axis.size == axis.resized:
        return bool((how.matrix(axis.size, axis.resized, axis.scale, axis.roi) == np.eye(axis.size)).all())
    return axis.scale == 1.0 and axis.roi == (0.0, 1.0)


def _repeats(axis: _Axis, how: Interpolation) -> bool:
    """Tells whether each input becomes a run of ``scale`` outputs, whatever the size."""
    times = round(axis.scale or 0)
    if times < 1 or how.mode != "nearest" or how.depends_on_size or times != axis.scale:
        return False
    size = axis.size or 4
    expected = np.repeat(np.eye(size), times, axis=0)
    return bool((how.matrix(size, size * times, axis.scale) == expected).all())


def _block_sums(b: Emit, g: ir.Value, times: dict[int, int]) -> ir.Value:
    """Emits the sums over blocks of ``times`` entries: a pool where the axes are spatial."""
    n = rank(g)
    blocks = [times.get(axis, 1) for axis in range(n)]
    if 3 <= n <= 5 and blocks[:2] == [1, 1]:
        means = b.AveragePool(g, kernel_shape=blocks[2:], strides=blocks[2:])
        return b.Mul(means, float(np.prod(blocks)))
    shape: list[ir.Value] = []
    for axis in range(n):
        size = b.Slice(b.Shape(g), [axis], [axis + 1])
        if blocks[axis] == 1:
            shape.append(size)
        else:
            shape += [b.Div(size, [blocks[axis]]), b.constant(np.array([blocks[axis]], np.int64))]
    split = b.Reshape(g, b.Concat(*shape, axis=0))
    summed = [axis + 1 + sum(a in times for a in range(axis)) for axis in sorted(times)]
    return b.ReduceSum(split, summed, keepdims=0)


def _matrix(b: Emit, s: Site, g: ir.Value, axis: _Axis, how: Interpolation) -> np.ndarray | ir.Value:
    """Returns ``R`` of shape ``[resized, size]``: a constant, or built from the sizes at run time."""
    assert g.dtype is not None
    if axis.size is not None and axis.resized is not None and axis.scale is not None and axis.roi is not None:
        return how.matrix(axis.size, axis.resized, axis.scale, axis.roi).astype(g.dtype.numpy())
    start, end = None, None
    if _crops(s):
        n = len(s.ints("axes", range(rank(g))))
        start, end = (b.Slice(s.input(_ROI), [i], [i + 1]) for i in (axis.place, axis.place + n))
        start, end = (b.Cast(bound, to=int(ir.DataType.FLOAT)) for bound in (start, end))
    size = b.Slice(s.input(2), [axis.axis], [axis.axis + 1])
    resized = b.Slice(b.Shape(g), [axis.axis], [axis.axis + 1])
    known = ComputedAxis(size, resized, _computed_scale(b, s, axis, size, resized), start, end)
    return computed_matrix(b, how, known, g.dtype)


def _computed_scale(b: Emit, s: Site, axis: _Axis, size: ir.Value, resized: ir.Value) -> ir.Value:
    """Emits the scale of one axis, as a float32 vector of length 1."""
    if _is_given(s, _SCALES):
        return b.Slice(s.input(_SCALES), [axis.place], [axis.place + 1])
    policy = s.attr("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return b.Div(b.Cast(resized, to=int(ir.DataType.FLOAT)), b.Cast(size, to=int(ir.DataType.FLOAT)))
    wanted, shape = s.input(_SIZES), s.input(2)
    sizes = b.Gather(shape, s.ints("axes", range(rank(s.input(0)))))
    ratios = b.Div(b.Cast(wanted, to=int(ir.DataType.FLOAT)), b.Cast(sizes, to=int(ir.DataType.FLOAT)))
    return (b.ReduceMin if policy == "not_larger" else b.ReduceMax)(ratios, [0], keepdims=1)


def _along(b: Emit, g: ir.Value, matrix: np.ndarray | ir.Value, axis: int) -> ir.Value:
    """Emits ``R^T g`` along one axis, with ``R`` of shape ``[resized, size]``."""
    n = rank(g)
    if axis == n - 1:
        return b.MatMul(g, matrix)
    if axis == n - 2:
        turned = b.constant(matrix.T) if isinstance(matrix, np.ndarray) else b.Transpose(matrix, perm=[1, 0])
        return b.MatMul(turned, g)
    swap = list(range(n))
    swap[axis], swap[-1] = swap[-1], swap[axis]
    return b.Transpose(b.MatMul(b.Transpose(g, perm=swap), matrix), perm=swap)
