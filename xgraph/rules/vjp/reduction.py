"""Reductions: what arrives at the reduced value spreads over the axes that it was reduced from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from xgraph.graph.arithmetic import numbers, product, size_along
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dims, rank
from xgraph.graph.site import Site
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.shaping import (
    cast_like,
    const_ints,
    expand_like,
    like,
    positive,
    reshape,
    reshape_like,
    sizes_of,
    zeros_like,
)


@vjp("ReduceSum")
def reduce_sum(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g, repeated."""
    return _answer(s, expand_like(b, _kept(b, s, g), s.input(0)))


@vjp("ReduceMean")
def reduce_mean(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g / (number of elements averaged), repeated."""
    x, axes = s.input(0), _axes(s)
    if axes is not None:
        count = count_along(b, x, axes)
    else:
        count = b.Div(cast_like(b, b.Size(x), x), cast_like(b, b.Size(s.y[0]), x))
    return _answer(s, expand_like(b, b.Div(_kept(b, s, g), count), x))


@vjp("ReduceMax", "ReduceMin")
def reduce_extremum(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """All of g goes to the first extremum."""
    axes = _axes(s)
    if axes is None:
        return _answer(s, _to_first_computed(b, s, g))
    if not axes:
        return _answer(s, g)
    arg = b.ArgMax if s.op == "ReduceMax" else b.ArgMin
    return _answer(s, to_first(b, arg, _kept(b, s, g), s.input(0), axes))


@vjp("ReduceProd")
def reduce_prod(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g (product of the others): y / x, or, at the only zero, that of all but it."""
    x, axes = s.input(0), _axes(s)
    if axes == []:
        return _answer(s, g)
    g, y = _kept(b, s, g), _kept(b, s, s.y[0])
    zero, one = b.scalar(0.0, x), b.scalar(1.0, x)
    is_zero = b.Equal(x, zero)
    safe = b.Where(is_zero, one, x)
    zeros = _reduced(b, s, b.ReduceSum, b.Where(is_zero, one, zero))
    others = b.Where(b.Equal(zeros, one), _reduced(b, s, b.ReduceProd, safe), zero)
    return _answer(s, like(b.Mul(g, b.Where(is_zero, others, b.Div(y, safe))), x))


@vjp("ReduceLogSum")
def reduce_log_sum(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g exp(-y), repeated."""
    share = b.Mul(_kept(b, s, g), b.Exp(b.Neg(_kept(b, s, s.y[0]))))
    return _answer(s, expand_like(b, share, s.input(0)))


@vjp("ReduceLogSumExp")
def reduce_log_sum_exp(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g exp(x - y)."""
    x = s.input(0)
    share = b.Exp(b.Sub(x, _kept(b, s, s.y[0])))
    return _answer(s, like(b.Mul(_kept(b, s, g), share), x))


@vjp("ReduceL1")
def reduce_l1(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g sign x; 0 at x = 0."""
    return _answer(s, like(b.Mul(_kept(b, s, g), b.Sign(s.input(0))), s.input(0)))


@vjp("ReduceL2")
def reduce_l2(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g x / y; 0 at y = 0."""
    y = _kept(b, s, s.y[0])
    safe = b.Where(b.Equal(y, 0.0), b.scalar(1.0, y), y)
    return _answer(s, like(b.Mul(b.Div(_kept(b, s, g), safe), s.input(0)), s.input(0)))


@vjp("ReduceSumSquare")
def reduce_sum_square(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = 2 g x."""
    return _answer(s, like(b.Mul(b.Mul(_kept(b, s, g), 2.0), s.input(0)), s.input(0)))


@vjp("CumSum")
def cum_sum(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = the cumulative sum from the other end."""
    reverse = 1 - s.attr("reverse", 0)
    return [b.CumSum(g, s.input(1), exclusive=s.attr("exclusive", 0), reverse=reverse), None]


def count_along(b: Emit, x: Value, axes: Sequence[int]) -> Value:
    """Returns the number of elements along ``axes`` (not negative) as a scalar of the dtype of ``x``."""
    sizes = [size_along(x, axis) for axis in axes]
    fixed = [size for size in sizes if isinstance(size, int)]
    if len(fixed) == len(sizes):
        return b.scalar(float(np.prod(fixed)), x)
    assert x.dtype is not None
    chosen = b.Gather(b.Shape(x), list(axes))
    return b.Cast(b.ReduceProd(chosen, keepdims=0), to=int(x.dtype))


def to_first(b: Emit, arg: Callable[..., Value], g: Value, x: Value, axes: Sequence[int]) -> Value:
    """Emits zeros but for g where ``x`` has its first extremum along ``axes``.

    Args:
        b: where the nodes go.
        arg: ``b.ArgMax`` or ``b.ArgMin``.
        g: cotangent with size 1 along ``axes``.
        x: what was reduced.
        axes: sorted, not negative.
    """
    axes = list(axes)
    if 0 in (dims(x) or ()):
        # Nothing has no extremum, and no gradient to give.
        return zeros_like(b, x)
    if len(axes) == 1:
        axis = axes[0]
        return b.ScatterElements(zeros_like(b, x), arg(x, axis=axis, keepdims=1), g, axis=axis)
    kept = [axis for axis in range(rank(x)) if axis not in axes]
    order = kept + axes
    moved = x if order == sorted(order) else b.Transpose(x, perm=order)
    sizes = sizes_of(b, x)
    flat = reshape(b, moved, [*(sizes[axis] for axis in kept), product(b, [sizes[axis] for axis in axes])])
    index = arg(flat, axis=-1, keepdims=1)
    share = reshape_like(b, g, index)
    dx = reshape_like(b, b.ScatterElements(zeros_like(b, flat), index, share, axis=-1), moved)
    return dx if moved is x else b.Transpose(dx, perm=[order.index(axis) for axis in range(rank(x))])


def power_factor(b: Emit, x: Value, p: int) -> Value:
    """Emits the derivative of ``|x|^p / p``: ``|x|^(p - 1) sign x``."""
    if p == 1:
        return b.Sign(x)
    if p == 2:
        return x
    return b.Mul(b.Pow(b.Abs(x), float(p - 1)), b.Sign(x))


def _axes(s: Site) -> list[int] | None:
    """Returns the reduced axes, sorted and not negative; None where they are computed in the graph."""
    x = s.input(0)
    given: list[int] | None = []
    if s.has(1):
        given = const_ints(s, 1)
    if given is None:
        return None
    if not given and not s.attr("noop_with_empty_axes", 0):
        return list(range(rank(x)))
    return sorted(positive(axis, x) for axis in given)


def _kept(b: Emit, s: Site, value: Value) -> Value:
    """Returns an output (or what arrives there) with its reduced axes kept at size 1."""
    if s.attr("keepdims", 1):
        return value
    axes = _axes(s)
    if axes is None:
        return b.Unsqueeze(value, s.input(1))
    return b.Unsqueeze(value, axes) if axes else value


def _reduced(b: Emit, s: Site, reduce: Callable[..., Value], value: Value) -> Value:
    """Reduces ``value`` over the same axes, which are kept at size 1."""
    axes = _axes(s)
    noop = s.attr("noop_with_empty_axes", 0)
    return reduce(value, s.input(1) if axes is None else axes, keepdims=1, noop_with_empty_axes=noop)


def _to_first_computed(b: Emit, s: Site, g: Value) -> Value:
    """As ``to_first`` along computed axes: among the extrema, the one that comes first in memory."""
    x = s.input(0)
    end = b.Size(x)
    places = b.Reshape(numbers(b, end), b.Shape(x))
    found = b.Where(b.Equal(x, _kept(b, s, s.y[0])), places, end)
    first = _reduced(b, s, b.ReduceMin, found)
    return like(b.Where(b.Equal(first, found), _kept(b, s, g), b.scalar(0.0, g)), x)


def _answer(s: Site, dx: Value) -> list[Value | None]:
    return [dx, None][: len(s.x)]
