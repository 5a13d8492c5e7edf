"""Normalisations. With x̂ = (x - μ) / σ over some axes, dx = (g - mean g - x̂ mean(g x̂)) / σ.

That is for x alone. Where parameters or statistics are computed from what is explained, the normalisation is spelled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import need_static, not_fixed, rank
from xgraph.graph.site import Site
from xgraph.rules.derived import pulled_through
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.shaping import cast_like, like, positive, reshape_like, widened

_PER_CHANNEL = 21
"""From this opset on, GroupNormalization has a scale and a bias per channel; per group before."""


@vjp("BatchNormalization")
def batch_normalization(b: Emit, s: Site, g: Value | None, *rest: Value | None) -> Sequence[Value | None]:
    """``dx`` = g scale / √(var + ε): in inference it is an affine map per channel."""
    if g is None or any(s.wants[1:]) or s.attr("training_mode", 0):
        return _spelled_batch_normalization(b, s, g, *rest)
    x, scale, variance = s.input(0), s.const(1), s.const(4)
    epsilon = s.attr("epsilon", 1e-5)
    if scale is not None and variance is not None and x.dtype is not None:
        factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
        channels = factor.astype(x.dtype.numpy()).reshape(1, -1, *[1] * (rank(x) - 2))
        return [b.Mul(g, b.constant(channels)), *[None] * 4]
    deviation = b.Sqrt(b.Add(s.input(4), epsilon))
    factor = b.Div(cast_like(b, s.input(1), deviation), deviation)
    return [b.Mul(g, _per_channel(b, cast_like(b, factor, x), x)), *[None] * 4]


@vjp("InstanceNormalization")
def instance_normalization(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """Statistics per sample and channel; g is scaled first."""
    if any(s.wants[1:]):
        return _spelled_instance_normalization(b, s, g)
    x = s.input(0)
    scaled = b.Mul(g, _per_channel(b, s.input(1), x))
    return [_standardised(b, scaled, x, list(range(2, rank(x))), s.attr("epsilon", 1e-5)), None, None]


@vjp("GroupNormalization")
def group_normalization(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """Statistics per sample and group of channels; scale is per group up to opset 20, then per channel."""
    if any(s.wants[1:]):
        return _spelled_group_normalization(b, s, g)
    x, scale, groups = s.input(0), s.input(1), s.attr("num_groups")
    per_group = b.opset < _PER_CHANNEL
    if not per_group:
        g = b.Mul(g, _per_channel(b, cast_like(b, scale, x), x))
    grouped, share = b.Reshape(x, [0, groups, -1]), b.Reshape(g, [0, groups, -1])
    if per_group:
        share = b.Mul(share, b.Unsqueeze(cast_like(b, scale, x), [0, 2]))
    dx = _standardised(b, share, grouped, [2], s.attr("epsilon", 1e-5))
    return [reshape_like(b, dx, x), None, None]


@vjp("LayerNormalization")
def layer_normalization(b: Emit, s: Site, g: Value | None, *rest: Value | None) -> Sequence[Value | None]:
    """Statistics over the last axes; those of the forward node are used where it gives them."""
    if g is None or any(s.wants[1:]) or any(value is not None for value in rest):
        return _spelled_layer_normalization(b, s, g, *rest)
    x = s.input(0)
    first = positive(s.attr("axis", -1), x)
    axes = list(range(first, rank(x)))
    scaled = b.Mul(g, s.input(1))
    mean = s.y[1] if len(s.y) > 1 and s.y[1].name else None
    inverse = s.y[2] if len(s.y) > 2 and s.y[2].name else None
    dx = _standardised(b, scaled, x, axes, s.attr("epsilon", 1e-5), mean, inverse)
    return [dx, None, None][: len(s.x)]


@vjp("LRN", needs=lambda s: not_fixed(s.input(0), [1]))
def lrn(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """With D = bias + α / n Σ x² over n channels: dx = g D^-β - 2 α β / n x Σ (g y / D)."""
    x, y = s.input(0), s.y[0]
    size, alpha, beta = s.attr("size"), s.attr("alpha", 1e-4), s.attr("beta", 0.75)
    before, after = (size - 1) // 2, size - 1 - (size - 1) // 2
    squares = _channel_mean(b, b.Mul(x, x), size, before, after)
    scale = b.Add(b.Mul(squares, alpha), s.attr("bias", 1.0))
    # Channel j is in the window of i where i is in the mirrored window of j.
    shared = _channel_mean(b, b.Div(b.Mul(g, y), scale), size, after, before)
    direct = b.Div(g, b.Pow(scale, beta))
    return [b.Sub(direct, b.Mul(x, b.Mul(shared, 2.0 * alpha * beta)))]


@vjp("LpNormalization")
def lp_normalization(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """With the norm n: dx = (g - d Σ g y) / n, where d is y for p = 2 and sign x for p = 1."""
    x, y, axis = s.input(0), s.y[0], s.attr("axis", -1)
    euclidean = s.attr("p", 2) == 2
    norm = (b.ReduceL2 if euclidean else b.ReduceL1)(x, [axis], keepdims=1)
    safe = b.Where(b.Equal(norm, 0.0), b.scalar(1.0, norm), norm)
    total = b.ReduceSum(b.Mul(g, y), [axis], keepdims=1)
    return [b.Div(b.Sub(g, b.Mul(y if euclidean else b.Sign(x), total)), safe)]


def _batch_normalization(b: Emit, s: Site) -> Sequence[Value | None]:
    """With the statistics of the batch in training mode, which then move the running ones."""
    x, mean, variance = s.input(0), s.input(3), s.input(4)
    running: list[Value | None] = []
    if s.attr("training_mode", 0):
        axes = [axis for axis in range(rank(x)) if axis != 1]
        momentum = s.attr("momentum", 0.9)
        found = _moments(b, widened(b, x), axes)
        for old, new in zip((mean, variance), found, strict=True):
            flat = cast_like(b, b.Squeeze(new, axes), old)
            running.append(b.Add(b.Mul(old, momentum), b.Mul(flat, 1.0 - momentum)))
    else:
        wide = widened(b, x)
        found = _per_channel(b, cast_like(b, mean, wide), x), _per_channel(b, cast_like(b, variance, wide), x)
    normalised, _ = _normalised(b, x, *found, s.attr("epsilon", 1e-5))
    return [_affine(b, s, normalised), *running][: len(s.y)]


def _instance_normalization(b: Emit, s: Site) -> Sequence[Value | None]:
    x = s.input(0)
    moments = _moments(b, widened(b, x), list(range(2, rank(x))))
    return [_affine(b, s, _normalised(b, x, *moments, s.attr("epsilon", 1e-5))[0])]


def _group_normalization(b: Emit, s: Site) -> Sequence[Value | None]:
    x = s.input(0)
    grouped = b.Reshape(x, [0, s.attr("num_groups"), -1])
    normalised, _ = _normalised(b, grouped, *_moments(b, widened(b, grouped), [2]), s.attr("epsilon", 1e-5))
    if b.opset >= _PER_CHANNEL:
        return [_affine(b, s, reshape_like(b, normalised, x))]
    return [reshape_like(b, _affine(b, s, normalised), x)]


def _layer_normalization(b: Emit, s: Site) -> Sequence[Value | None]:
    x = s.input(0)
    axes = list(range(positive(s.attr("axis", -1), x), rank(x)))
    mean, variance = _moments(b, widened(b, x), axes)
    normalised, inverse = _normalised(b, x, mean, variance, s.attr("epsilon", 1e-5))
    y = b.Mul(normalised, s.input(1))
    y = b.Add(y, s.input(2)) if s.has(2) else y
    return [y, *(cast_like(b, value, of) for value, of in zip((mean, inverse), s.y[1:], strict=False))]


def _moments(b: Emit, x: Value, axes: list[int]) -> tuple[Value, Value]:
    """Emits the mean and the variance over ``axes``, which are kept with size 1."""
    mean = b.ReduceMean(x, axes, keepdims=1)
    centred = b.Sub(x, mean)
    return mean, b.ReduceMean(b.Mul(centred, centred), axes, keepdims=1)


def _normalised(b: Emit, x: Value, mean: Value, variance: Value, epsilon: float) -> tuple[Value, Value]:
    """Emits ``(x - mean) / √(variance + ε)`` and what it is multiplied with."""
    inverse = b.Reciprocal(b.Sqrt(b.Add(variance, epsilon)))
    return cast_like(b, b.Mul(b.Sub(widened(b, x), mean), inverse), x), inverse


def _affine(b: Emit, s: Site, x: Value) -> Value:
    """Emits ``scale x + bias``, both per entry of axis 1."""
    scale, bias = (_per_channel(b, cast_like(b, s.input(i), x), x) for i in (1, 2))
    return b.Add(b.Mul(x, scale), bias)


_spelled_batch_normalization = pulled_through(vjp, _batch_normalization)
_spelled_instance_normalization = pulled_through(vjp, _instance_normalization)
_spelled_group_normalization = pulled_through(vjp, _group_normalization)
_spelled_layer_normalization = pulled_through(vjp, _layer_normalization)


def _standardised(
    b: Emit,
    g: Value,
    x: Value,
    axes: Sequence[int],
    epsilon: float,
    mean: Value | None = None,
    inverse: Value | None = None,
) -> Value:
    """Emits the gradient of ``(x - mean x) / √(var x + ε)`` over ``axes``.

    Sixteen-bit statistics are computed in float32, as the forward operators do.
    """
    axes, narrow = list(axes), x
    x, g = widened(b, x), widened(b, g)
    mean = b.ReduceMean(x, axes, keepdims=1) if mean is None else cast_like(b, mean, x)
    centred = b.Sub(x, mean)
    if inverse is None:
        variance = b.ReduceMean(b.Mul(centred, centred), axes, keepdims=1)
        inverse = b.Reciprocal(b.Sqrt(b.Add(variance, epsilon)))
    inverse = cast_like(b, inverse, x)
    slope = b.Mul(b.ReduceMean(b.Mul(g, centred), axes, keepdims=1), b.Mul(inverse, inverse))
    rest = b.Sub(b.Sub(g, b.ReduceMean(g, axes, keepdims=1)), b.Mul(centred, slope))
    return like(cast_like(b, b.Mul(rest, inverse), narrow), narrow)


def _per_channel(b: Emit, vector: Value, x: Value) -> Value:
    """Views a vector over the channels as ``[1, C, 1, ..]``, to go with ``x``."""
    return b.Unsqueeze(vector, [axis for axis in range(rank(x)) if axis != 1])


def _channel_mean(b: Emit, x: Value, size: int, before: int, after: int) -> Value:
    """Emits ``1 / size`` times the sum over the channels ``c - before .. c + after``, as a pool."""
    (channels,) = need_static(x, slice(1, 2))
    flat = b.Reshape(x, [0, 1, channels, -1])
    pooled = b.AveragePool(flat, kernel_shape=[size, 1], pads=[before, 0, after, 0], count_include_pad=1)
    return reshape_like(b, pooled, x)
