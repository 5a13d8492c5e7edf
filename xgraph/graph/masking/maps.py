"""Masks that are maps: activation maps scaled to [0, 1], one for each run, or masks as they are fed."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from xgraph.feeds import CHANNEL, MAPS, MASK
from xgraph.graph.emit import Emit
from xgraph.graph.masking.rows import SAMPLES
from xgraph.graph.shapes import dims
from xgraph.graph.splice import add_input


def maps(b: Emit, value: ir.Value, row: ir.Value, *, label: str, channel_axis: int, flat: str = "zero") -> ir.Value:
    """Returns (U - min U) / (max U - min U), with U the map of the run's channel, resized to the picture.

    Bilinear, with half-pixel centres.

    Args:
        b: emits into the graph.
        value: pictures.
        row: which sample each run is of.
        label: unused.
        channel_axis: of the pictures.
        flat: a map that is the same everywhere is ``zero``, or stays as it is (``keep``).
    """
    batch = (dims(value) or ())[0]
    stack = add_input(b.model, MAPS, np.float32, [SAMPLES, "xg_channels", "xg_map_height", "xg_map_width"])
    channel = add_input(b.model, CHANNEL, np.int64, [batch])
    size = b.Shape(stack)
    channels = b.Gather(size, np.asarray(1))
    every = b.Reshape(stack, b.Concat([-1, 1], b.Slice(size, [2], [4]), axis=0))
    picked = b.Gather(every, b.Add(b.Mul(row, channels), channel), axis=0)
    spatial = [axis for axis in (1, 2, 3) if axis != channel_axis]
    target = b.Gather(b.Shape(value), spatial)
    sizes = b.Concat(b.Slice(b.Shape(picked), [0], [2]), target, axis=0)
    up = b.Resize(picked, None, None, sizes, mode="linear", coordinate_transformation_mode="half_pixel")
    low, high = b.ReduceMin(up, [1, 2, 3], keepdims=1), b.ReduceMax(up, [1, 2, 3], keepdims=1)
    span = b.Sub(high, low)
    # Asked of the map itself: resizing one that is the same everywhere leaves roundings in it.
    lowest, highest = b.ReduceMin(picked, [1, 2, 3], keepdims=1), b.ReduceMax(picked, [1, 2, 3], keepdims=1)
    same = b.Equal(lowest, highest)
    flat_map = up if flat == "keep" else b.Sub(up, up)
    scaled = b.Where(same, flat_map, b.Div(b.Sub(up, low), b.Where(same, 1.0, span)))
    return scaled if channel_axis == 1 else b.Transpose(scaled, perm=[0, 2, 3, 1])


def given(b: Emit, value: ir.Value, row: ir.Value, *, label: str, channel_axis: int) -> ir.Value:
    """Returns the masks that are fed, with a channel axis of size 1."""
    shape = dims(value) or ()
    spatial = [size for axis, size in enumerate(shape) if axis not in (0, channel_axis)]
    return b.Unsqueeze(add_input(b.model, MASK, np.float32, [shape[0], *spatial]), [channel_axis])
