"""An If whose condition is constant becomes the branch that is taken."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from xgraph.graph.normalise.constants import lift_constants
from xgraph.graph.prune import remove


def take_constant_branches(model: ir.Model) -> bool:
    """Replaces every If whose condition is a constant by its branch, in place; tells if any went.

    Exporters that trace write one where code asks for a rank or a size (``tile``, ``squeeze``); the condition
    folds to a constant once shapes are known.
    """
    changed = False
    for node in list(model.graph.all_nodes()):
        if node.domain or node.op_type != "If" or node.inputs[0] is None:
            continue
        condition = node.inputs[0].const_value if node.inputs[0].is_initializer() else None
        if condition is not None:
            _inline(node, "then_branch" if condition.numpy().item() else "else_branch")
            changed = True
    if changed:
        # Two branches may use one name.
        common.NameFixPass()(model)
        lift_constants(model)
    return changed


def _inline(node: ir.Node, taken: str) -> None:
    graph = node.graph
    assert graph is not None
    branch = node.attributes[taken].as_graph()
    results = list(branch.outputs)
    weights, inner = list(branch.initializers.values()), list(branch)
    branch.outputs.clear()
    branch.initializers.clear()
    branch.remove(inner)
    used = set(graph.initializers)
    for weight in weights:
        while weight.name in used:
            weight.name = f"{node.outputs[0].name}/{weight.name}"
        graph.register_initializer(weight)
    graph.insert_before(node, inner)
    for output, result in zip(node.outputs, results, strict=True):
        copy = ir.node("Identity", [result], outputs=[ir.Value(name=None, shape=output.shape, type=output.type)])
        copy.metadata_props.update(node.metadata_props)
        graph.insert_before(node, copy)
        output.replace_all_uses_with(copy.outputs[0], replace_graph_outputs=True)
        copy.outputs[0].name, output.name = output.name, None
    remove(node)
