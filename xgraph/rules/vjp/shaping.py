"""Idioms about shapes that many rules share: static sizes where known, sizes computed in the graph else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xgraph.errors import GraphError, UnsupportedOpError
from xgraph.graph.arithmetic import joined, size_along, size_of
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dims, rank, static
from xgraph.graph.site import Site


def like(value: Value, x: Value) -> Value:
    """Returns ``value`` annotated with the shape of ``x``, which inference does not always see."""
    if x.shape is not None:
        value.shape = x.shape
    return value


def shape_of(b: Emit, x: Value) -> Value:
    """Returns the shape of ``x``: a constant where it is static, computed otherwise."""
    sizes = static(x)
    return b.Shape(x) if sizes is None else b.constant(np.asarray(sizes, np.int64))


def sizes_of(b: Emit, x: Value) -> list[int | Value]:
    """Returns the sizes of ``x``, static ones as ints and the others as int64 vectors of length 1."""
    sizes = [size_along(x, axis) for axis in range(rank(x))]
    return [d if isinstance(d, int) else size_of(b, x, axis) for axis, d in enumerate(sizes)]


def reshape(b: Emit, x: Value, sizes: Sequence[int | Value]) -> Value:
    """Reshapes ``x``; a single computed size becomes -1, so that no shape arithmetic is emitted for it."""
    computed = [size for size in sizes if not isinstance(size, int)]
    if len(computed) > 1 or (computed and (-1 in sizes or 0 in sizes)):
        return b.Reshape(x, joined(b, sizes), allowzero=0 if -1 in sizes or 0 in sizes else 1)
    return b.Reshape(x, [size if isinstance(size, int) else -1 for size in sizes])


def reshape_like(b: Emit, g: Value, x: Value) -> Value:
    """Reshapes ``g`` to the shape of ``x``."""
    known = dims(x)
    if known is not None and known == dims(g) and None not in known:
        return g
    if known is not None and sum(not isinstance(d, int) for d in known) <= 1 and 0 not in known:
        return like(b.Reshape(g, [d if isinstance(d, int) else -1 for d in known]), x)
    return like(b.Reshape(g, b.Shape(x), allowzero=1), x)


def expand_like(b: Emit, g: Value, x: Value) -> Value:
    """Broadcasts ``g``, of the rank of ``x``, to the shape of ``x``."""
    have, want = dims(g), dims(x)
    if have is None or want is None or len(have) != len(want):
        return like(b.Expand(g, shape_of(b, x)), x)
    if have == want and None not in want:
        return g
    pairs = list(zip(have, want, strict=True))
    if all(isinstance(w, int) or (w is not None and h == w) for h, w in pairs):
        return like(b.Expand(g, [w if isinstance(w, int) else 1 for _, w in pairs]), x)
    return like(b.Expand(g, b.Shape(x)), x)


def zeros_like(b: Emit, x: Value, dtype_of: Value | None = None) -> Value:
    """Emits zeros of the shape of ``x`` and of its dtype (or that of ``dtype_of``)."""
    return like(b.Expand(b.scalar(0.0, dtype_of or x), shape_of(b, x)), x)


def cast_like(b: Emit, value: Value, x: Value) -> Value:
    """Casts ``value`` to the dtype of ``x`` where it has another one."""
    if value.dtype == x.dtype:
        return value
    if x.dtype is None:
        raise GraphError(f"the dtype of '{x.name}' is not known")
    return b.Cast(value, to=int(x.dtype))


def widened(b: Emit, value: Value) -> Value:
    """Returns ``value`` in float32 where it is narrower, as long sums need it."""
    narrow = value.dtype is not None and value.dtype.itemsize < 4
    return b.Cast(value, to=1) if narrow else value


def positive(axis: int, x: Value) -> int:
    """Returns ``axis`` counted from the front."""
    return axis + rank(x) if axis < 0 else axis


def const_ints(s: Site, i: int) -> list[int] | None:
    """Returns the compile-time integers of input ``i``, or None if they are computed or omitted."""
    array = s.const(i)
    return None if array is None else [int(item) for item in np.ravel(array)]


def along(b: Emit, vector: Value, axis: int, x: Value) -> Value:
    """Views ``vector`` as ``[1, .., n, .., 1]``, with ``n`` at ``axis`` of the rank of ``x``."""
    axes = [other for other in range(rank(x)) if other != axis]
    return b.Unsqueeze(vector, axes) if axes else vector


def refuse(s: Site, what: str) -> UnsupportedOpError:
    """Returns the error for a use of an operator that its rule does not cover."""
    name = s.node.name or s.y[0].name
    return UnsupportedOpError(f"no gradient for {s.op} '{name}': {what}")


def refuse_wanted(s: Site, what: str, *inputs: int) -> None:
    """Raises where one of ``inputs`` (say, the weights) depends on what the gradient is asked for.

    Raises:
        UnsupportedOpError: One of them does.
    """
    for i in inputs:
        if i < len(s.wants) and s.wants[i]:
            raise refuse(s, f"its {what} is computed from what is explained, and only constant ones are supported")
