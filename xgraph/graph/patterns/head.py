"""Softmax head: what turns logits into the probabilities that a classifier returns.

``logits -> Softmax | LogSoftmax | Sigmoid -> (Identity | Cast | Reshape | Squeeze | Unsqueeze | Flatten)* ->
output``. The axis of Softmax must be the class axis: the last of ``(N, C)`` and ``(N, T, C)``, or axis 1 of ``(N, C,
...)``. The anchor is the graph output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from xgraph.graph.patterns.match import NearMiss
from xgraph.graph.shapes import dims, is_float

HeadKind = Literal["softmax", "log_softmax", "sigmoid", "none"]

_KINDS: dict[str, HeadKind] = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}
_LOOK_THROUGH = ("Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten")


@dataclass(frozen=True, slots=True)
class Head:
    """How one float output of the model comes out of logits."""

    output: ir.Value
    kind: HeadKind
    logits: ir.Value
    """The output itself when there is no head."""
    probability: ir.Value | None
    """What Softmax, LogSoftmax or Sigmoid returns; None without a head."""
    axis: int | None
    """The class axis of ``logits``, counted from 0; None for Sigmoid or where there is no head."""
    node: ir.Node | None = None
    miss: NearMiss | None = None
    """Why something that looks like a head is none."""


def find_heads(model: ir.Model) -> tuple[Head, ...]:
    """Returns one head per float output of the model, in order."""
    return tuple(_head(output) for output in model.graph.outputs if is_float(output))


def _head(output: ir.Value) -> Head:
    value = output
    while (node := value.producer()) is not None and not node.domain and node.op_type in _LOOK_THROUGH:
        source = node.inputs[0]
        if source is None or not is_float(source) or not _keeps_axes(source, value):
            break
        value = source
    if node is None or node.domain or node.op_type not in _KINDS or node.inputs[0] is None:
        return Head(output, "none", output, None, None)
    kind, logits = _KINDS[node.op_type], node.inputs[0]
    if kind == "sigmoid":
        return Head(output, kind, logits, value, None, node)
    known = dims(logits)
    if known is None:
        return _missed(output, node, "the rank of its input is not known")
    axis = node.attributes.get_int("axis", -1) % len(known)
    if axis == 0:
        return _missed(output, node, "it normalises over the batch axis")
    if axis != 1 and not (axis == len(known) - 1 and len(known) <= 3):
        return _missed(output, node, f"it normalises over axis {axis} of {len(known)}, which is no class axis")
    return Head(output, kind, logits, value, axis, node)


def _missed(output: ir.Value, node: ir.Node, reason: str) -> Head:
    return Head(output, "none", output, None, None, None, NearMiss(node, reason))


def _keeps_axes(before: ir.Value, after: ir.Value) -> bool:
    """Tells whether the two shapes differ by axes of length 1 only."""
    left, right = dims(before), dims(after)
    if left is None or right is None:
        return False
    return [d for d in left if d != 1] == [d for d in right if d != 1]
