"""Shape inference of ConstantOfShape with computed sizes, of Slice of open sizes, and of Unique along an axis."""

from __future__ import annotations

import onnx_ir as ir
import onnx_shape_inference as inference


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


def slice_(context: inference.ShapeInferenceContext, node: ir.Node) -> None:
    """Keeps the axes that are not cut, and leaves open how much of an open one is there.

    ``x[:10]`` may find fewer than ten; one entry it will find.
    """
    _SLICE(context, node)
    x, y = node.inputs[0], node.outputs[0]
    if x is None or x.shape is None or y.shape is None:
        return
    cut = _cut_axes(node, len(x.shape))
    sizes: list[int | ir.SymbolicDim] = []
    for axis, (before, after) in enumerate(zip(x.shape, y.shape, strict=True)):
        if axis not in cut:
            sizes.append(before)
        elif isinstance(after, int) and after > 1 and not isinstance(before, int):
            sizes.append(context.new_symbolic_dim())
        else:
            sizes.append(after)
    y.shape = ir.Shape(sizes)


def _cut_axes(node: ir.Node, rank: int) -> range | set[int]:
    """Returns the axes that a Slice cuts; where they are computed, it may be all of them."""
    given = node.inputs[3] if len(node.inputs) > 3 else None
    if given is not None:
        axes = ir.convenience.get_const_tensor(given)
        return range(rank) if axes is None else {int(axis) % rank for axis in axes.numpy().ravel()}
    starts = node.inputs[1]
    count = starts.shape[0] if starts is not None and starts.shape is not None and len(starts.shape) == 1 else None
    return range(count) if isinstance(count, int) else range(rank)


def unique(context: inference.ShapeInferenceContext, node: ir.Node) -> None:
    """Keeps the rank where there is an axis; how many there are along it is known only when it runs."""
    x, axis = node.inputs[0], node.attributes.get("axis")
    count = context.new_symbolic_dim()
    if x is None or axis is None or x.shape is None:
        shape = None if axis is not None else ir.Shape([count])
    else:
        sizes = list(x.shape)
        sizes[axis.as_int()] = count
        shape = ir.Shape(sizes)
    context.set_shape_and_dtype(node.outputs[0], shape, None if x is None else x.dtype)
    along = None if x is None or x.shape is None or axis is None else x.shape[axis.as_int()]
    inverse = context.new_symbolic_dim() if along is None else along
    for output, size in zip(node.outputs[1:], (count, inverse, count), strict=False):
        context.set_shape_and_dtype(output, ir.Shape([size]), ir.DataType.INT64)


# Ours come after theirs, so that they are the ones that are found.
inference.registry.collect()
inference.registry.register("", "ConstantOfShape", since_version=9)(constant_of_shape)
_SLICE = inference.registry.get("", "Slice", version=13)
inference.registry.register("", "Slice", since_version=10)(slice_)
inference.registry.register("", "Unique", since_version=11)(unique)
