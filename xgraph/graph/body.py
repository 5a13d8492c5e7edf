"""Bodies of If, Loop and Scan: writing new ones, and repeating what an old one computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from xgraph.graph.emit import Emit
from xgraph.graph.operands import bodies
from xgraph.graph.prune import prune

Graph: TypeAlias = ir.Graph


class Body:
    """A body that is being written: parameters go in, results come out, what it captures is simply read.

    Attributes:
        b: emits into the body.
        graph: the body, to be the attribute of a node; complete once all results are there.
    """

    def __init__(self, b: Emit) -> None:
        self.graph = ir.Graph([], [], nodes=[], name=b.name("body"))
        self.b = b.inside(self.graph)

    def parameters(self, values: Sequence[ir.Value]) -> None:
        """Makes stand-ins the next inputs of the body."""
        self.graph.inputs.extend(values)

    def parameter(self, like: ir.Value) -> ir.Value:
        """Adds an input with the shape and dtype of ``like``."""
        value = stand_in(self.b, like)
        self.parameters([value])
        return value

    def result(self, value: ir.Value) -> None:
        """Adds an output; every one is a value of the body itself, and another than the others."""
        while value.graph is not self.graph or value.producer() is None or value.is_graph_output():
            value = self.b.Identity(value)
        self.graph.outputs.append(value)

    def replay(self, body: ir.Graph, arguments: Sequence[ir.Value]) -> list[ir.Value]:
        """Emits what ``body`` computes of ``arguments``, and returns its outputs."""
        return replay(self.b, body, arguments)

    def prune(self) -> None:
        """Removes the nodes that no result needs."""
        prune(self.graph)


def replay(b: Emit, body: ir.Graph, arguments: Sequence[ir.Value]) -> list[ir.Value]:
    """Emits what ``body`` computes of ``arguments``, and returns its outputs."""
    known = dict(zip(body.inputs, arguments, strict=True))
    _repeat(b, body, known)
    return [known.get(value, value) for value in body.outputs]


def stand_in(b: Emit, like: ir.Value) -> ir.Value:
    """Returns a value without a producer, of the shape and dtype of ``like``."""
    return ir.Value(name=b.name("value"), shape=like.shape, type=like.type)


def stack_of(b: Emit, like: ir.Value) -> ir.Value:
    """Returns a stand-in for many values of the shape of ``like``, along an axis in front."""
    stack = stand_in(b, like)
    # A slash in the name of a size would be read as a division.
    steps = b.name("steps").replace("/", "_")
    stack.shape = None if like.shape is None else ir.Shape([steps, *like.shape])
    return stack


def slice_of(b: Emit, stack: ir.Value) -> ir.Value:
    """Returns a stand-in for one slice of ``stack`` along axis 0."""
    value = stand_in(b, stack)
    value.shape = None if stack.shape is None else ir.Shape(list(stack.shape)[1:])
    return value


def scalar(b: Emit, dtype: type) -> ir.Value:
    """Returns a stand-in for a scalar of a NumPy dtype."""
    element = ir.DataType.from_numpy(np.dtype(dtype))
    return ir.Value(name=b.name("value"), shape=ir.Shape([]), type=ir.TensorType(element))


def _repeat(b: Emit, body: ir.Graph, known: dict[ir.Value, ir.Value]) -> None:
    """Emits the nodes of ``body``, reading the values that ``known`` gives for its own, and adds theirs to it."""
    for node in body:
        inputs = [None if value is None else known.get(value, value) for value in node.inputs]
        attributes = _attributes(b, node, known)
        outputs = b.op(
            node.op_type, inputs, attributes, domain=node.domain, outputs=len(node.outputs), like=node.outputs
        )
        for output, repeated in zip(node.outputs, outputs, strict=True):
            if not output.name:
                repeated.name = ""
        known.update(zip(node.outputs, outputs, strict=True))


def _attributes(b: Emit, node: ir.Node, known: Mapping[ir.Value, ir.Value]) -> Mapping[str, object]:
    """Returns the attributes of a node, its bodies repeated."""
    attributes: dict[str, object] = dict(node.attributes)
    for name, attribute in node.attributes.items():
        if attribute.type == ir.AttributeType.GRAPH:
            attributes[name] = _copy(b, attribute.as_graph(), known)
    return attributes


def _copy(b: Emit, body: ir.Graph, known: Mapping[ir.Value, ir.Value]) -> ir.Graph:
    copied = Body(b)
    inner = dict(known)
    inner.update((value, copied.parameter(value)) for value in body.inputs)
    _repeat(copied.b, body, inner)
    for value in body.outputs:
        copied.result(inner.get(value, value))
    return copied.graph


def is_tensor(value: ir.Value) -> bool:
    """Tells whether a value is known to be a tensor, and no sequence of them."""
    return isinstance(value.type, ir.TensorType)


def is_random(body: ir.Graph) -> bool:
    """Tells whether a body draws random numbers, so that it computes something else when it is repeated."""
    return any(map(draws, body))


def draws(node: ir.Node) -> bool:
    """Tells whether a node draws random numbers, or one in its bodies does."""
    return node.op_type in _RANDOM or _drops(node) or any(map(is_random, bodies(node)))


def _drops(node: ir.Node) -> bool:
    """Tells whether a node is a Dropout that is not known to be in inference mode."""
    if node.op_type != "Dropout" or len(node.inputs) < 3 or node.inputs[2] is None:
        return False
    training = ir.convenience.get_const_tensor(node.inputs[2])
    return training is None or bool(training.numpy().any())


_RANDOM = frozenset({
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
})  # fmt: skip
