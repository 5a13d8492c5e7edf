"""What a node reads: its inputs, and for If, Loop and Scan the values that its bodies take from outside."""

from __future__ import annotations

import onnx_ir as ir


def operands(node: ir.Node) -> tuple[ir.Value | None, ...]:
    """Returns the inputs of a node, then what its bodies capture, each once and in the order of first use."""
    captured: dict[ir.Value, None] = {}
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            captured.update(dict.fromkeys(_captured(attribute.as_graph())))
        elif attribute.type == ir.AttributeType.GRAPHS:
            for graph in attribute.as_graphs():
                captured.update(dict.fromkeys(_captured(graph)))
    return (*node.inputs, *captured)


def _captured(body: ir.Graph) -> list[ir.Value]:
    """Returns the values of enclosing graphs that a body reads, weights included."""
    own = {*body.inputs, *body.initializers.values(), *(value for node in body for value in node.outputs)}
    read = [value for node in body for value in operands(node) if value is not None]
    return [value for value in (*read, *body.outputs) if value not in own]
