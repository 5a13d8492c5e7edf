"""MaxPoolGrad: what arrives at a window goes to its maximum, to the first one where several are equal."""

from __future__ import annotations

import onnx_ir as ir

from xgraph.graph.emit import Emit
from xgraph.graph.site import Site


def max_pool_grad(b: Emit, s: Site, profile: str) -> ir.Value:
    """Emits ``dx[argmax(window o)] += g[o]``."""
    return _scattered(b, s)


def _scattered(b: Emit, s: Site) -> ir.Value:
    """Emits a second MaxPool for its indices, which count over the whole ``[N, C, *sizes]``, and a scatter."""
    g, x = s.input(0), s.input(2)
    # Column-major storage would only number the same maxima differently.
    attributes = {name: value for name, value in s.attributes().items() if name != "storage_order"}
    _, indices = b.MaxPool(x, outputs=2, **attributes)
    shape = b.Shape(x)
    zeros = b.Expand(b.scalar(0.0, g), b.Reshape(b.Size(x), [1]))
    flat = b.ScatterElements(zeros, b.Reshape(indices, [-1]), b.Reshape(g, [-1]), axis=0, reduction="add")
    return b.Reshape(flat, shape)
