"""Masks of features: a label map numbers the features of every entry, a bit tells whether each is on."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from xgraph.feeds import BITS
from xgraph.graph.emit import Emit
from xgraph.graph.masking.rows import SAMPLES, gather
from xgraph.graph.shapes import dims, dtype_of, is_float
from xgraph.graph.splice import add_input


def segments(b: Emit, value: ir.Value, row: ir.Value, *, label: str) -> ir.Value:
    """Returns the mask of each run, of the label map's shape: bit ``label[entry]``; float where values are."""
    shape = dims(value) or ()
    open_shape = [SAMPLES, *(f"{label}_dim{axis}" for axis in range(1, len(shape)))]
    labels = gather(b, add_input(b.model, label, np.int32, open_shape), row)
    # Cast before they are spread over the sample.
    bits = b.cast(unpacked(b, shape[0]), dtype_of(value)) if is_float(value) else unpacked(b, shape[0])
    on = b.GatherElements(bits, b.Flatten(labels, axis=1), axis=1)
    mask = b.Reshape(on, b.Shape(labels))
    mask.shape = labels.shape
    return mask


def unpacked(b: Emit, batch: int | str | None) -> ir.Value:
    """Returns the bits of each run as bool (batch, 8 * bytes)."""
    known = {item.name: item for item in b.graph.inputs}
    bits: Any = known.get(BITS) or add_input(b.model, BITS, np.uint8, [batch, "xg_bytes"])
    # In int32, because shifts of bytes have kernels on few devices.
    wide = b.Unsqueeze(b.cast(bits, np.dtype(np.int32)), [2])
    powers = (1 << np.arange(8)).astype(np.int32)
    each = b.Mod(b.Div(wide, powers), np.array([2], np.int32))
    return b.cast(b.Reshape(each, [0, -1]), np.dtype(bool))
