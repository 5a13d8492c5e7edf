"""ONNX Runtime's blocked layout (NCHWc) on the CPU provider, and how to get gradients into it.

Convolutions and pools bring their input into the layout; Add, Mul and HardSigmoid only keep it, and fall back to
the plain one when a single operand is plain. One plain operand at the top of a residual network therefore drags
every skip connection below it out of the layout, and its Adds out of the convolutions they would fuse with.
"""

from __future__ import annotations

import onnx_ir as ir

from xgraph.graph.emit import Emit
from xgraph.graph.shapes import dims

_BLOCK = 16


def anchored(b: Emit, g: ir.Value) -> ir.Value:
    """Emits a pool of 1 x 1, which changes nothing but the layout; images of float32 with whole blocks only."""
    sizes = dims(g)
    if g.dtype != ir.DataType.FLOAT or sizes is None or len(sizes) != 4:
        return g
    if not isinstance(sizes[1], int) or sizes[1] % _BLOCK:
        return g
    return b.MaxPool(g, kernel_shape=[1, 1])


def is_spread(g: ir.Value) -> bool:
    """Tells whether ``g`` comes from a pool's gradient in plain layout."""
    producer = g.producer()
    return producer is not None and producer.op_type in ("Expand", "Reshape")
