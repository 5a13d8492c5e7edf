"""Mutations: each takes a model's protobuf or bytes and a generator, and damages it in one way."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto

Rng = np.random.Generator
SIZES = (2**40, 2**62, -1, -(2**63), 0, 1, 3, 7, 65537)
DTYPES = (0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 14, 16, 17, 22, 99)
_WHERE = ("model.onnx", "none.bin", ".", "", "/etc/passwd", "../../../etc/passwd", "/dev/zero", "a\u0000b", "~")
_PLACES = ("0", "-1", "-9223372036854775808", "1", "18446744073709551616", "9" * 40, "x", "", "4096", "1e3", "0x10")
_NAMES = ("", "no such value", "xg_target", "x" * 500, "\u0000", "né\n")


def mutate_bytes(data: bytes, rng: Rng) -> bytes:
    """Flips, cuts, repeats or inserts bytes."""
    array = bytearray(data)
    at, length = int(rng.integers(len(array))), int(rng.integers(1, 64))
    match int(rng.integers(5)):
        case 0:
            for i in rng.integers(len(array), size=int(rng.integers(1, 9))):
                array[i] ^= 1 << int(rng.integers(8))
        case 1:
            del array[at:]
        case 2:
            del array[at : at + length]
        case 3:
            array[at:at] = array[at : at + length]
        case _:
            array[at:at] = rng.bytes(length)
    return bytes(array)


def _pick(rng: Rng, items: Any) -> Any:
    return items[int(rng.integers(len(items)))] if len(items) else None


def _graph(model: onnx.ModelProto, rng: Rng) -> Any:
    """The main graph mostly, else that of a body or a function: all have ``node``."""
    inner = [a.g for node in model.graph.node for a in node.attribute if a.type == AttributeProto.GRAPH]
    return _pick(rng, [model.graph, model.graph, *inner, *model.functions])


def _node(model: onnx.ModelProto, rng: Rng) -> onnx.NodeProto:
    return _pick(rng, _graph(model, rng).node) or _pick(rng, model.graph.node)


def drop_node(model: onnx.ModelProto, rng: Rng) -> None:
    nodes = _graph(model, rng).node
    if nodes:
        del nodes[int(rng.integers(len(nodes)))]


def repeat_node(model: onnx.ModelProto, rng: Rng) -> None:
    nodes = _graph(model, rng).node
    nodes.append(_pick(rng, nodes))


def reorder_nodes(model: onnx.ModelProto, rng: Rng) -> None:
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes[i] for i in rng.permutation(len(nodes)))


def rewire(model: onnx.ModelProto, rng: Rng) -> None:
    """An input of a node becomes any other value, of itself or of a later node as well, or none at all."""
    node, values = _node(model, rng), [o for n in model.graph.node for o in n.output]
    values += [t.name for t in model.graph.initializer]
    if node.input:
        node.input[int(rng.integers(len(node.input)))] = _pick(rng, [*values, *node.output, *_NAMES])


def count_operands(model: onnx.ModelProto, rng: Rng) -> None:
    node = _node(model, rng)
    match int(rng.integers(4)):
        case 0:
            del node.input[:]
        case 1:
            node.input.extend([_pick(rng, [*node.input, ""])] * int(rng.integers(1, 9)))
        case 2:
            del node.output[:]
        case _:
            node.output.extend(f"{_pick(rng, node.output)}.{i}" for i in range(int(rng.integers(1, 5))))


def rename(model: onnx.ModelProto, rng: Rng) -> None:
    """One name twice, or a strange one: of a value, node, input, output or weight."""
    graph = model.graph
    names = [*_NAMES, *(o for n in graph.node for o in n.output), *(v.name for v in [*graph.input, *graph.output])]
    held = _pick(rng, [*graph.input, *graph.output, *graph.initializer, *graph.node])
    if isinstance(held, onnx.NodeProto) and held.output and rng.random() < 0.7:
        held.output[0] = _pick(rng, names)
    else:
        held.name = _pick(rng, names)


def resize_port(model: onnx.ModelProto, rng: Rng) -> None:
    port = _pick(rng, [*model.graph.input, *model.graph.output, *model.graph.value_info])
    dims = port.type.tensor_type.shape.dim
    match int(rng.integers(5)):
        case 0 if dims:
            del dims[int(rng.integers(len(dims)))]
        case 1:
            dims.add().dim_value = int(_pick(rng, SIZES))
        case 2:
            port.ClearField("type")
        case 3 if dims:
            _pick(rng, dims).dim_param = str(_pick(rng, ["", "batch", "N*2", "floor(", "batch+-1", "x" * 500]))
        case _:
            for dim in dims if rng.random() < 0.3 else [_pick(rng, dims)] if dims else []:
                dim.dim_value = int(_pick(rng, SIZES))


def retype(model: onnx.ModelProto, rng: Rng) -> None:
    kind = int(_pick(rng, DTYPES))
    if model.graph.initializer and rng.random() < 0.5:
        _pick(rng, model.graph.initializer).data_type = kind
    else:
        _pick(rng, [*model.graph.input, *model.graph.output]).type.tensor_type.elem_type = kind


def damage_weight(model: onnx.ModelProto, rng: Rng) -> None:
    weights = model.graph.initializer
    if not weights:
        return
    at = int(rng.integers(len(weights)))
    weight = weights[at]
    match int(rng.integers(7)):
        case 0:
            del weights[at]
        case 1:
            weight.ClearField("raw_data")
        case 2:
            weight.raw_data = weight.raw_data[: int(rng.integers(len(weight.raw_data) + 1))]
        case 3:
            weight.dims.append(int(_pick(rng, SIZES)))
        case 4 if weight.dims:
            weight.dims[int(rng.integers(len(weight.dims)))] = int(_pick(rng, SIZES))
        case 5:
            weight.raw_data = rng.bytes(len(weight.raw_data))
        case _:
            weight.float_data.extend([1.0] * 3)


def externalise(model: onnx.ModelProto, rng: Rng) -> None:
    """A weight that claims to lie in a file: the model itself, none, a folder, another one; at any place."""
    if not model.graph.initializer:
        return
    weight = _pick(rng, model.graph.initializer)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=str(_pick(rng, _WHERE)))
    for key in ("offset", "length"):
        if rng.random() < 0.7:
            weight.external_data.add(key=key, value=str(_pick(rng, _PLACES)))


def relocate(model: onnx.ModelProto, rng: Rng) -> str:
    """Another location, offset or length for a weight that lies in a file; returns which."""
    weight = _pick(rng, model.graph.initializer)
    entry = _pick(rng, weight.external_data)
    entry.value = str(_pick(rng, _WHERE if entry.key == "location" else _PLACES))
    return f"{entry.key} {entry.value}"


def damage_attribute(model: onnx.ModelProto, rng: Rng) -> None:
    nodes = [node for node in model.graph.node if node.attribute]
    if not nodes:
        return
    node = _pick(rng, nodes)
    attribute = _pick(rng, node.attribute)
    match int(rng.integers(7)):
        case 0:
            attribute.type = int(_pick(rng, (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13)))
        case 1:
            node.attribute.append(attribute)
        case 2:
            attribute.name = str(_pick(rng, ["", "axis", "to", "no such attribute"]))
        case 3:
            attribute.s = rng.bytes(5)
            attribute.type = AttributeProto.STRING
        case 4:
            attribute.ref_attr_name = "p"
        case 5 if attribute.ints:
            attribute.ints[int(rng.integers(len(attribute.ints)))] = int(_pick(rng, SIZES))
            if rng.random() < 0.3:
                del attribute.ints[-1]
        case _:
            attribute.i = int(_pick(rng, SIZES))
            attribute.f = float(_pick(rng, [np.nan, np.inf, -1.0, 1e30]))


def foreign(model: onnx.ModelProto, rng: Rng) -> None:
    """An unknown operator, domain, opset or version."""
    node, opsets = _node(model, rng), model.opset_import
    match int(rng.integers(7)):
        case 0:
            node.op_type = str(_pick(rng, ["", "NoSuchOp", "Loop", "If", "Scan", "Gemm", "Concat", "Conv"]))
        case 1:
            node.domain = str(_pick(rng, ["com.microsoft", "nowhere", "ai.onnx", "ai.onnx.ml", "xgraph"]))
        case 2:
            opsets[0].version = int(_pick(rng, [0, 1, 6, 7, 11, 13, 17, 19, 26, 27, 28, 99, 2**40, -1]))
        case 3:
            opsets.add(domain=str(_pick(rng, ["", "nowhere", "ai.onnx"])), version=int(_pick(rng, [1, 17, 21])))
        case 4:
            del opsets[:]
        case 5:
            model.ir_version = int(_pick(rng, [0, 1, 3, 4, 9, 99, 2**40]))
        case _:
            node.op_type = str(_pick(rng, [other.op_type for other in model.graph.node]))


def damage_ports(model: onnx.ModelProto, rng: Rng) -> None:
    ports = _pick(rng, [model.graph.input, model.graph.output])
    match int(rng.integers(3)):
        case 0:
            del ports[:]
        case 1:
            ports.append(ports[0])
        case _:
            ports.append(onnx.ValueInfoProto(name=str(_pick(rng, _NAMES))))


def nest(model: onnx.ModelProto, rng: Rng) -> None:
    """Bodies inside bodies, as deep as protobuf can store."""
    inner = onnx.GraphProto(name="inner")
    inner.node.add(op_type="Identity", input=[_node(model, rng).output[0]], output=["nested"])
    inner.output.add(name="nested")
    for depth in range(int(_pick(rng, [3, 12, 25, 29]))):
        outer = onnx.GraphProto(name=f"body{depth}")
        node = outer.node.add(op_type="If", input=["condition"], output=["nested"])
        for name in ("then_branch", "else_branch") if depth < 4 else ("then_branch",):
            node.attribute.add(name=name, type=AttributeProto.GRAPH, g=inner)
        outer.output.add(name="nested")
        inner = outer
    model.graph.node.extend(inner.node)
    model.graph.output.append(inner.output[0])


def chain(model: onnx.ModelProto, rng: Rng) -> None:
    """Many nodes in a row, or functions that call themselves or one another."""
    last = model.graph.node[-1].output[0]
    if rng.random() < 0.5:
        for i in range(2000):
            model.graph.node.add(op_type="Neg", input=[last if i == 0 else f"chain{i - 1}"], output=[f"chain{i}"])
        model.graph.output.add(name="chain1999")
        return
    model.opset_import.add(domain="loop", version=1)
    for one, other in (("a", "b"), ("b", "a")):
        function = model.functions.add(name=one, domain="loop", input=["p"], output=["q"])
        function.opset_import.add(domain="loop", version=1)
        function.node.add(op_type=other, domain="loop", input=["p"], output=["q"])
    model.graph.node.add(op_type="a", domain="loop", input=[last], output=["looped"])
    model.graph.output.add(name="looped")


PROTO: tuple[Callable[[onnx.ModelProto, Rng], None], ...] = (
    drop_node,
    repeat_node,
    reorder_nodes,
    rewire,
    count_operands,
    rename,
    resize_port,
    retype,
    damage_weight,
    externalise,
    damage_attribute,
    foreign,
    damage_ports,
    nest,
    chain,
)


def mutate_json(text: str, rng: Rng) -> str:
    """Changes, drops or adds one entry anywhere in a JSON document."""
    document = json.loads(text)
    odd = (None, True, -1, 2**70, 0.5, "", "../../secret", "/etc/passwd", [], {}, [[]], "é" * 1000)
    places: list[tuple[Any, Any]] = []

    def visit(node: Any) -> None:
        entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in entries:
            places.append((node, key))
            visit(value)

    visit(document)
    node, key = _pick(rng, places)
    if rng.random() < 0.3:
        del node[key]
    else:
        node[key] = _pick(rng, odd)
    return json.dumps(document)
