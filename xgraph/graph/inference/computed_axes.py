"""Shape inference of Split and Squeeze with computed sizes or axes.

onnx_shape_inference takes them for omitted: it splits evenly, and squeezes every axis of size 1.
"""

from __future__ import annotations

import onnx_ir as ir
import onnx_shape_inference as inference


def _is_computed(node: ir.Node) -> bool:
    given = node.inputs[1] if len(node.inputs) > 1 else None
    return given is not None and ir.convenience.get_const_tensor(given) is None


def split(context: inference.ShapeInferenceContext, node: ir.Node) -> None:
    """Leaves the sizes along the axis open where they are computed."""
    x = node.inputs[0]
    if x is None or x.shape is None or not _is_computed(node):
        _SPLIT(context, node)
        return
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    for part in node.outputs:
        sizes = list(x.shape)
        sizes[axis] = context.new_symbolic_dim()
        context.set_shape_and_dtype(part, ir.Shape(sizes), x.dtype)


def squeeze(context: inference.ShapeInferenceContext, node: ir.Node) -> None:
    """Leaves open what stays where the axes are computed, unless only one choice of so many axes is possible."""
    x = node.inputs[0]
    if x is None or x.shape is None or not _is_computed(node):
        _SQUEEZE(context, node)
        return
    axes = node.inputs[1]
    count = axes.shape[0] if axes is not None and axes.shape is not None and len(axes.shape) == 1 else None
    if not isinstance(count, int):
        context.set_shape_and_dtype(node.outputs[0], None, x.dtype)
    elif sum(not isinstance(size, int) or size == 1 for size in x.shape) == count:
        left = [size for size in x.shape if isinstance(size, int) and size != 1]
        context.set_shape_and_dtype(node.outputs[0], ir.Shape(left), x.dtype)
    else:
        left = [context.new_symbolic_dim() for _ in range(len(x.shape) - count)]
        context.set_shape_and_dtype(node.outputs[0], ir.Shape(left), x.dtype)


# Ours come after theirs, so that they are the ones that are found.
inference.registry.collect()
_SPLIT, _SQUEEZE = (inference.registry.get("", op, version=13) for op in ("Split", "Squeeze"))
inference.registry.register("", "Split", since_version=13)(split)
inference.registry.register("", "Squeeze", since_version=13)(squeeze)
