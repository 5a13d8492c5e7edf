"""Indexing: what was read is added to where it was read from, and the other way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from xgraph.graph.arithmetic import positions, product
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dims, rank
from xgraph.graph.site import Site
from xgraph.rules.derived import through
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.movement import add_along
from xgraph.rules.vjp.shaping import along, like, positive, reshape, sizes_of, zeros_like


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


@vjp("TopK")
def top_k(b: Emit, s: Site, g: Value | None, *_: Value | None) -> Sequence[Value | None]:
    """``dx`` = g where the k largest (or smallest) are."""
    if g is None:
        return [None, None]
    zeros = zeros_like(b, s.input(0), g)
    return [b.ScatterElements(zeros, s.y[1], g, axis=s.attr("axis", -1)), None]


@vjp("OneHot")
def one_hot(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """With values (off, on): don = Σ g where the index points, doff = Σ g elsewhere."""
    ends = b.Concat(b.Reshape(b.scalar(0.0, g), [1]), b.Reshape(b.scalar(1.0, g), [1]), axis=0)
    hot = b.OneHot(s.input(0), s.input(1), ends, axis=s.attr("axis", -1))
    on = b.ReduceSum(b.Mul(g, like(hot, g)), keepdims=0)
    off = b.Sub(b.ReduceSum(g, keepdims=0), on)
    return [None, None, b.Concat(b.Unsqueeze(off, [0]), b.Unsqueeze(on, [0]), axis=0)]


@through(vjp, "Compress")
def compress(b: Emit, s: Site) -> Sequence[Value | None]:
    """Gather at the places where the condition holds; without an axis, of all elements in a row."""
    places = b.Squeeze(b.NonZero(s.input(1)), [0])
    axis = s.attr("axis")
    return [b.Gather(b.Reshape(s.input(0), [-1]) if axis is None else s.input(0), places, axis=axis or 0)]


@through(vjp, "Unique")
def unique(b: Emit, s: Site) -> Sequence[Value | None]:
    """Gather at the first occurrences: of equal elements the first is the one that is kept."""
    x, axis = s.input(0), s.attr("axis")
    first = b.many("Unique", 2, x, axis=axis, sorted=s.attr("sorted", 1))[1]
    return [b.Gather(b.Reshape(x, [-1]) if axis is None else x, first, axis=axis or 0), None, None, None][: len(s.y)]


@vjp("ReverseSequence")
def reverse_sequence(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g reversed likewise: twice reversed is as it was."""
    return [b.ReverseSequence(g, s.input(1), **s.attributes()), None]


@vjp("Range")
def arange(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """With y = start + i delta: dstart = Σ g, ddelta = Σ i g."""
    steps = b.Cast(positions(b, g, 0), to=int(g.dtype))  # type: ignore[arg-type]
    return [b.ReduceSum(g, [0], keepdims=0), None, b.ReduceSum(b.Mul(g, steps), [0], keepdims=0)]


def _add_at(b: Emit, scatter: Callable[..., Value], x: Value, index: Value, g: Value, **attributes: int) -> Value:
    """Emits zeros of the shape of ``x`` with g added at ``index``."""
    return scatter(zeros_like(b, x, g), index, g, reduction="add", **attributes)


def _flat(b: Emit, g: Value, x: Value, axis: int, index_rank: int) -> Value:
    """Merges the axes of g that the index made into one, in place of ``axis``."""
    if index_rank == 1:
        return g
    if index_rank == 0:
        return b.Unsqueeze(g, [axis])
    sizes = sizes_of(b, g)
    merged = product(b, sizes[axis : axis + index_rank])
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
