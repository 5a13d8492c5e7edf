"""Layer normalisations with sums and embeddings fused into them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from xgraph.graph.arithmetic import positions
from xgraph.graph.emit import Emit, Value
from xgraph.graph.site import Site

_EPSILON = 1e-12
"""What the fused operators add to the variance where they do not say."""


def layer_normalization(b: Emit, s: Site) -> Sequence[Value | None]:
    """ONNX Runtime's own, from before the standard had one."""
    bias = s.input(2) if s.has(2) else None
    return b.many("LayerNormalization", len(s.y), s.input(0), s.input(1), bias, **s.attributes())


def simplified_layer_normalization(b: Emit, s: Site) -> Sequence[Value | None]:
    """``x / sqrt(mean(x^2) + eps) scale``, and 1 over that root."""
    axis, epsilon = int(s.attr("axis", -1)), float(s.attr("epsilon", 1e-5))
    return root_mean_square(b, s.input(0), s.input(1), epsilon, axis)[: len(s.y)]


def skip_layer_normalization(b: Emit, s: Site) -> Sequence[Value | None]:
    """Layer normalisation of ``x + skip + bias``; outputs: it, mean, 1 / deviation, the sum."""
    total = _sum(b, s, 4)
    bias = s.input(3) if s.has(3) else None
    epsilon = float(s.attr("epsilon", _EPSILON))
    found = b.many("LayerNormalization", 3, total, s.input(2), bias, axis=-1, epsilon=epsilon)
    return [*found, total][: len(s.y)]


def skip_simplified_layer_normalization(b: Emit, s: Site) -> Sequence[Value | None]:
    """The same without mean and bias."""
    total = _sum(b, s, 3)
    y, inverse = root_mean_square(b, total, s.input(2), float(s.attr("epsilon", _EPSILON)), -1)
    return [y, None, inverse, total][: len(s.y)]


def embed_layer_normalization(b: Emit, s: Site) -> Sequence[Value | None]:
    """Layer normalisation of word + position [+ segment] embeddings; outputs: it, mask lengths, the sum."""
    ids = s.input(0)
    word = b.Gather(s.input(2), ids)
    where = s.input(8) if s.has(8) else b.Unsqueeze(positions(b, ids, 1), [0])
    total = b.Add(word, b.Gather(s.input(3), where))
    if s.has(1) and s.has(4):
        total = b.Add(total, b.Gather(s.input(4), s.input(1)))
    epsilon = float(s.attr("epsilon", _EPSILON))
    y = b.LayerNormalization(total, s.input(5), s.input(6), axis=-1, epsilon=epsilon)
    return [y, mask_lengths(b, s, ids), total][: len(s.y)]


def mask_lengths(b: Emit, s: Site, ids: Value) -> Value:
    """Returns how many tokens of each row the mask (input 7) keeps; 0 where there is none."""
    if s.has(7):
        return b.ReduceSum(b.Cast(s.input(7), to=int(ir.DataType.INT32)), [1], keepdims=0)
    return b.Expand(np.asarray(0, np.int32), b.Shape(ids, start=0, end=1))


def _sum(b: Emit, s: Site, bias: int) -> Value:
    total = b.Add(s.input(0), s.input(1))
    return b.Add(total, s.input(bias)) if s.has(bias) else total


def root_mean_square(b: Emit, x: Value, scale: Value, epsilon: float, axis: int) -> list[Value]:
    """Returns ``x / sqrt(mean(x^2) + eps) scale`` over the axes from ``axis`` on, and 1 over that root."""
    rank = len(x.shape or ())
    axes = list(range(axis % rank, rank))
    inverse = b.Reciprocal(b.Sqrt(b.Add(b.ReduceMean(b.Mul(x, x), axes, keepdims=1), epsilon)))
    return [b.Mul(b.Mul(x, inverse), scale), inverse]


NORMALISATIONS = {
    "EmbedLayerNormalization": embed_layer_normalization,
    "LayerNormalization": layer_normalization,
    "SimplifiedLayerNormalization": simplified_layer_normalization,
    "SkipLayerNormalization": skip_layer_normalization,
    "SkipSimplifiedLayerNormalization": skip_simplified_layer_normalization,
}
