"""Targets of Reshape, Expand and the like become constants where the symbolic shapes allow.

Exporters compute targets at run time (``Shape -> Slice -> Concat -> Reshape``). With named dimensions most of that
is known: a target entry is a number, a dimension copied from the operand (0), or the one that is left (-1).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from xgraph.graph.normalise.replace import to_initializer
from xgraph.graph.normalise.shape_data import Entry, ShapeData
from xgraph.graph.shapes import Dim, dims

_TARGETS = {"Reshape": 1, "Expand": 1, "ConstantOfShape": 0}


def fix_shape_arithmetic(model: ir.Model) -> bool:
    """Removes shape arithmetic whose result is known, in place; returns whether anything changed.

    Acts on (1) integer values computed from shapes whose every entry is a number: they become initializers;
    (2) targets of Reshape: numbers, 0 for a copied dimension, one -1; (3) targets of Expand: numbers, 1 where the
    operand already has the size; (4) targets that need a dynamic input dimension (a class token's Expand): the
    chain becomes ``Shape`` of that input and one Concat. Graph outputs and anything not provable stay.

    Needs ``infer_shapes`` before, and again after a change.
    """
    sources = _dim_sources(model.graph)
    data = ShapeData(frozenset(sources))
    changed = False
    for node in list(model.graph.all_nodes()):
        if node.domain or node.graph is None:
            continue
        if _fix_numbers(node, data):
            changed = True
        elif node.op_type == "Reshape":
            changed |= _fix_reshape(node, model, data, sources)
        elif node.op_type in _TARGETS:
            changed |= _fix_target(node, model, data, sources)
    return changed


def _dim_sources(graph: ir.Graph) -> dict[str, tuple[ir.Value, int]]:
    found: dict[str, tuple[ir.Value, int]] = {}
    for value in graph.inputs:
        for axis, dim in enumerate(dims(value) or ()):
            if isinstance(dim, str):
                found.setdefault(dim, (value, axis))
    return found


def _fix_numbers(node: ir.Node, data: ShapeData) -> bool:
    if len(node.outputs) != 1 or node.op_type == "Constant":
        return False
    value = node.outputs[0]
    content = data.of(value)
    if content is None or value.is_graph_output() or not value.uses() or not all(isinstance(e, int) for e in content):
        return False
    known = dims(value)
    if known is None or len(known) > 1 or value.dtype is None:
        return False
    array = np.asarray(content, dtype=value.dtype.numpy()).reshape(() if not known else (len(content),))
    if not known and len(content) != 1:
        return False
    to_initializer(value, ir.tensor(array, name=value.name))
    return True


def _fix_reshape(node: ir.Node, model: ir.Model, data: ShapeData, sources: Mapping[str, tuple[ir.Value, int]]) -> bool:
    operand, target = node.inputs[0], node.inputs[1]
    if operand is None or target is None or _is_constant(target):
        return False
    wanted = _wanted_dims(node, data)
    have = dims(operand)
    if wanted is None or have is None or 0 in wanted or 0 in have:
        return False
    entries: list[int] = []
    for axis, dim in enumerate(wanted):
        if isinstance(dim, int):
            entries.append(dim)
        elif dim is not None and axis < len(have) and have[axis] == dim:
            entries.append(0)
        else:
            entries.append(-1)
    if entries.count(-1) > 1:
        return _fix_target(node, model, data, sources)
    set_target(node, 1, model, np.asarray(entries, np.int64))
    node.attributes.pop("allowzero", None)
    return True


def _wanted_dims(node: ir.Node, data: ShapeData) -> tuple[Dim, ...] | None:
    """The output's dimensions; the target's own entries win where inference lost them."""
    known = dims(node.outputs[0])
    content = data.of(node.inputs[1])
    if known is None or content is None or len(content) != len(known):
        return known
    return tuple(
        k if isinstance(k, int) or (isinstance(e, int) and e < 1) else e for k, e in zip(known, content, strict=True)
    )


def _fix_target(node: ir.Node, model: ir.Model, data: ShapeData, sources: Mapping[str, tuple[ir.Value, int]]) -> bool:
    slot = _TARGETS[node.op_type]
    target = node.inputs[slot]
    if target is None or _is_constant(target):
        return False
    content = data.of(target)
    if content is None:
        return False
    if node.op_type == "Expand" and (have := dims(node.inputs[0])) is not None:  # type: ignore[arg-type]
        # An Expand target of 1 keeps the operand's size.
        offset = len(content) - len(have)
        content = tuple(1 if i >= offset and have[i - offset] == e else e for i, e in enumerate(content))
    if all(isinstance(entry, int) for entry in content):
        set_target(node, slot, model, np.asarray(content, np.int64))
        return True
    if any(isinstance(e, str) and e not in sources for e in content) or _is_canonical(target):
        return False
    set_dynamic_target(node, slot, model, content, sources)
    return True


def _is_constant(value: ir.Value) -> bool:
    return value.is_initializer()


def _is_canonical(target: ir.Value) -> bool:
    """Tells whether the target is already made of ``Shape`` of graph inputs, constants and one Concat."""
    node = target.producer()
    if node is None:
        return False
    parts = node.inputs if node.op_type == "Concat" else (target,)
    for part in parts:
        producer = None if part is None else part.producer()
        if part is None or (producer is None and not part.is_initializer()):
            return False
        if producer is not None and not (
            producer.op_type == "Shape" and producer.inputs[0] is not None and producer.inputs[0].is_graph_input()
        ):
            return False
    return True


def set_target(node: ir.Node, slot: int, model: ir.Model, target: np.ndarray) -> None:
    """Gives ``node`` a constant of its own as input ``slot``."""
    name = free_name(model, f"{node.outputs[0].name}_shape")
    value = ir.Value(
        name=name,
        const_value=ir.tensor(target, name=name),
        shape=ir.Shape(target.shape),
        type=ir.TensorType(ir.DataType.INT64),
    )
    model.graph.register_initializer(value)
    node.replace_input_with(slot, value)


def set_dynamic_target(
    node: ir.Node,
    slot: int,
    model: ir.Model,
    content: tuple[Entry, ...],
    sources: Mapping[str, tuple[ir.Value, int]],
) -> None:
    """Gives ``node`` as input ``slot`` numbers and sizes of graph inputs, the latter looked up in ``sources``."""
    base = free_name(model, f"{node.outputs[0].name}_shape")
    parts: list[ir.Value] = []
    for i, entry in enumerate(content):
        name = base if len(content) == 1 else f"{base}_{i}"
        if isinstance(entry, int):
            array = np.asarray([entry], np.int64)
            part = ir.Value(name=name, const_value=ir.tensor(array, name=name), shape=ir.Shape([1]))
            part.dtype = ir.DataType.INT64
            model.graph.register_initializer(part)
        else:
            source, axis = sources[entry]
            part = ir.Value(name=name, shape=ir.Shape([1]), type=ir.TensorType(ir.DataType.INT64))
            shape = ir.node("Shape", [source], {"start": axis, "end": axis + 1}, outputs=[part], name=name)
            node.graph.insert_before(node, shape)  # type: ignore[union-attr]
        parts.append(part)
    result = parts[0]
    if len(parts) > 1:
        result = ir.Value(name=base, shape=ir.Shape([len(parts)]), type=ir.TensorType(ir.DataType.INT64))
        concat = ir.node("Concat", parts, {"axis": 0}, outputs=[result], name=base)
        node.graph.insert_before(node, concat)  # type: ignore[union-attr]
    node.replace_input_with(slot, result)


def free_name(model: ir.Model, wanted: str) -> str:
    """Returns ``wanted``, numbered where a value has that name."""
    taken = set(model.graph.initializers) | {o.name for n in model.graph.all_nodes() for o in n.outputs}
    name, i = wanted, 0
    while name in taken:
        i += 1
        name = f"{wanted}_{i}"
    return name
