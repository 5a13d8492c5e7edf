"""Pooled head: logits that are a linear layer of globally pooled feature maps.

``A (N, K, spatial ...) -> GlobalAveragePool | ReduceMean(spatial axes) -> (Flatten | Reshape | Squeeze)* -> linear
-> logits``. The anchor is the value of the logits.
"""

from __future__ import annotations

import onnx_ir as ir

from xgraph.graph.patterns.linear import linear_that_returns
from xgraph.graph.patterns.match import constant, made_by
from xgraph.graph.shapes import dims

_LOOK_THROUGH = ("Flatten", "Reshape", "Squeeze", "Identity")


def find_pooled_maps(logits: ir.Value) -> ir.Value | None:
    """Returns the feature maps ``(N, K, spatial ...)`` that the head of ``logits`` pools, or None for another head."""
    value = logits
    while (through := made_by(value, *_LOOK_THROUGH)) is not None and through.inputs[0] is not None:
        value = through.inputs[0]
    linear = linear_that_returns(value)
    if linear is None:
        return None
    pooled = linear.input
    while (through := made_by(pooled, *_LOOK_THROUGH)) is not None and through.inputs[0] is not None:
        pooled = through.inputs[0]
    return _pooled_from(pooled)


def _pooled_from(value: ir.Value) -> ir.Value | None:
    node = made_by(value, "GlobalAveragePool", "ReduceMean")
    maps = None if node is None else node.inputs[0]
    shape = None if maps is None else dims(maps)
    if node is None or shape is None or len(shape) < 3:
        return None
    if node.op_type == "ReduceMean":
        axes = constant(node.inputs[1]) if len(node.inputs) > 1 else None
        if axes is None or sorted(int(axis) % len(shape) for axis in axes) != list(range(2, len(shape))):
            return None
    return maps
