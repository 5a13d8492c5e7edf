"""Masks of RISE: M = U_y[shift_y + i] G U_x[shift_x + j]^T, a coarse random grid, upsampled and moved.

Bilinear upsampling is linear and separable, so a crop of an upsampled grid is a product with two thin matrices, whose
rows are picked by the shift. The matrices are fed, because they depend on the size of the picture.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from xgraph.feeds import SHIFT, SPREAD
from xgraph.graph.emit import Emit
from xgraph.graph.masking.segments import unpacked
from xgraph.graph.masking.window import positions
from xgraph.graph.shapes import dims
from xgraph.graph.splice import add_input


def grid(b: Emit, value: ir.Value, row: ir.Value, *, label: str, cells: tuple[int, int], channel_axis: int) -> ir.Value:
    """Returns the mask of each run, float32 with a channel axis of size 1.

    Args:
        b: emits into the graph.
        value: pictures.
        row: unused: a grid does not depend on the sample.
        label: unused.
        cells: rows and columns of the grid.
        channel_axis: of the pictures.
    """
    batch = (dims(value) or ())[0]
    bits = b.Slice(unpacked(b, batch), [0], [cells[0] * cells[1]], [1])
    coarse = b.Reshape(b.cast(bits, np.dtype(np.float32)), [0, *cells])
    shift = add_input(b.model, SHIFT, np.int64, [batch, 2])
    spreads = []
    for axis, name in enumerate(SPREAD):
        table = add_input(b.model, name, np.float32, [f"{name}_places", cells[axis]])
        spatial = [a for a in (1, 2, 3) if a != channel_axis][axis]
        start = b.Gather(shift, [axis], axis=1)
        places = b.Add(start, b.Unsqueeze(positions(b, value, spatial), [0]))
        spreads.append(b.Gather(table, places, axis=0))
    mask = b.MatMul(b.MatMul(spreads[0], coarse), b.Transpose(spreads[1], perm=[0, 2, 1]))
    return b.Unsqueeze(mask, [channel_axis])
