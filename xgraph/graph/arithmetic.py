"""Idioms of emitted arithmetic that rules and lowerings share."""

from __future__ import annotations

import numpy as np

from xgraph.graph.emit import Emit, Value


def count(b: Emit, size: Value) -> Value:
    """Emits ``0, 1, .., size - 1`` (int64) for a vector of length 1."""
    zero, one = b.constant(np.asarray(0, np.int64)), b.constant(np.asarray(1, np.int64))
    return b.Range(zero, b.Squeeze(size, [0]), one)


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
