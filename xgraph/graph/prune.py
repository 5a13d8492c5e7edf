"""Removing what no output depends on, bodies included."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from xgraph.graph.operands import bodies


def remove_unused(model: ir.Model) -> None:
    """Removes nodes and initializers that no graph output needs, in place.

    Graph inputs stay even when nothing reads them: their names are a public contract. Optional outputs that
    nobody reads lose their name where the operator allows it.
    """
    # First, because the pass leaves what the bodies of removed nodes captured in use for ever.
    prune(model.graph)
    RemoveUnusedNodesPass()(model)


def prune(graph: ir.Graph) -> None:
    """Removes the nodes of a graph or body that none of its outputs needs, in place."""
    for node in reversed(list(graph)):
        if any(output.uses() or output.is_graph_output() for output in node.outputs):
            for body in bodies(node):
                prune(body)
        else:
            remove(node)


def remove(node: ir.Node) -> None:
    """Removes a node whose outputs nobody reads; what its bodies read counts as unread by them from then on."""
    _release(node)
    assert node.graph is not None
    node.graph.remove(node, safe=True)


def _release(node: ir.Node) -> None:
    """Lets the bodies of a node read nothing any more."""
    for body in bodies(node):
        for inner in body:
            _release(inner)
            for i in range(len(inner.inputs)):
                inner.replace_input_with(i, None)
