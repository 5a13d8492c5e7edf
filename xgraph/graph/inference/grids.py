"""Shape inference of AffineGrid with a computed size."""

from __future__ import annotations

import onnx_ir as ir
import onnx_shape_inference as inference


def affine_grid(context: inference.ShapeInferenceContext, node: ir.Node) -> None:
    """Returns ``[N, (D,) H, W, n]`` of the size ``[N, C, (D,) H, W]``: its numbers as far as known, the rank by theta.

    ``theta`` is ``[N, n, n + 1]``.
    """
    theta, size = node.inputs[:2]
    if theta is None or size is None:
        raise inference.OpUsageError(node, "it needs theta and size")
    rows, coordinates, _ = theta.shape if theta.shape is not None and len(theta.shape) == 3 else (None, None, None)
    length = coordinates + 2 if isinstance(coordinates, int) else size.shape[0] if size.shape is not None else None
    known = context.get_symbolic_value(size)
    if known is None and isinstance(length, int):
        first = context.new_symbolic_dim() if rows is None else rows
        known = [first, *(context.new_symbolic_dim() for _ in range(length - 1))]
    shape = None if known is None else ir.Shape([known[0], *known[2:], len(known) - 2])
    context.set_shape_and_dtype(node.outputs[0], shape, theta.dtype)


# Ours come after theirs, so that they are the ones that are found.
inference.registry.collect()
inference.registry.register("", "AffineGrid", since_version=20)(affine_grid)
