"""Quantisation, straight through (Bengio et al. 2013, arXiv:1308.3432): rounding counts as the identity.

The cotangent of an integer that stands for a number is a float. Nothing flows where a number was clipped, and
nothing to zero points.
"""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np

from xgraph.graph.adjoint import step_mul
from xgraph.graph.arithmetic import positions
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dims, rank
from xgraph.graph.site import Site
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.shaping import along, cast_like, expand_like, like, positive, shape_of

_HALF = 0.5
"""Of a step: what is rounded to a limit is not clipped."""


@vjp("QuantizeLinear", integers=True)
def quantize_linear(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """Gradient of y = clip(round(x / s) + z): ``dx`` = g / s where nothing is clipped, ``ds`` = - x dx / s."""
    x = s.input(0)
    scale = _spread(b, s, cast_like(b, s.input(1), x))
    steps = b.Div(x, scale)
    if s.has(2):
        steps = b.Add(steps, _spread(b, s, cast_like(b, s.input(2), x)))
    low, high = _limits(s.y[0])
    gx = b.Div(step_mul(b, cast_like(b, g, x), like(steps, x), low=low - _HALF, high=high + _HALF), scale)
    share = _gathered(b, s, b.Neg(b.Div(b.Mul(gx, x), scale))) if s.wants[1] else None
    return [gx, share, None][: len(s.x)]


@vjp("DequantizeLinear", integers=True)
def dequantize_linear(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """Gradient of y = (q - z) s: ``dq`` = g s, ``ds`` = g (q - z)."""
    share = None
    if s.wants[1]:
        steps = cast_like(b, s.input(0), g)
        if s.has(2):
            steps = b.Sub(steps, _spread(b, s, cast_like(b, s.input(2), g)))
        share = _gathered(b, s, b.Mul(g, steps))
    return [b.Mul(g, _spread(b, s, cast_like(b, s.input(1), g))), share, None][: len(s.x)]


def _limits(q: Value) -> tuple[float, float]:
    """Returns the smallest and the largest number of the dtype of ``q``."""
    dtype = q.dtype.numpy() if q.dtype is not None else np.dtype(np.uint8)
    exact = q.dtype is not None and q.dtype.is_floating_point()
    limits = ml_dtypes.finfo(dtype) if exact else ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
    return float(limits.min), float(limits.max)


def _spread(b: Emit, s: Site, values: Value) -> Value:
    """Views scales or zero points (one per tensor, per index of an axis, or per block) so that they broadcast."""
    if rank(values) == 0 or dims(values) == (1,):
        return b.Reshape(values, b.constant(np.zeros(0, np.int64))) if rank(values) else values
    x, block = s.input(0), int(s.attr("block_size", 0))
    axis = positive(int(s.attr("axis", 1)), x)
    if not block:
        return along(b, values, axis, x)
    index = b.Div(positions(b, x, axis), b.constant(np.asarray(block, np.int64)))
    return b.Gather(values, index, axis=axis)


def _gathered(b: Emit, s: Site, share: Value) -> Value:
    """Sums what arrives at every number over those that have one scale."""
    scale, block = s.input(1), int(s.attr("block_size", 0))
    if rank(scale) == 0 or dims(scale) == (1,):
        total = b.ReduceSum(share, keepdims=0)
        return cast_like(b, b.Reshape(total, [1]) if rank(scale) else total, scale)
    axis = positive(int(s.attr("axis", 1)), s.input(0))
    if not block:
        others = [i for i in range(rank(share)) if i != axis]
        return cast_like(b, b.ReduceSum(share, others, keepdims=0) if others else share, scale)
    index = b.Div(positions(b, share, axis), b.constant(np.asarray(block, np.int64)))
    index = b.Expand(along(b, index, axis, share), shape_of(b, share))
    zeros = expand_like(b, b.scalar(0.0, share), scale)
    return cast_like(b, b.ScatterElements(zeros, index, share, axis=axis, reduction="add"), scale)
