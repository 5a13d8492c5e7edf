"""Weights of adjoint convolutions, as nodes on the constant weight.

Nodes rather than new constants: runtimes fold them when a session starts, and a file holds each weight once.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from xgraph.errors import ShapeUnknownError
from xgraph.graph.emit import Emit
from xgraph.graph.shapes import dims, static
from xgraph.graph.site import Site

_FIRST = int(np.iinfo(np.int64).min)
"""A Slice end that means "including index 0" for a negative step."""


def kernel_of(s: Site, weight: ir.Value) -> tuple[int, ...]:
    """Returns the spatial sizes of a convolution's weight.

    Raises:
        ShapeUnknownError: Neither an attribute nor the weight's shape tells them.
    """
    given = s.ints("kernel_shape", [])
    if given:
        return tuple(given)
    sizes = static(weight, slice(2, None))
    if sizes is None:
        raise ShapeUnknownError(f"the kernel size of the weight '{weight.name}' is not static")
    return sizes


def transposed(b: Emit, weight: ir.Value, spatial: int, group: int) -> ir.Value:
    """Emits ``[G * Co, Ci, ...] -> [G * Ci, Co, ...]``: channels swapped within each group."""
    swap = [1, 0, *range(2, 2 + spatial)]
    if group == 1:
        return b.Transpose(weight, perm=swap)
    sizes = dims(weight)
    if sizes is not None and sizes[1] == 1 and sizes[0] == group:
        return weight
    perm = [0, 2, 1, *range(3, 3 + spatial)]
    fixed = static(weight)
    if fixed is not None:
        outer, inner, *kernel = fixed
        parts = b.Reshape(weight, [group, outer // group, inner, *kernel])
        return b.Reshape(b.Transpose(parts, perm=perm), [group * inner, outer // group, *kernel])
    shape = b.Shape(weight)
    per_group, inputs = b.Div(b.Slice(shape, [0], [1]), [group]), b.Slice(shape, [1], [2])
    rest = b.Slice(shape, [2], [2 + spatial])
    parts = b.Reshape(weight, b.Concat(b.constant(np.array([group])), per_group, inputs, rest, axis=0))
    return b.Reshape(b.Transpose(parts, perm=perm), b.Concat(b.Mul(inputs, [group]), per_group, rest, axis=0))


def flipped(b: Emit, weight: ir.Value, spatial: int, group: int) -> ir.Value:
    """Emits the weight of the adjoint convolution: channels swapped, taps reversed."""
    swapped = transposed(b, weight, spatial, group)
    sizes = dims(weight)
    axes = [axis for axis in range(2, 2 + spatial) if sizes is None or sizes[axis] != 1]
    if not axes:
        return swapped
    count = len(axes)
    return b.Slice(swapped, [-1] * count, [_FIRST] * count, axes, [-1] * count)
