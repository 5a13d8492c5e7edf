"""Masks of occlusion: off inside a box of one size, whose corner each run names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from xgraph.feeds import CORNER
from xgraph.graph.emit import Emit
from xgraph.graph.shapes import dims
from xgraph.graph.splice import add_input


def window(b: Emit, value: ir.Value, row: ir.Value, *, label: str, size: Sequence[int | None]) -> ir.Value:
    """Returns the mask of each run, bool, off where start <= index < start + size on all axes.

    Args:
        b: emits into the graph.
        value: what is masked.
        row: unused: a window does not depend on the sample.
        label: unused.
        size: of the box on each axis behind the batch; None: all of the axis.
    """
    shape = dims(value) or ()
    corner = add_input(b.model, CORNER, np.int64, [shape[0], len(shape) - 1])
    inside = None
    for axis, extent in enumerate(size):
        if extent is None:
            continue
        rank = len(shape) - 1
        start = b.Unsqueeze(b.Gather(corner, [axis], axis=1), list(range(2, rank + 1)))
        place = b.Reshape(positions(b, value, axis + 1), [-1 if a == axis else 1 for a in range(rank)])
        offset = b.Sub(place, start)
        here = b.And(b.GreaterOrEqual(offset, 0), b.Less(offset, extent))
        inside = here if inside is None else b.And(inside, here)
    if inside is None:  # the box covers everything, unless it begins behind the end
        first = b.Unsqueeze(b.Gather(corner, [0], axis=1), list(range(2, len(shape))))
        return b.Greater(first, 0)
    return b.Not(inside)


def positions(b: Emit, value: ir.Value, axis: int) -> ir.Value:
    """Returns 0, 1, 2 ... along an axis."""
    size = (dims(value) or ())[axis]
    if isinstance(size, int):
        return b.constant(np.arange(size, dtype=np.int64))
    length = b.Squeeze(b.Gather(b.Shape(value), [axis]), [0])
    return b.Range(np.asarray(0), length, np.asarray(1))
