"""Padding that is negative: convolutions do not take it, so it is cut off first."""

from __future__ import annotations

import onnx_ir as ir

from xgraph.graph.emit import Emit


def crop_negative(b: Emit, g: ir.Value, begins: list[int], ends: list[int]) -> ir.Value:
    """Cuts off what a negative padding says: outputs that saw nothing but padding."""
    axes = [i for i in range(len(begins)) if begins[i] < 0 or ends[i] < 0]
    if not axes:
        return g
    last = 2**31 - 1
    starts = [max(-begins[i], 0) for i in axes]
    stops = [ends[i] if ends[i] < 0 else last for i in axes]
    return b.Slice(g, starts, stops, [i + 2 for i in axes])
