"""A Loop says of everything that the standard lets it leave out what it means."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from xgraph.errors import GraphError
from xgraph.graph.operands import bodies


def complete_loops(model: ir.Model) -> None:
    """Gives every Loop a condition, and its body the types of what it receives, in place.

    A Loop without a condition runs until the trip count, which is what a constant True says.

    Raises:
        GraphError: A body does not take what its Loop gives it.
    """
    for node in list(model.graph.all_nodes()):
        if node.domain or node.op_type != "Loop":
            continue
        body = next(bodies(node), None)
        if body is None or len(node.inputs) < 2 or len(body.inputs) != len(node.inputs):
            raise GraphError(f"Loop '{node.name}' has no body that takes its {len(node.inputs)} inputs")
        if node.inputs[1] is None:
            yes = ir.Value(name=f"{node.name}/condition", const_value=ir.tensor(np.asarray(True)))
            model.graph.register_initializer(yes)
            node.replace_input_with(1, yes)
        for value, dtype in zip(body.inputs, (ir.DataType.INT64, ir.DataType.BOOL), strict=False):
            value.dtype = value.dtype or dtype
            value.shape = value.shape if value.shape is not None else ir.Shape([])
        for value, first in zip(body.inputs[2:], node.inputs[2:], strict=True):
            value.type = value.type or _type(first)


def _type(value: ir.Value | None) -> ir.TypeProtocol | None:
    """Returns the type of a value; inference would take an empty sequence of tensors for a tensor."""
    node = None if value is None else value.producer()
    if node is not None and node.op_type == "SequenceEmpty":
        return ir.SequenceType(ir.TensorType(ir.DataType(node.attributes.get_int("dtype", ir.DataType.FLOAT))))
    return None if value is None else value.type
