"""Idioms of emitted arithmetic that rules, lowerings and decompositions share: sizes, positions, polynomials."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import Dim, dims, rank


def size_along(x: Value, axis: int) -> Dim:
    """Returns what is known of the size of ``x`` along ``axis``.

    Raises:
        ShapeUnknownError: Not even the rank is known.
    """
    rank(x)  # for its error
    return (dims(x) or ())[axis]


def size_of(b: Emit, x: Value, axis: int) -> Value:
    """Returns the size of ``x`` along ``axis`` as an int64 vector of length 1."""
    axis %= rank(x)
    size = size_along(x, axis)
    return joined(b, [size]) if isinstance(size, int) else b.Shape(x, start=axis, end=axis + 1)


def joined(b: Emit, sizes: Sequence[int | Value]) -> Value:
    """Returns the vector of sizes that are numbers or int64 vectors of length 1."""
    if all(isinstance(size, int) for size in sizes):
        return b.constant(np.asarray(sizes, np.int64))
    parts = [joined(b, [size]) if isinstance(size, int) else size for size in sizes]
    return b.Concat(*parts, axis=0) if len(parts) > 1 else parts[0]


def product(b: Emit, sizes: Sequence[int | Value]) -> int | Value:
    """Returns the product of sizes, computed where one of them is."""
    total: int | Value = prod(size for size in sizes if isinstance(size, int))
    for size in sizes:
        if not isinstance(size, int):
            total = b.Mul(size, total)
    return total


def numbers(b: Emit, end: Value) -> Value:
    """Emits ``0, 1, .., end - 1`` for an int64 scalar."""
    return b.Range(b.scalar(0, end), end, b.scalar(1, end))


def count(b: Emit, size: Value) -> Value:
    """Emits ``0, 1, .., size - 1`` (int64) for a vector of length 1."""
    return numbers(b, b.Squeeze(size, [0]))


def positions(b: Emit, x: Value, axis: int) -> Value:
    """Returns ``0, 1, .., n - 1`` (int64) for the size ``n`` of ``x`` along ``axis``."""
    size = size_along(x, axis)
    return b.constant(np.arange(size, dtype=np.int64)) if isinstance(size, int) else count(b, size_of(b, x, axis))


def polynomial(b: Emit, x: Value, *coefficients: float) -> Value:
    """Emits a polynomial by Horner's rule, highest power first."""
    total = b.Mul(x, coefficients[0])
    for coefficient in coefficients[1:-1]:
        total = b.Mul(b.Add(total, coefficient), x)
    return b.Add(total, coefficients[-1])


def keys_kernel(b: Emit, distance: Value, a: float) -> tuple[Value, Value]:
    """Emits Keys' cubic kernel as its two pieces, for distances up to 1 and for those from 1 to 2."""
    near = polynomial(b, distance, a + 2, -(a + 3), 0.0, 1.0)
    far = polynomial(b, distance, a, -5 * a, 8 * a, -4 * a)
    return near, far
