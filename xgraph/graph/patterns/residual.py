"""Residual add: ``Add(f(x), x)`` or ``Add(f(x), g(x))`` where g is a short projection.

Two computed operands of equal shape; one of them, the shortcut, is an ancestor of the other, or is reached from one
by at most three nodes out of Conv, BatchNormalization, pooling, MatMul and bias Add. The anchor is the Add (or a Sum
of two).
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from xgraph.graph.patterns.match import made_by
from xgraph.graph.shapes import dims

_PROJECTION = ("Conv", "BatchNormalization", "AveragePool", "MaxPool", "MatMul", "Gemm", "Add", "Pad", "Identity")
_LONGEST_PROJECTION = 3


@dataclass(frozen=True, slots=True)
class Residual:
    """An addition of a branch and a shortcut."""

    node: ir.Node
    branch: ir.Value
    shortcut: ir.Value
    source: ir.Value
    """Where both start; the shortcut itself when it is the identity."""
    output: ir.Value


def find_residuals(model: ir.Model) -> tuple[Residual, ...]:
    """Returns the residual additions of a model in graph order."""
    position = {node: i for i, node in enumerate(model.graph)}
    found = (match_residual(node, position) for node in position)
    return tuple(match for match in found if match is not None)


def match_residual(node: ir.Node, position: dict[ir.Node, int]) -> Residual | None:
    """Returns the residual addition that ``node`` is; ``position`` numbers the nodes in topological order."""
    if node.domain or node.op_type not in ("Add", "Sum") or len(node.inputs) != 2:
        return None
    a, b = node.inputs
    if a is None or b is None or a is b or a.is_initializer() or b.is_initializer():
        return None
    if dims(a) is None or dims(a) != dims(b):
        return None
    pairs = sorted([(a, b), (b, a)], key=lambda pair: _age(pair[0], position))
    for shortcut, branch in pairs:
        if _is_ancestor(shortcut, branch, position):
            return Residual(node, branch, shortcut, shortcut, node.outputs[0])
    for shortcut, branch in pairs:
        source = shortcut
        for _ in range(_LONGEST_PROJECTION):
            step = made_by(source, *_PROJECTION)
            inputs = [] if step is None else [i for i in step.inputs if i is not None and not i.is_initializer()]
            if len(inputs) != 1:
                break
            source = inputs[0]
            if _is_ancestor(source, branch, position):
                return Residual(node, branch, shortcut, source, node.outputs[0])
    return None


def _age(value: ir.Value, position: dict[ir.Node, int]) -> int:
    producer = value.producer()
    return -1 if producer is None else position.get(producer, -1)


def _is_ancestor(value: ir.Value, of: ir.Value, position: dict[ir.Node, int]) -> bool:
    oldest = _age(value, position)
    seen: set[ir.Value] = {of}
    stack = [of]
    while stack:
        node = stack.pop().producer()
        if node is None or node.op_type == "Shape":
            continue
        for operand in node.inputs:
            if operand is value:
                return True
            # What was computed before ``value`` cannot depend on it.
            if operand is not None and operand not in seen and _age(operand, position) > oldest:
                seen.add(operand)
                stack.append(operand)
    return False
