"""CenterCropPad (opset 18): one Pad, whose amounts are negative along the axes that are cropped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dims
from xgraph.graph.site import Site


def center_crop_pad(b: Emit, s: Site) -> Sequence[Value]:
    """Returns input 0 cut or padded with zeros to the sizes of input 1; what is odd goes to the end."""
    x, wanted = s.input(0), s.const(1)
    known = dims(x)
    if known is None:
        raise GraphError(f"CenterCropPad '{s.node.name}' needs an input of known rank")
    axes = [axis % len(known) for axis in s.ints("axes", range(len(known)))]
    sizes = [known[axis] for axis in axes]
    if wanted is not None and all(isinstance(size, int) for size in sizes):
        missing = np.ravel(wanted) - np.asarray(sizes, np.int64)
        # Towards zero, for padding and cropping alike.
        begins = np.sign(missing) * (np.abs(missing) // 2)
        return [b.Pad(x, np.concatenate([begins, missing - begins]), None, axes)]
    lacking = b.Sub(b.Cast(s.input(1), to=7), b.Gather(b.Shape(x), axes))
    first = b.Div(lacking, 2)
    return [b.Pad(x, b.Concat(first, b.Sub(lacking, first), axis=0), None, axes)]
