"""Softmax head: what turns logits into the probabilities that a classifier returns.

``logits -> Softmax | LogSoftmax | Sigmoid -> (Identity | Cast | Reshape | Squeeze | Unsqueeze | Flatten |
Transpose)* -> output``. Reshapes only add or remove axes of length 1, or undo a reshape of the logits that keeps their
last axis; a Transpose applies to the logits as well. The axis of Softmax must be the class axis: the last of ``(N, C)``
and ``(N, T, C)``, or axis 1 of ``(N, C, ...)``. The anchor is the graph output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from xgraph.graph.patterns.match import NearMiss, made_by, unquantised
from xgraph.graph.patterns.silu import match_silu
from xgraph.graph.shapes import Dim, dims, is_float, named_dims, same

HeadKind = Literal["softmax", "log_softmax", "sigmoid", "none"]

_KINDS: dict[str, HeadKind] = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}
_LOOK_THROUGH = ("Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose")
_ARITHMETIC = (
    *("Add", "Sub", "Mul", "Div", "Neg", "Abs", "Exp", "Log", "Sqrt", "Pow", "Reciprocal", "Sum", "Mean"),
    *("Min", "Max", "Clip", "Where", "Round", "Relu", "Tanh", "Erf"),
    *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"),
    *("GlobalAveragePool", "GlobalMaxPool", "Resize"),
    *(
        "Concat",
        "Split",
        "Slice",
        "Gather",
        "GatherElements",
        "GatherND",
        "Expand",
        "Tile",
        "Pad",
        "Compress",
        "TopK",
        "DepthToSpace",
    ),
)
"""What a converter or a deployment puts behind probabilities; layers with weights are not among them."""


@dataclass(frozen=True, slots=True)
class Head:
    """How one float output of the model comes out of logits."""

    output: ir.Value
    kind: HeadKind
    logits: ir.Value
    """The output itself when there is no head. Of a quantised model, what is rounded to the grid and clipped to its
    ends: the largest logit often lies at the end, where nothing changes any more."""
    probability: ir.Value | None
    """What Softmax, LogSoftmax or Sigmoid returns, in the order of axes of the output; None without a head."""
    axis: int | None
    """The class axis of ``probability``, counted from 0; None for Sigmoid or where there is no head."""
    node: ir.Node | None = None
    miss: NearMiss | None = None
    """Why something that looks like a head is none."""
    perm: tuple[int, ...] | None = None
    """The Transpose that brings ``logits`` to the order of axes of ``probability``; None where they have the same."""

    @property
    def shape(self) -> tuple[Dim, ...] | None:
        """The shape of the logits in the order of axes of ``probability``, or None when their rank is not known."""
        known = dims(self.logits)
        return known if known is None or self.perm is None else tuple(known[i] for i in self.perm)


def find_heads(model: ir.Model) -> tuple[Head, ...]:
    """Returns one head per float output of the model, in order."""
    return tuple(_head(output) for output in model.graph.outputs if is_float(output))


def _head(output: ir.Value) -> Head:
    moves: list[ir.Node] = []
    value = output
    while (move := made_by(value, *_LOOK_THROUGH)) is not None:
        source = move.inputs[0]
        if source is None or not is_float(source):
            break
        moves.append(move)
        value = source
    node = made_by(value, *_KINDS)
    if node is None or node.inputs[0] is None:
        return Head(output, "none", unquantised(output), None, None, None, _hidden_activation(output))
    kind, logits, probability = _KINDS[node.op_type], unquantised(node.inputs[0]), value
    perm: tuple[int, ...] | None = None
    known = dims(logits)
    if known is None and kind != "sigmoid":
        return _missed(output, node, "the rank of its input is not known")
    axis = None if known is None or kind == "sigmoid" else node.attributes.get_int("axis", -1) % len(known)
    for move in reversed(moves):
        before, after = move.inputs[0], move.outputs[0]
        assert before is not None
        order = _order(move)
        if _keeps_axes(before, after, order):
            continue
        if dims(before) is None or dims(before) != dims(probability):
            return _missed(output, node, f"its result is reshaped before {move.op_type} '{move.name}'")
        if order is not None:
            perm = order if perm is None else tuple(perm[i] for i in order)
            axis = None if axis is None else order.index(axis)
            turned = made_by(logits, "Transpose")
            whole = None if turned is None else turned.inputs[0]
            if turned is not None and whole is not None and _undoes(perm, _order(turned)):
                logits, perm = whole, None
        elif perm is None and (whole := _reshaped_back(logits, after)) is not None and axis in (None, _last(before)):
            logits = whole
            axis = None if axis is None else _last(after)
        else:
            return _missed(
                output, node, f"its result {list(named_dims(before))} is reshaped to {list(named_dims(after))}"
            )
        probability = after
    if axis is None:
        return Head(output, kind, logits, probability, None, node, perm=perm)
    count = _last(probability) + 1
    if axis == 0:
        return _missed(output, node, "it normalises over the batch axis")
    if axis != 1 and not (axis == count - 1 and count <= 3):
        return _missed(output, node, f"it normalises over axis {axis} of {count}, which is no class axis")
    return Head(output, kind, logits, probability, axis, node, perm=perm)


def _missed(output: ir.Value, node: ir.Node, reason: str) -> Head:
    return Head(output, "none", output, None, None, None, NearMiss(node, reason))


def _hidden_activation(output: ir.Value) -> NearMiss | None:
    """Returns what makes probabilities between the last layers and the output, if there is such a node."""
    waiting, seen = [output], {output}
    while waiting:
        node = waiting.pop().producer()
        if node is None:
            continue
        if node.op_type == "SVMClassifier" and "prob_a" in node.attributes:
            return NearMiss(node, "it gives probabilities already")
        if node.domain:
            continue
        if _normalises(node):
            return NearMiss(node, "it makes rows sum to one, so that they are probabilities already")
        if node.op_type in _KINDS:
            if match_silu(node) is None:
                return NearMiss(node, "what follows it up to the output is no known head")
        elif node.op_type not in _ARITHMETIC and node.op_type not in _LOOK_THROUGH:
            continue
        for value in node.inputs:
            if value is not None and value not in seen and is_float(value):
                seen.add(value)
                waiting.append(value)
    return None


_PASSES_SUMS = ("Add", "Where", "Cast", "Max", "Clip", "Reshape", "Unsqueeze", "Expand")
"""What guards a sum against zero, or brings it into shape, before something is divided by it."""


def _normalises(node: ir.Node) -> bool:
    """Tells whether a node divides by a sum over the last axis, or takes a logarithm of one off."""
    if node.op_type == "Div":
        return _is_made_by(node.inputs[1], "ReduceSum")
    difference = made_by(node.inputs[0], "Sub") if node.op_type == "Exp" else None
    return difference is not None and _is_made_by(difference.inputs[1], "ReduceLogSumExp")


def _is_made_by(value: ir.Value | None, op: str) -> bool:
    """Tells whether ``value`` is made by ``op`` but for guards and reshapes."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if value is not None and made_by(value, op) is not None:
            return True
        guard = None if value is None else made_by(value, *_PASSES_SUMS)
        waiting.extend(guard.inputs[:3] if guard is not None else ())
    return False


