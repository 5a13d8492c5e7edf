"""A Loop says of everything that the standard lets it leave out what it means."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir


def complete_loops(model: ir.Model) -> None:
    """Gives every Loop a condition and its body the types of what it counts, in place.

    A Loop without a condition runs until the trip count, which is what a constant True says.
    """
    scalars = [(0, ir.DataType.INT64), (1, ir.DataType.BOOL)]
    for node in list(model.graph.all_nodes()):
        if node.domain or node.op_type != "Loop":
            continue
        if node.inputs[1] is None:
            yes = ir.Value(name=f"{node.name}/condition", const_value=ir.tensor(np.asarray(True)))
            model.graph.register_initializer(yes)
            node.replace_input_with(1, yes)
        for value, (_, dtype) in zip(node.attributes["body"].as_graph().inputs, scalars, strict=False):
            value.dtype = value.dtype or dtype
            value.shape = value.shape if value.shape is not None else ir.Shape([])
