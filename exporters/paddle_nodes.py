"""ONNX nodes for the repairs of a converted Paddle model, and which value of it is which."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx
from onnx import AttributeProto, numpy_helper

from xgraph.exporters.paddle_program import Program


def node(
    kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: int | str | Sequence[int] | np.ndarray
) -> onnx.NodeProto:
    """Returns a node that is named after its first output."""
    made = onnx.NodeProto(op_type=kind, name=outputs[0], input=inputs, output=outputs)
    made.attribute.extend(_attribute(name, value) for name, value in attributes.items())
    return made


def constant(name: str, value: np.ndarray) -> onnx.NodeProto:
    """Returns a node whose output ``name`` is the array."""
    return node("Constant", [], [name], value=value)


def replace_nodes(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Gives the model other nodes; they may be its own."""
    graph = onnx.GraphProto()
    graph.node.extend(nodes)
    model.graph.ClearField("node")
    model.graph.MergeFrom(graph)


def needed_nodes(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> list[onnx.NodeProto]:
    """Returns the nodes that the outputs depend on, in the same order."""
    read, kept = set(outputs), []
    for made in reversed(nodes):
        if read.intersection(made.output):
            kept.append(made)
            read.update(_reads(made))
    return kept[::-1]


def _reads(made: onnx.NodeProto) -> Iterator[str]:
    """Yields what a node reads; a body reads values from around it, and returns some."""
    yield from made.input
    for attribute in made.attribute:
        for body in (attribute.g, *attribute.graphs):
            yield from (value.name for value in body.output)
            for inner in body.node:
                yield from _reads(inner)


def value_names(program: Program) -> dict[int, str]:
    """Returns the name that each value of the program has in the ONNX graph.

    A value that the model returns goes by the output's name everywhere.
    """
    names = dict(program.parameters)
    for op in program.ops:
        names |= {value: f"p2o.{op.name}.{k}" for k, value in enumerate(op.outputs)}
        if op.kind in ("data", "feed"):
            names[op.outputs[0]] = str(op.attributes["name"])
    for op in program.ops:
        if op.kind == "fetch":
            names[op.inputs[0]] = str(op.attributes["name"])
    return names


def producers(nodes: Iterable[onnx.NodeProto]) -> Mapping[str, onnx.NodeProto]:
    """Returns value name -> the node that makes it."""
    return {value: made for made in nodes for value in made.output}


def _attribute(name: str, value: int | str | Sequence[int] | np.ndarray) -> AttributeProto:
    if isinstance(value, np.ndarray):
        return AttributeProto(name=name, type=AttributeProto.TENSOR, t=numpy_helper.from_array(value))
    if isinstance(value, str):
        return AttributeProto(name=name, type=AttributeProto.STRING, s=value.encode())
    if isinstance(value, int):
        return AttributeProto(name=name, type=AttributeProto.INT, i=value)
    return AttributeProto(name=name, type=AttributeProto.INTS, ints=value)