def _order(move: ir.Node) -> tuple[int, ...] | None:
    """Returns the axes of a Transpose as they come out; None for another operator, or when the rank is not known."""
    known = None if move.inputs[0] is None else dims(move.inputs[0])
    if move.op_type != "Transpose" or known is None:
        return None
    return tuple(move.attributes.get_ints("perm", ()) or range(len(known) - 1, -1, -1))


def _undoes(second: Sequence[int], first: Sequence[int] | None) -> bool:
    return first is not None and [first[i] for i in second] == list(range(len(second)))


def _last(value: ir.Value) -> int:
    return len(dims(value) or ()) - 1


def _reshaped_back(logits: ir.Value, after: ir.Value) -> ir.Value | None:
    """Returns what ``logits`` were reshaped from when that has the shape of ``after``, and the last axis was kept."""
    node = made_by(logits, "Flatten", "Reshape")
    whole = None if node is None else node.inputs[0]
    if whole is None or not same(whole, after):
        return None
    return whole if (dims(whole) or ())[-1:] == (dims(logits) or ())[-1:] else None


def _keeps_axes(before: ir.Value, after: ir.Value, order: Sequence[int] | None) -> bool:
    """Tells whether the two values differ by axes of length 1 only."""
    left, right = dims(before), dims(after)
    if left is None or right is None:
        return False
    if order is not None:
        moved = [i for i in order if left[i] != 1]
        return moved == sorted(moved)
    return [d for d in left if d != 1] == [d for d in right if d != 1]
