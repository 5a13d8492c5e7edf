"""Spreading: the transposed convolution that every window operator's adjoint can be written as."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from xgraph.graph.emit import Emit
from xgraph.graph.lower.window import Window


def spread(b: Emit, g: ir.Value, weight: ir.Value, shape: ir.Value, window: Window, group: int) -> ir.Value:
    """Emits ``dx[o * stride + k * dilation - begin] += weight[k] * g[o]`` as ConvTranspose.

    Args:
        b: where the nodes go.
        g: what is spread, ``[N, C, *outputs]``.
        weight: ``[C, C' / group, *kernel]``.
        shape: shape of the result; only its spatial part is read, and only where sizes are dynamic.
        window: the forward operator's windows.
        group: number of groups.
    """
    common = {"strides": window.strides, "dilations": window.dilations, "group": group}
    if window.sizes is not None and window.begins is not None:
        tails = [c - p - s for c, p, s in zip(window.covered(), window.begins, window.sizes, strict=True)]
        return b.ConvTranspose(
            g,
            weight,
            pads=[*window.begins, *(max(tail, 0) for tail in tails)],
            output_padding=[max(-tail, 0) for tail in tails],
            **common,
        )
    if window.unit_stride and window.begins is not None and window.ends is not None:
        return b.ConvTranspose(g, weight, pads=[*window.begins, *window.ends], **common)
    # The input's last rows and columns may belong to no window. How many is known at run time only: make room
    # for the most there can be, then cut.
    n = len(window.kernel)
    sizes = b.Slice(shape, [2], [2 + n])
    room = [stride - 1 for stride in window.strides]
    axes = list(range(2, 2 + n))
    if window.begins is not None:
        pads = [*window.begins, *([0] * n)]
        full = b.ConvTranspose(g, weight, pads=pads, output_padding=room, **common)
        return b.Slice(full, [0] * n, sizes, axes)
    full = b.ConvTranspose(g, weight, output_padding=room, **common)
    start = same_begins(b, g, sizes, window)
    return b.Slice(full, start, b.Add(start, sizes), axes)


def same_begins(b: Emit, g: ir.Value, sizes: ir.Value, window: Window) -> ir.Value:
    """Emits the padding in front that ``auto_pad=SAME_*`` means for sizes known at run time."""
    steps = b.Sub(b.Slice(b.Shape(g), [2], [2 + len(window.kernel)]), [1])
    spans = b.Add(b.Mul(steps, list(window.strides)), list(window.reach))
    totals = b.Max(b.Sub(spans, sizes), [0])
    half = b.Div(totals, [2])
    return half if window.same == "SAME_UPPER" else b.Sub(totals, half)


def ones(g: ir.Value, *shape: int) -> np.ndarray:
    """Returns an array of ones of the dtype of ``g``."""
    assert g.dtype is not None
    return np.ones(shape, g.dtype.numpy())
