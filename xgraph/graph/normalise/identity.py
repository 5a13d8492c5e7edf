"""Nodes that hand their operand on unchanged are removed.

Exporters leave many (20-40 % of a Paddle export): Identity, Dropout, Cast to the same type, ``x + 0``, ``x * 1``,
Reshape to the same shape. Each would cost a node in every explanation graph and hide patterns.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from xgraph.graph.normalise.replace import bypass
from xgraph.graph.shapes import dims, same

_NEUTRAL_OPERAND = {"Add": 0.0, "Sub": 0.0, "Mul": 1.0, "Div": 1.0, "Pow": 1.0}
_SINGLE_OPERAND = frozenset({"Concat", "Sum", "Max", "Min", "Mean", "Einsum"})
_FULL_SLICE = 1 << 30


def remove_identities(model: ir.Model) -> bool:
    """Removes nodes whose first output equals one of their operands, in place; returns whether any went.

    Acts on Identity, inference-time Dropout, Cast and CastLike to the same type, Add/Sub of 0, Mul/Div/Pow of 1 by a
    constant of one element that does not broadcast, Reshape/Flatten/Squeeze/Unsqueeze/Expand/Tile/Transpose/Slice/Pad
    that change nothing, and Concat/Sum/Max/Min/Mean of one operand.

    Does not act where the node's output is a graph output and its operand an input, a weight or another output
    (the name could not be kept), nor where shapes are needed and not known, nor on Dropout in training mode, nor on
    a longer constant that happens to be neutral: a bias of zeros is a layer's parameter.
    """
    changed = False
    for node in list(model.graph):
        if node.domain or node.graph is None or any(o.uses() or o.is_graph_output() for o in node.outputs[1:]):
            continue
        source = _passed_on(node)
        if source is None:
            continue
        if bypass(node, source):
            changed = True
        elif node.op_type != "Identity":
            changed |= _make_identity(node, source)
    return changed


def _passed_on(node: ir.Node) -> ir.Value | None:
    """Returns the operand that the node hands on, or None."""
    if node.op_type in _NEUTRAL_OPERAND:
        return _beside_neutral(node)
    if node.op_type in _SINGLE_OPERAND:
        return node.inputs[0] if len(node.inputs) == 1 and node.op_type != "Einsum" else None
    test = _TESTS.get(node.op_type)
    return node.inputs[0] if test is not None and test(node) else None


def _make_identity(node: ir.Node, source: ir.Value) -> bool:
    if source.producer() is not None and not source.is_graph_output():
        return False
    output = node.outputs[0]
    result = ir.Value(name=None, shape=output.shape, type=output.type)
    fresh = ir.node("Identity", [source], outputs=[result], name=node.name)
    fresh.metadata_props.update(node.metadata_props)
    node.graph.insert_before(node, fresh)  # type: ignore[union-attr]
    output.replace_all_uses_with(fresh.outputs[0], replace_graph_outputs=True)
    node.graph.remove(node, safe=True)  # type: ignore[union-attr]
    fresh.outputs[0].name = output.name
    return True


def _beside_neutral(node: ir.Node) -> ir.Value | None:
    neutral = _NEUTRAL_OPERAND[node.op_type]
    order = ((0, 1), (1, 0)) if node.op_type in ("Add", "Mul") else ((0, 1),)
    for kept, constant in order:
        value, other = node.inputs[kept], node.inputs[constant]
        tensor = None if other is None or not other.is_initializer() else other.const_value
        if value is None or tensor is None or tensor.size != 1 or tensor.numpy().item() != neutral:
            continue
        if value.dtype is None or value.dtype != node.outputs[0].dtype:
            continue
        if len(tensor.shape) <= len(dims(value) or ()):
            return value
    return None


def _same_type(node: ir.Node) -> bool:
    before, after = node.inputs[0], node.outputs[0]
    target = node.attributes.get_int("to", 0)
    if before is None or before.dtype is None:
        return False
    if node.op_type == "Cast":
        return int(before.dtype) == target
    return before.dtype == after.dtype


def _is_inference(node: ir.Node) -> bool:
    mode = node.inputs[2] if len(node.inputs) > 2 else None
    if mode is None:
        return True
    return mode.is_initializer() and mode.const_value is not None and not bool(mode.const_value.numpy())


def _same_shape(node: ir.Node) -> bool:
    before = node.inputs[0]
    return before is not None and same(before, node.outputs[0])


def _keeps_axes(node: ir.Node) -> bool:
    perm = node.attributes.get_ints("perm", ())
    return bool(perm) and list(perm) == list(range(len(perm)))


def _takes_everything(node: ir.Node) -> bool:
    """Slice: positive steps and an unchanged shape mean that every element stays at its place."""
    steps = _numbers(node, 4) if len(node.inputs) > 4 and node.inputs[4] is not None else [1]
    starts, ends = _numbers(node, 1), _numbers(node, 2)
    if steps is None or any(step != 1 for step in steps):
        return False
    if starts is not None and ends is not None and all(s == 0 for s in starts) and all(e >= _FULL_SLICE for e in ends):
        return True
    return _same_shape(node)


def _pads_nothing(node: ir.Node) -> bool:
    pads = _numbers(node, 1)
    return pads is not None and not any(pads)


def _repeats_once(node: ir.Node) -> bool:
    repeats = _numbers(node, 1)
    return repeats is not None and all(r == 1 for r in repeats)


def _numbers(node: ir.Node, i: int) -> list[int] | None:
    value = node.inputs[i] if i < len(node.inputs) else None
    if value is None or not value.is_initializer() or value.const_value is None:
        return None
    return [int(item) for item in value.const_value.numpy().reshape(-1)]


def _always(node: ir.Node) -> bool:
    return True


_TESTS: dict[str, Callable[[ir.Node], bool]] = {
    "Identity": _always,
    "Dropout": _is_inference,
    "Cast": _same_type,
    "CastLike": _same_type,
    "Reshape": _same_shape,
    "Flatten": _same_shape,
    "Squeeze": _same_shape,
    "Unsqueeze": _same_shape,
    "Expand": _same_shape,
    "Tile": _repeats_once,
    "Transpose": _keeps_axes,
    "Slice": _takes_everything,
    "Pad": _pads_nothing,
}
