"""Inputs and domains that nothing uses are removed, and nodes put into topological order."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common


def drop_initializer_inputs(model: ir.Model) -> None:
    """Removes graph inputs that have an initializer, in place.

    Files of IR version 3 list every weight as an input; newer ones may do so to let a caller replace it. An
    explanation needs the weight, so it is never an input here. Inputs without an initializer are kept.
    """
    common.RemoveInitializersFromInputsPass()(model)


def remove_unused_domains(model: ir.Model) -> None:
    """Removes opset imports of domains that no node uses; the default domain stays."""
    used = {node.domain for node in model.graph.all_nodes()} | {""}
    for domain in list(model.opset_imports):
        if domain not in used:
            del model.opset_imports[domain]


def sort(model: ir.Model) -> None:
    """Puts the nodes of every graph into topological order, in place; ordered graphs stay as they are."""
    model.graph.sort()
