"""Operators on quantised numbers: DequantizeLinear, the float operator, QuantizeLinear."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from xgraph.errors import GraphError
from xgraph.graph.arithmetic import positions
from xgraph.graph.emit import Emit, Value
from xgraph.graph.normalise.decompose.integers import (
    channels_first,
    channels_last,
    dynamically_quantised,
    qlinear_conv,
)
from xgraph.graph.normalise.decompose.microsoft.attention import attended
from xgraph.graph.normalise.decompose.microsoft.normalisation import mask_lengths
from xgraph.graph.normalise.grid import dequantised
from xgraph.graph.shapes import rank
from xgraph.graph.site import Site


def binary(op: str) -> Callable[[Emit, Site], Sequence[Value]]:
    """``Q(op(DQ a, DQ b))``."""

    def decomposition(b: Emit, s: Site) -> Sequence[Value]:
        left, right = _numbers(b, s, 0, 1, 2), _numbers(b, s, 3, 4, 5)
        return [_quantised(b, s, getattr(b, op)(left, right), 6, 7)]

    return decomposition


def unary(f: Callable[[Emit, Site, Value], Value]) -> Callable[[Emit, Site], Sequence[Value]]:
    """``Q(f(DQ x))``."""

    def decomposition(b: Emit, s: Site) -> Sequence[Value]:
        return [_quantised(b, s, f(b, s, _numbers(b, s, 0, 1, 2)), 3, 4)]

    return decomposition


def where(b: Emit, s: Site) -> Sequence[Value]:
    """``Q(Where(condition, DQ x, DQ y))``."""
    chosen = b.Where(s.input(0), _numbers(b, s, 1, 2, 3), _numbers(b, s, 4, 5, 6))
    return [_quantised(b, s, chosen, 7, 8)]


def concat(b: Emit, s: Site) -> Sequence[Value]:
    """``Q(Concat(DQ x, ...))``; the inputs come in triples behind the scale and zero point of the output."""
    parts = [_numbers(b, s, i, i + 1, i + 2) for i in range(2, len(s.x), 3)]
    return [_quantised(b, s, b.Concat(*parts, axis=s.attr("axis")), 0, 1)]


def gemm(b: Emit, s: Site) -> Sequence[Value]:
    """``alpha A' B' + C``, with C in steps of ``alpha scale_a scale_b``; quantised where an output scale is given."""
    alpha, transposed = float(s.attr("alpha", 1.0)), int(s.attr("transB", 0))
    left = dequantised(b, s.input(0), s.input(1), s.input(2))
    right = dequantised(b, s.input(3), s.input(4), s.input(5), axis=0 if transposed else 1)
    y = b.Gemm(left, right, alpha=alpha, transA=s.attr("transA", 0), transB=transposed)
    if s.has(6):
        step = b.Mul(b.Mul(s.input(1), s.input(4)), alpha)
        y = b.Add(y, b.Mul(b.cast(s.input(6), np.dtype(np.float32)), step))
    return [_quantised(b, s, y, 7, 8) if s.has(7) else y]


def matmul_integer_to_float(b: Emit, s: Site) -> Sequence[Value]:
    """``DQ a @ DQ b + bias``."""
    left = _numbers(b, s, 0, 2, 4)
    right = _columns(b, s, 1, 3, 5)
    return [_plus(b, b.MatMul(left, right), s, 6)]


def dynamic_quantize_matmul(b: Emit, s: Site) -> Sequence[Value]:
    """``DQ Q a @ DQ b + bias``, a on the grid of its own range."""
    left = b.DequantizeLinear(*dynamically_quantised(b, s.input(0)))
    return [_plus(b, b.MatMul(left, _columns(b, s, 1, 2, 3)), s, 4)]


def attention(b: Emit, s: Site) -> Sequence[Value | None]:
    """Attention with quantised input and projections."""
    x = _numbers(b, s, 0, 3, 6)
    projected = b.Add(b.MatMul(x, _columns(b, s, 1, 4, 7)), s.input(2))
    return attended(b, s, projected, mask=5, past=8, bias=len(s.x))


def embed_layer_normalization(b: Emit, s: Site) -> Sequence[Value | None]:
    """Layer normalisation of quantised word + position [+ segment] embeddings."""
    ids = s.input(0)
    tables = [dequantised(b, s.input(2 + i), s.input(8 + i), s.input(13 + i)) for i in (0, 1, 3, 4)]
    word, position, gamma, beta = tables
    total = b.Add(b.Gather(word, ids), b.Gather(position, b.Unsqueeze(positions(b, ids, 1), [0])))
    if s.has(1) and s.has(4):
        total = b.Add(total, b.Gather(dequantised(b, s.input(4), s.input(10), s.input(15)), s.input(1)))
    y = b.LayerNormalization(total, gamma, beta, axis=-1, epsilon=float(s.attr("epsilon", 1e-12)))
    return [y, mask_lengths(b, s, ids)][: len(s.y)]


def _sigmoid(b: Emit, s: Site, x: Value) -> Value:
    return b.Sigmoid(x)


def _leaky_relu(b: Emit, s: Site, x: Value) -> Value:
    return b.LeakyRelu(x, alpha=float(s.attr("alpha", 0.01)))


def _softmax(b: Emit, s: Site, x: Value) -> Value:
    axis, last = int(s.attr("axis", -1)) % rank(x), rank(x) - 1
    if int(s.attr("opset", 13)) >= 13 or axis == last:
        return b.Softmax(x, axis=axis)
    return b.Reshape(b.Softmax(b.Flatten(x, axis=axis), axis=-1), b.Shape(x))


def _average_pool(b: Emit, s: Site, x: Value) -> Value:
    attributes = s.attributes()
    last = attributes.pop("channels_last", 0)
    y = b.AveragePool(channels_first(b, x) if last else x, **attributes)
    return channels_last(b, y) if last else y


def _global_average_pool(b: Emit, s: Site, x: Value) -> Value:
    first, end = (1, rank(x) - 1) if s.attr("channels_last", 0) else (2, rank(x))
    return b.ReduceMean(x, list(range(first, end)), keepdims=1)


def _reduce_mean(b: Emit, s: Site, x: Value) -> Value:
    return b.ReduceMean(x, s.ints("axes", range(rank(x))), keepdims=s.attr("keepdims", 1))


def _numbers(b: Emit, s: Site, x: int, scale: int, zero: int) -> Value:
    return dequantised(b, s.input(x), s.input(scale), s.input(zero) if s.has(zero) else None)


def _columns(b: Emit, s: Site, x: int, scale: int, zero: int) -> Value:
    zeros = s.input(zero) if s.has(zero) else None
    return dequantised(b, s.input(x), s.input(scale), zeros, axis=rank(s.input(x)) - 1)


def _quantised(b: Emit, s: Site, y: Value, scale: int, zero: int) -> Value:
    if not s.has(zero) and s.y[0].dtype is None:
        raise GraphError(f"{s.op} '{s.node.name}' has no zero point that tells the type of its output")
    steps = s.input(zero) if s.has(zero) else b.scalar(0, s.y[0])
    return b.QuantizeLinear(y, s.input(scale), steps)


def _plus(b: Emit, y: Value, s: Site, bias: int) -> Value:
    return b.Add(y, s.input(bias)) if s.has(bias) else y


QUANTISED = {
    "DynamicQuantizeMatMul": dynamic_quantize_matmul,
    "MatMulIntegerToFloat": matmul_integer_to_float,
    "QAttention": attention,
    "QEmbedLayerNormalization": embed_layer_normalization,
    "QGemm": gemm,
    "QLinearAdd": binary("Add"),
    "QLinearAveragePool": unary(_average_pool),
    "QLinearConcat": concat,
    "QLinearConv": qlinear_conv,
    "QLinearGlobalAveragePool": unary(_global_average_pool),
    "QLinearLeakyRelu": unary(_leaky_relu),
    "QLinearMul": binary("Mul"),
    "QLinearReduceMean": unary(_reduce_mean),
    "QLinearSigmoid": unary(_sigmoid),
    "QLinearSoftmax": unary(_softmax),
    "QLinearWhere": where,
}
