"""Interleaving: the images of all phases become one image; the inverse of a strided slice for each phase."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from xgraph.graph.emit import Emit
from xgraph.graph.shapes import need_static


def interleaved(b: Emit, phases: Sequence[ir.Value], strides: Sequence[int]) -> ir.Value:
    """Emits ``y[.., q * stride + p] = phases[p][.., q]`` for phases in row-major order, of equal static sizes."""
    if len(phases) == 1:
        return phases[0]
    stacked = b.Concat(*phases, axis=1)
    if len(strides) == 2 and strides[0] == strides[1]:
        return b.DepthToSpace(stacked, blocksize=strides[0])
    channels, *sizes = need_static(phases[0], slice(1, None))
    n = len(strides)
    split = b.Reshape(stacked, [0, *strides, channels, *sizes])
    order = [0, n + 1]
    for axis in range(n):
        order += [n + 2 + axis, 1 + axis]
    return b.Reshape(
        b.Transpose(split, perm=order), [0, channels, *(q * t for q, t in zip(sizes, strides, strict=True))]
    )
