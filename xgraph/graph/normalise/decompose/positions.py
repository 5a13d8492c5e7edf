"""Sizes and positions along an axis: constants where they are static, computed in the graph otherwise."""

from __future__ import annotations

import numpy as np

from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dims, rank


def size_along(b: Emit, x: Value, axis: int) -> Value:
    """Returns the size of ``x`` along ``axis`` as an int64 vector of length 1."""
    axis %= rank(x)
    known = (dims(x) or ())[axis]
    if isinstance(known, int):
        return b.constant(np.asarray([known], np.int64))
    return b.Shape(x, start=axis, end=axis + 1)


def positions_along(b: Emit, x: Value, axis: int) -> Value:
    """Returns 0, 1, .. along ``axis`` of ``x``."""
    known = (dims(x) or ())[axis]
    if isinstance(known, int):
        return b.constant(np.arange(known, dtype=np.int64))
    end = b.Squeeze(size_along(b, x, axis), [0])
    return b.Range(np.asarray(0, np.int64), end, np.asarray(1, np.int64))
