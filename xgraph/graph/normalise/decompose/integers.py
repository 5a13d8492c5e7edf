"""Standard operators on quantised integers, as float operators between DequantizeLinear and QuantizeLinear.

That is what their integers stand for, and where gradients pass straight through (Bengio et al. 2013,
arXiv:1308.3432). Sums that run in int32 run in float, without an intermediate rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit, Value
from xgraph.graph.normalise.grid import array_of, dequantised, weight
from xgraph.graph.shapes import rank, static
from xgraph.graph.site import Site


def qlinear_conv(b: Emit, s: Site) -> Sequence[Value]:
    """``Q(Conv(DQ x, DQ w) + scale_x scale_w bias)``; one scale per output channel of the weight, or one for all."""
    attributes = s.attributes()
    last = bool(attributes.pop("channels_last", 0))
    x = dequantised(b, s.input(0), s.input(1), s.input(2))
    w = dequantised(b, s.input(3), s.input(4), s.input(5), axis=0)
    bias = _bias(b, s, 8) if s.has(8) else None
    y = b.Conv(channels_first(b, x) if last else x, w, bias, **attributes)
    return [b.QuantizeLinear(channels_last(b, y) if last else y, s.input(6), s.input(7))]


def qlinear_matmul(b: Emit, s: Site) -> Sequence[Value]:
    """``Q(DQ a @ DQ b)``; one scale per row of a and per column of b, or one for all."""
    left = dequantised(b, s.input(0), *_by_row(b, s, 1, 2), axis=rank(s.input(0)) - 2)
    right = dequantised(b, s.input(3), s.input(4), s.input(5), axis=rank(s.input(3)) - 1)
    return [b.QuantizeLinear(b.MatMul(left, right), s.input(6), s.input(7))]


def conv_integer(b: Emit, s: Site) -> Sequence[Value]:
    """The convolution of ``x - zero_x`` with ``w - zero_w``."""
    x, w = _steps(b, s, 0, 2), _steps(b, s, 1, 3, axis=0)
    return [integer_sum(b, s, b.Conv(x, w, **s.attributes()))]


def matmul_integer(b: Emit, s: Site) -> Sequence[Value]:
    """``(a - zero_a) @ (b - zero_b)``."""
    left = _steps(b, s, 0, 2, axis=rank(s.input(0)) - 2)
    right = _steps(b, s, 1, 3, axis=rank(s.input(1)) - 1)
    return [integer_sum(b, s, b.MatMul(left, right))]


def dynamic_quantize_linear(b: Emit, s: Site) -> Sequence[Value]:
    """Returns (q, scale, zero point) on the grid of 256 steps from ``min(x, 0)`` to ``max(x, 0)``."""
    return dynamically_quantised(b, s.input(0))


def dynamically_quantised(b: Emit, x: Value) -> tuple[Value, Value, Value]:
    """Returns ``x`` in unsigned bytes on the grid that spans its values and 0, the scale and the zero point."""
    low = b.Min(b.ReduceMin(x, keepdims=0), 0.0)
    extent = b.Sub(b.Max(b.ReduceMax(x, keepdims=0), 0.0), low)
    # All zeros: any grid has them.
    scale = b.Where(b.Equal(extent, 0.0), b.scalar(1.0, x), b.Div(extent, 255.0))
    zero = b.Cast(b.Round(b.Neg(b.Div(low, scale))), to=int(ir.DataType.UINT8))
    return b.QuantizeLinear(x, scale, zero), scale, zero


def integer_sum(b: Emit, s: Site, total: Value) -> Value:
    """Returns ``total``, whole numbers in float, as the int32 that the operator promises.

    Whoever casts that to float reads ``total`` itself, which has a gradient.
    """
    for user, index in list(s.y[0].uses()):
        if user.op_type == "Cast" and not user.domain and user.outputs[0].dtype in _FLOATS:
            user.replace_input_with(index, total)
    return b.Cast(total, to=int(ir.DataType.INT32))


def channels_first(b: Emit, x: Value) -> Value:
    """Returns (N, spatial axes, C) as (N, C, spatial axes)."""
    return b.Transpose(x, perm=[0, rank(x) - 1, *range(1, rank(x) - 1)])


def channels_last(b: Emit, x: Value) -> Value:
    """Returns (N, C, spatial axes) as (N, spatial axes, C)."""
    return b.Transpose(x, perm=[0, *range(2, rank(x)), 1])


_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)


def _steps(b: Emit, s: Site, i: int, zero: int, *, axis: int = 1) -> Value:
    """Returns input ``i`` minus its zero point, in float32."""
    zeros = s.input(zero) if s.has(zero) else None
    count = () if zeros is None else static(zeros)
    if count is None:
        raise GraphError(f"{s.op} '{s.node.name}' needs a static number of zero points")
    ones = np.ones(count, np.float32)
    return dequantised(b, s.input(i), b.constant(ones), zeros, axis=axis)


def _by_row(b: Emit, s: Site, scale: int, zero: int) -> tuple[Value, Value]:
    """Scales of rows come as (M,) or (.., M, 1); DequantizeLinear takes vectors."""
    values = s.input(scale), s.input(zero)
    if rank(values[0]) < 2:
        return values
    return b.Reshape(values[0], [-1]), b.Reshape(values[1], [-1])


def _bias(b: Emit, s: Site, i: int) -> Value:
    """The bias is in steps of ``scale_x scale_w``."""
    arrays = [array_of(s.input(k)) for k in (1, 4, i)]
    if any(array is None for array in arrays):
        raise GraphError(f"{s.op} '{s.node.name}' needs constant scales and a constant bias")
    x_scale, w_scale, bias = arrays
    scaled = bias.astype(np.float64) * x_scale * w_scale  # type: ignore[union-attr, operator]
    return weight(b.model.graph, s.input(i), scaled.astype(np.float32))


INTEGERS = {
    "ConvInteger": conv_integer,
    "DynamicQuantizeLinear": dynamic_quantize_linear,
    "MatMulInteger": matmul_integer,
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
}
