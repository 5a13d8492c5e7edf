"""Shape inference where onnx_shape_inference knows less of an operator than can be told. Import it for its effect."""

from __future__ import annotations

import onnx_ir as ir
import onnx_shape_inference as inference

import xgraph.graph.computed_axes  # noqa: F401


def constant_of_shape(context: inference.ShapeInferenceContext, node: ir.Node) -> None:
    """Reads sizes that are computed from the shapes of other values, and the rank in any case."""
    target, given = node.inputs[0], node.attributes.get("value")
    if target is None:
        raise inference.OpUsageError(node, "it has no input")
    sizes = ir.convenience.get_const_tensor(target)
    known = [int(size) for size in sizes.numpy().ravel()] if sizes is not None else context.get_symbolic_value(target)
    if known is None and target.shape is not None and isinstance(target.shape[0], int):
        known = [context.new_symbolic_dim() for _ in range(target.shape[0])]
    shape = None if known is None else ir.Shape(known)
    dtype = ir.DataType.FLOAT if given is None else given.as_tensor().dtype
    context.set_shape_and_dtype(node.outputs[0], shape, dtype)


# Ours come after theirs, so that they are the ones that are found.
inference.registry.collect()
inference.registry.register("", "ConstantOfShape", since_version=9)(constant_of_shape)
