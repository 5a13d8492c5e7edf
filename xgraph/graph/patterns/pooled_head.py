"""Pooled head: logits that are a linear layer of globally pooled feature maps.

``A (N, K, spatial ...) -> GlobalAveragePool | ReduceMean(spatial axes) -> (Flatten | Reshape | Squeeze)* -> linear
-> logits``. The anchor is the value of the logits.
"""

from __future__ import annotations

import onnx_ir as ir

from xgraph.graph.patterns.linear import Linear, match_linear
from xgraph.graph.patterns.match import constant, made_by
from xgraph.graph.shapes import dims

_LOOK_THROUGH = ("Flatten", "Reshape", "Squeeze", "Identity")


def find_pooled_maps(logits: ir.Value) -> ir.Value | None:
    """Returns the feature maps ``(N, K, spatial ...)`` that the head of ``logits`` pools, or None for another head."""
    value = logits
    while (through := made_by(value, *_LOOK_THROUGH)) is not None and through.inputs[0] is not None:
        value = through.inputs[0]
    add = made_by(value, "Add")
    candidates = [value.producer()] if add is None else [made_by(operand, "MatMul", "Gemm") for operand in add.inputs]
    for node in candidates:
        if node is None or not isinstance(match_linear(node), Linear) or node.inputs[0] is None:
            continue
        pooled = node.inputs[0]
        while (through := made_by(pooled, *_LOOK_THROUGH)) is not None and through.inputs[0] is not None:
            pooled = through.inputs[0]
        maps = _pooled_from(pooled)
        if maps is not None:
            return maps
    return None


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
