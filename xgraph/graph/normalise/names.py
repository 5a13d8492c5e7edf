"""Every node and value has one name of its own, and none of ours."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from xgraph.errors import GraphError
from xgraph.graph.io import opset

RESERVED = ("xg_", "xg/")
"""Prefixes of what xgraph adds to a graph: ``xg_`` inputs and outputs, ``xg/`` everything inside."""


def unify_default_domain(model: ir.Model) -> None:
    """Spells the default domain ``""`` where a file imports it as ``"ai.onnx"`` or not at all, in place."""
    model.opset_imports[""] = opset(model)
    model.opset_imports.pop("ai.onnx", None)


def repair_names(model: ir.Model) -> None:
    """Gives a name to nodes and values that have none or share one, in place.

    Graph inputs and outputs never change; of two values with one name the later is renamed. A value inside
    whose name begins with a reserved prefix gets an underscore in front.

    Raises:
        GraphError: A graph input or output has a reserved name.
    """
    for kind, values in (("input", model.graph.inputs), ("output", model.graph.outputs)):
        for value in values:
            if (value.name or "").startswith(RESERVED):
                raise GraphError(
                    f"the model's {kind} '{value.name}' has a name that xgraph reserves ('xg_...'); "
                    "is it an explanation graph already? Otherwise rename it"
                )
    inputs = set(model.graph.inputs)
    for value in list(model.graph.initializers.values()):
        if (value.name or "").startswith(RESERVED) and value not in inputs:
            value.name = f"_{value.name}"
    for value in (value for body in model.graph.subgraphs() for value in body.inputs):
        if (value.name or "").startswith(RESERVED):
            value.name = f"_{value.name}"
    for node in model.graph.all_nodes():
        if (node.name or "").startswith(RESERVED):
            node.name = f"_{node.name}"
        for value in node.outputs:
            if (value.name or "").startswith(RESERVED):
                value.name = f"_{value.name}"
    common.NameFixPass()(model)
