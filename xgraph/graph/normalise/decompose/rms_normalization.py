"""RMSNormalization (opset 23): ``x / sqrt(mean(x^2) + eps) * scale`` over the axes from ``axis`` on."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import rank
from xgraph.graph.site import Site


def rms_normalization(b: Emit, s: Site) -> Sequence[Value]:
    """Returns the normalised input; the division runs in the precision of ``stash_type``, as the standard says."""
    x, scale = s.input(0), s.input(1)
    axes = list(range(int(s.attr("axis", -1)) % rank(x), rank(x)))
    inner_type = ir.DataType(int(s.attr("stash_type", 1)))
    wide = x if x.dtype in (inner_type, ir.DataType.DOUBLE) else b.Cast(x, to=int(inner_type))
    mean = b.ReduceMean(b.Mul(wide, wide), axes, keepdims=1)
    normalised = b.Div(wide, b.Sqrt(b.Add(mean, float(s.attr("epsilon", 1e-5)))))
    if wide is not x:
        normalised = b.Cast(normalised, to=int(x.dtype or inner_type))
    return [b.Mul(normalised, scale)]
