"""Quantised models compute in float wherever their integers merely stand for numbers.

Constants are put on their grid at import, and what moves or selects integers in front of a DequantizeLinear moves
behind it: ``DQ(Transpose(q)) = Transpose(DQ(q))``. So nothing is left between QuantizeLinear and DequantizeLinear,
rules and recognisers see the float operators that they know, and every number stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import ml_dtypes
import numpy as np
import onnx_ir as ir

from xgraph.graph.emit import Emit, Value
from xgraph.graph.normalise.grid import array_of, dequantise, dequantised, quantise, weight
from xgraph.graph.normalise.replace import bypass, substitute
from xgraph.graph.prune import remove_unused
from xgraph.graph.shapes import dims
from xgraph.graph.site import Site

_FIRST = frozenset({
    "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "GlobalMaxPool", "Identity", "MaxPool",
    "ReduceMax", "ReduceMin", "Reshape", "Resize", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose",
    "Unsqueeze",
})  # fmt: skip
"""Operators on their first operand that give the same before and after a growing function of the numbers."""
_ALL = frozenset({"Clip", "Concat", "Max", "Min"})
"""The same on all operands."""


def float_quantised(model: ir.Model) -> bool:
    """Rewrites the model so, in place; returns whether anything changed.

    Needs shapes: call ``infer_shapes`` before, and again afterwards.
    """
    changed = _fold(model)
    _merge_twins(model)
    for node in reversed(list(model.graph)):
        users = [user for value in node.outputs for user, index in value.uses() if index == 0]
        for twins in _by_grid(users):
            changed |= _move(model, node, twins)
    if changed:
        model.graph.sort()
    return changed


def unrounded(model: ir.Model) -> ir.Model | None:
    """Returns a copy of a normalised model that clips numbers to their grids and does not round them.

    None where the model rounds nothing.
    """
    copy = model.clone()
    b = Emit(copy)
    found = False
    for node in list(copy.graph):
        made = None if not node.inputs or node.inputs[0] is None else node.inputs[0].producer()
        if node.op_type == "DequantizeLinear" and made is not None and made.op_type == "QuantizeLinear":
            substitute(node, [b.Identity(_clipped(b, Site(made), Site(node)))], [])
            found = True
    if not found:
        return None
    remove_unused(copy)
    copy.graph.sort()
    return copy


def _clipped(b: Emit, s: Site, back: Site) -> Value:
    """Returns what ``back`` gives for what ``s`` rounds, without the rounding."""
    x, scale, dtype = s.input(0), s.input(1), s.y[0].dtype
    if dtype is not None and dtype.is_integer() and dims(scale) in ((), (1,)):
        limits = ml_dtypes.iinfo(dtype.numpy())  # type: ignore[no-untyped-call]
        low, high = (np.asarray(limit, dtype.numpy()) for limit in (limits.min, limits.max))
        grid = s.x[1:]
        x = b.Min(b.Max(x, b.DequantizeLinear(low, *grid)), b.DequantizeLinear(high, *grid))
    # Sums of integers are scaled behind the sum.
    return x if back.input(1) is scale else b.Mul(x, b.Div(back.input(1), scale))


def _fold(model: ir.Model) -> bool:
    """Computes QuantizeLinear and DequantizeLinear of constants."""
    changed = False
    for node in list(model.graph):
        if node.domain or node.op_type not in ("DequantizeLinear", "QuantizeLinear"):
            continue
        arrays = [None if value is None else array_of(value) for value in node.inputs]
        if any(array is None for array in arrays) or node.outputs[0].is_graph_output():
            continue
        numbers, scale, zero = [*arrays, None][:3]
        axis, block = node.attributes.get_int("axis", 1), node.attributes.get_int("block_size", 0)
        if node.op_type == "DequantizeLinear":
            result = dequantise(numbers, scale, zero, axis=axis, block=block)  # type: ignore[arg-type]
        elif zero is not None and zero.dtype.kind in "iu":
            result = quantise(numbers, scale, zero, axis=axis, block=block)  # type: ignore[arg-type]
        else:
            continue
        changed |= bypass(node, weight(model.graph, Site(node).input(0), result))
    return changed


def _merge_twins(model: ir.Model) -> None:
    """Optimisers give every reader a DequantizeLinear of its own; here one serves all."""
    first: dict[object, ir.Node] = {}
    for node in list(model.graph):
        if node.op_type != "DequantizeLinear" or node.domain:
            continue
        attributes = tuple((name, attribute.value) for name, attribute in sorted(node.attributes.items()))
        kept = first.setdefault((*node.inputs, attributes), node)
        if kept is not node and not node.outputs[0].is_graph_output():
            bypass(node, kept.outputs[0])


def _by_grid(users: Iterable[ir.Node]) -> list[list[ir.Node]]:
    """Groups those DequantizeLinear that have one scale for the whole tensor by scale and zero point."""
    groups: dict[object, list[ir.Node]] = {}
    for user in users:
        if user.op_type == "DequantizeLinear" and not user.domain and dims(Site(user).input(1)) in ((), (1,)):
            groups.setdefault(tuple(user.inputs[1:]), []).append(user)
    return list(groups.values())


def _move(model: ir.Model, node: ir.Node, twins: Sequence[ir.Node]) -> bool:
    """Lets the readers of DequantizeLinear nodes behind ``node`` read ``node`` behind DequantizeLinear."""
    if not _commutes(node):
        return False
    b = Emit(model)
    before = len(model.graph)
    scale, zero = Site(twins[0]).input(1), next(iter(twins[0].inputs[2:]), None)
    values, moved = _operands(b, node)
    inputs = [
        dequantised(b, value, scale, zero) if i in moved and value is not None else value
        for i, value in enumerate(values)
    ]
    results = b.op(node.op_type, inputs, Site(node).attributes(), outputs=len(node.outputs))
    emitted = list(model.graph)[before:]
    for key, text in node.metadata_props.items():
        for fresh in emitted:
            fresh.metadata_props.setdefault(key, text)
    for twin in twins:
        result = results[node.outputs.index(twin.inputs[0])]
        substitute(twin, [result], emitted)
        emitted = []
    return True


def _commutes(node: ir.Node) -> bool:
    if node.domain or (node.op_type == "Resize" and node.attributes.get_string("mode", "nearest") != "nearest"):
        return False
    if node.op_type == "MaxPool" and any(value.uses() for value in node.outputs[1:]):
        return False  # the indices may be read by somebody else
    return node.op_type in _FIRST | _ALL | {"Pad", "Where"}


def _operands(b: Emit, node: ir.Node) -> tuple[list[Value | None], Sequence[int]]:
    """Returns the inputs of ``node`` and which of them move."""
    values = list(node.inputs)
    if node.op_type == "Where":
        return values, (1, 2)
    if node.op_type == "Pad":
        values += [None] * (3 - len(values))
        if values[2] is None and node.attributes.get_string("mode", "constant") == "constant":
            # An integer 0 is not the number 0.
            values[2] = b.constant(np.zeros((), Site(node).input(0).dtype.numpy()))  # type: ignore[union-attr]
        return values, (0, 2)
    return values, range(len(values)) if node.op_type in _ALL else (0,)


__all__ = ["float_quantised", "unrounded"]
