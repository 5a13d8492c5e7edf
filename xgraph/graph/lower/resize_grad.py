"""ResizeGrad: Resize is linear and acts on each axis alone, ``y = R x``, so its adjoint is ``dx = R^T g`` per axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from xgraph.errors import ShapeUnknownError
from xgraph.graph.emit import Emit
from xgraph.graph.lower.interpolation import Interpolation
from xgraph.graph.shapes import Dim, dims, named_dims, rank
from xgraph.graph.site import Site


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis that is resized; sizes are None where they are dynamic."""

    axis: int
    size: int | None
    resized: int | None
    scale: float
    roi: tuple[float, float]


def resize_grad(b: Emit, s: Site, profile: str) -> ir.Value:
    """Emits ``R^T g`` along each axis that is resized."""
    g = s.input(0)
    how = Interpolation(
        mode=s.attr("mode", "nearest"),
        coordinates=s.attr("coordinate_transformation_mode", "half_pixel"),
        rounding=s.attr("nearest_mode", "round_prefer_floor"),
        cubic_a=float(s.attr("cubic_coeff_a", -0.75)),
        exclude_outside=bool(s.attr("exclude_outside", 0)),
        antialias=bool(s.attr("antialias", 0)),
    )
    axes = [axis for axis in _axes(b, s) if not _is_identity(axis, how)]
    if axes and all(_repeats(axis, how) for axis in axes):
        return _block_sums(b, g, {axis.axis: round(axis.scale) for axis in axes})
    for axis in reversed(axes):
        if axis.size is None or axis.resized is None:
            raise ShapeUnknownError(
                f"Resize '{b.source}' maps {list(named_dims(s.y[0]))} to {list(named_dims(g))}, and its gradient "
                "needs static sizes; export the model with fixed sizes for all axes but the batch"
            )
        matrix = how.matrix(axis.size, axis.resized, axis.scale, axis.roi)
        g = _along(b, g, matrix, axis.axis)
    return g


def _axes(b: Emit, s: Site) -> list[_Axis]:
    """Reads per axis the sizes and the scale, from constants where there are, else from annotated shapes."""
    x, g = s.y[0], s.input(0)
    n = rank(x)
    sizes, resized = dims(x), dims(g)
    if sizes is None or resized is None:
        raise ShapeUnknownError(f"the rank of '{g.name}' is not known, and the gradient of Resize needs it")
    axes = [axis % n for axis in s.ints("axes", range(n))]
    given, wanted = s.const(4), s.const(5)
    if given is not None and given.size:
        scales = [float(scale) for scale in given]
    elif wanted is not None and wanted.size and s.attr("keep_aspect_ratio_policy", "stretch") != "stretch":
        ratios = [_ratio(b, int(want), sizes[axis]) for axis, want in zip(axes, wanted, strict=True)]
        common = min(ratios) if s.attr("keep_aspect_ratio_policy") == "not_larger" else max(ratios)
        scales = [common] * len(axes)
    elif wanted is not None and wanted.size:
        scales = [_ratio(b, int(want), sizes[axis]) for axis, want in zip(axes, wanted, strict=True)]
    else:
        scales = [_ratio(b, resized[axis], sizes[axis]) for axis in axes]
    roi = s.const(3)
    crops = s.attr("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    if crops and (roi is None or roi.size != 2 * len(axes)):
        raise ShapeUnknownError(f"Resize '{b.source}' computes its roi; its gradient needs a constant one")
    return [
        _Axis(
            axis,
            _static(sizes[axis]),
            _static(resized[axis]),
            scale,
            (float(roi[i]), float(roi[i + len(axes)])) if crops and roi is not None else (0.0, 1.0),
        )
        for i, (axis, scale) in enumerate(zip(axes, scales, strict=True))
    ]


def _ratio(b: Emit, resized: Dim, size: Dim) -> float:
    if resized is not None and resized == size:
        return 1.0
    if isinstance(resized, int) and isinstance(size, int):
        return resized / size
    raise ShapeUnknownError(
        f"Resize '{b.source}' maps an axis of size '{size}' to '{resized}', and its gradient needs their ratio; "
        "export the model with fixed sizes for all axes but the batch"
    )


def _static(dim: Dim) -> int | None:
    return dim if isinstance(dim, int) else None


def _is_identity(axis: _Axis, how: Interpolation) -> bool:
    """Tells whether the axis is left alone: equal sizes and, where a region is cropped, all of it."""
    if axis.size is not None and axis.size == axis.resized:
        return bool((how.matrix(axis.size, axis.resized, axis.scale, axis.roi) == np.eye(axis.size)).all())
    return axis.scale == 1.0 and axis.roi == (0.0, 1.0)


def _repeats(axis: _Axis, how: Interpolation) -> bool:
    """Tells whether each input becomes a run of ``scale`` outputs, whatever the size."""
    times = round(axis.scale)
    if how.mode != "nearest" or how.depends_on_size or times != axis.scale:
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


def _along(b: Emit, g: ir.Value, matrix: np.ndarray, axis: int) -> ir.Value:
    """Emits ``R^T g`` along one axis, with ``R`` of shape ``[resized, size]``."""
    assert g.dtype is not None
    weight = matrix.astype(g.dtype.numpy())
    n = rank(g)
    if axis == n - 1:
        return b.MatMul(g, weight)
    if axis == n - 2:
        return b.MatMul(b.constant(weight.T), g)
    swap = list(range(n))
    swap[axis], swap[-1] = swap[-1], swap[axis]
    return b.Transpose(b.MatMul(b.Transpose(g, perm=swap), weight), perm=swap)
