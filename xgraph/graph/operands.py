"""What a node reads: its inputs, and for If, Loop and Scan the values that its bodies take from outside."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir


def bodies(node: ir.Node) -> Iterator[ir.Graph]:
    """Yields the bodies of If, Loop and Scan; other nodes have none."""
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def nodes_and_places(graph: ir.Graph, inside: str = "") -> Iterator[tuple[str, ir.Node]]:
    """Yields the nodes of a graph, each before those of its bodies, with the names of the nodes around it."""
    for node in graph:
        yield inside, node
        for body in bodies(node):
            yield from nodes_and_places(body, f"{inside}{node.name}/")


def operands(node: ir.Node) -> tuple[ir.Value | None, ...]:
    """Returns the inputs of a node, then what its bodies capture, each once and in the order of first use."""
    captured: dict[ir.Value, None] = {}
    for body in bodies(node):
        captured.update(dict.fromkeys(_captured(body)))
    return (*node.inputs, *captured)


def _captured(body: ir.Graph) -> list[ir.Value]:
    """Returns the values of enclosing graphs that a body reads, weights included."""
    own = {*body.inputs, *body.initializers.values(), *(value for node in body for value in node.outputs)}
    read = [value for node in body for value in operands(node) if value is not None]
    return [value for value in (*read, *body.outputs) if value not in own]
