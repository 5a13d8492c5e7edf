"""Scatters that add up run in float32 where values are 16 bits wide: no provider has a kernel for them in half.

The CPU provider takes such a node and fails when it runs it, so its own insertion of casts does not help.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from xgraph.graph.emit import Emit
from xgraph.graph.site import Site

_HALF = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def widen_scatters(b: Emit) -> None:
    """Puts casts around the scatters of a graph that reduce 16-bit values, in place."""
    for node in list(b.graph):
        s = Site(node)
        if s.op in ("ScatterElements", "ScatterND") and s.attr("reduction", "none") != "none":
            data, updates, output = s.input(0), s.input(2), s.y[0]
            if data.dtype in _HALF:
                half = data.dtype.numpy()
                with b.derived_from(node):
                    wide = [b.cast(data, np.dtype(np.float32)), s.input(1), b.cast(updates, np.dtype(np.float32))]
                    narrow = b.cast(b.op(node.op_type, wide, s.attributes())[0], half)
                narrow.shape, narrow.type = output.shape, output.type
                ir.convenience.replace_all_uses_with(output, narrow, replace_graph_outputs=True)
