"""What a masked value becomes: the sample where the mask is on, the baseline where it is off."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit
from xgraph.graph.masking.rows import SAMPLES, gather
from xgraph.graph.shapes import dims, dtype_of
from xgraph.graph.splice import add_input


def blend(b: Emit, value: ir.Value, mask: ir.Value, row: ir.Value, baseline: str) -> ir.Value:
    """Returns m ⊙ value + (1 - m) ⊙ baseline for a mask that is bool, or float from 0 to 1; both broadcast.

    Where m is 1 the value comes through to the bit. Integers are selected, which for floats would take several times
    as long: a broadcast Where is slow on CPUs.
    """
    shape = dims(value) or ()
    floating = value.dtype is not None and value.dtype.is_floating_point()
    fed = np.float32 if floating else dtype_of(value).type
    # Sizes stay open, so that a constant baseline need not be blown up to the value's size.
    open_shape = [SAMPLES, *(f"{baseline}_dim{axis}" for axis in range(1, len(shape)))]
    start = gather(b, add_input(b.model, baseline, fed, open_shape), row)
    if dtype_of(start) != dtype_of(value):
        start = b.cast(start, dtype_of(value))
    if floating:
        weight = mask if dtype_of(mask) == dtype_of(value) else b.cast(mask, dtype_of(value))
        blended = b.Add(b.Mul(value, weight), b.Mul(start, b.Sub(1.0, weight)))
    elif mask.dtype == ir.DataType.BOOL:
        blended = b.Where(mask, value, start)
    else:
        raise GraphError(f"'{value.name}' is no float, so a soft mask cannot lie on it")
    blended.shape = value.shape
    return blended
