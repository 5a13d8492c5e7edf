"""Indexing: what was read is added to where it was read from, and the other way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dims, rank
from xgraph.graph.site import Site
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.movement import add_along
from xgraph.rules.vjp.shaping import (
    along,
    cast_like,
    like,
    positions,
    positive,
    refuse_wanted,
    reshape,
    sizes_of,
    widened,
    zeros_like,
)


@vjp("Gather")
def gather(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """dx[.., index, ..] += g."""
    x, index = s.input(0), s.input(1)
    axis = positive(s.attr("axis", 0), x)
    known, size = s.const(1), (dims(x) or ())[axis]
    if known is not None and isinstance(size, int):
        taken = np.where(known < 0, known + size, known).astype(np.int64)
        if len(np.unique(taken)) == taken.size:
            return [like(_put_back(b, _flat(b, g, x, axis, taken.ndim), taken.ravel(), size, axis), x), None]
    if axis == 0:
        dx = _add_at(b, b.ScatterND, x, b.Unsqueeze(index, [-1]), g)
    else:
        dx = add_along(b, _flat(b, g, x, axis, rank(index)), x, b.Reshape(index, [-1]), axis)
    return [like(dx, x), None]


@vjp("GatherElements")
def gather_elements(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """dx[.., index[i], ..] += g[i]."""
    axis = s.attr("axis", 0)
    return [_add_at(b, b.ScatterElements, s.input(0), s.input(1), g, axis=axis), None]


@vjp("GatherND")
def gather_nd(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """dx[index[i]] += g[i], with the coordinates of the batch put in front of the index."""
    x, index = s.input(0), s.input(1)
    batch = s.attr("batch_dims", 0)
    if batch:
        shape = b.Concat(b.Shape(index, start=0, end=-1), [1], axis=0)
        coordinates = [b.Expand(along(b, positions(b, index, i), i, index), shape) for i in range(batch)]
        index = b.Concat(*coordinates, index, axis=-1)
    return [_add_at(b, b.ScatterND, x, index, g), None]


def _overwrites(s: Site) -> str | None:
    reduction = s.attr("reduction", "none")
    return None if reduction in ("none", "add") else f"reduction='none' or 'add' instead of '{reduction}'"


@vjp("ScatterElements", needs=_overwrites)
def scatter_elements(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dupdates`` = g where they went; ddata = g, without what was overwritten."""
    index, axis = s.input(1), s.attr("axis", 0)
    data = updates = None
    if s.wants[0]:
        zeros = zeros_like(b, s.input(2), g)
        data = g if _adds(s) else b.ScatterElements(g, index, zeros, axis=axis)
    if s.wants[2]:
        updates = b.GatherElements(g, index, axis=axis)
    return [data, None, updates]


@vjp("ScatterND", needs=_overwrites)
def scatter_nd(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dupdates`` = g where they went; ddata = g, without what was overwritten."""
    index = s.input(1)
    data = updates = None
    if s.wants[0]:
        data = g if _adds(s) else b.ScatterND(g, index, zeros_like(b, s.input(2), g))
    if s.wants[2]:
        updates = like(b.GatherND(g, index), s.input(2))
    return [data, None, updates]


@vjp("TopK")
def top_k(b: Emit, s: Site, g: Value | None, *_: Value | None) -> Sequence[Value | None]:
    """``dx`` = g where the k largest (or smallest) are."""
    if g is None:
        return [None, None]
    zeros = zeros_like(b, s.input(0), g)
    return [b.ScatterElements(zeros, s.y[1], g, axis=s.attr("axis", -1)), None]


@vjp("OneHot")
def one_hot(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """Piecewise constant in the indices."""
    refuse_wanted(s, "pair of values", 2)
    return [None, None, None]


@vjp("Range")
def arange(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """With y = start + i delta: dstart = Σ g, ddelta = Σ i g."""
    steps = b.Cast(positions(b, g, 0), to=int(g.dtype))  # type: ignore[arg-type]
    return [b.ReduceSum(g, [0], keepdims=0), None, b.ReduceSum(b.Mul(g, steps), [0], keepdims=0)]


def _add_at(b: Emit, scatter: Callable[..., Value], x: Value, index: Value, g: Value, **attributes: int) -> Value:
    """Emits zeros of the shape of ``x`` with g added at ``index``."""
    terms = widened(b, g)
    total = scatter(zeros_like(b, x, terms), index, terms, reduction="add", **attributes)
    return cast_like(b, total, g)


def _flat(b: Emit, g: Value, x: Value, axis: int, index_rank: int) -> Value:
    """Merges the axes of g that the index made into one, in place of ``axis``."""
    if index_rank == 1:
        return g
    if index_rank == 0:
        return b.Unsqueeze(g, [axis])
    sizes = sizes_of(b, g)
    merged: int | Value = 1
    for size in sizes[axis : axis + index_rank]:
        if isinstance(merged, int) and isinstance(size, int):
            merged *= size
        else:
            merged = b.Mul(size, merged) if isinstance(merged, int) else b.Mul(merged, size)
    return reshape(b, g, [*sizes[:axis], merged, *sizes[axis + index_rank :]])


def _put_back(b: Emit, g: Value, taken: np.ndarray, size: int, axis: int) -> Value:
    """Puts what was read at known, distinct places back: by padding where they are a run, else by reading."""
    n, start = taken.size, int(taken[0]) if taken.size else 0
    before, after = [0] * rank(g), [0] * rank(g)
    if n and np.array_equal(taken, np.arange(start, start + n)):
        before[axis], after[axis] = start, size - start - n
        return b.Pad(g, [*before, *after]) if n < size else g
    # One more place, of zeros, for everything that nothing was read from.
    source = np.full(size, n, np.int64)
    source[taken] = np.arange(n)
    if n < size:
        after[axis] = 1
        g = b.Pad(g, [*before, *after])
    return b.Gather(g, b.constant(source), axis=axis)


def _adds(s: Site) -> bool:
    return bool(s.attr("reduction", "none") == "add")
