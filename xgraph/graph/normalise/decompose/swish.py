"""Swish (opset 24): ``x sigmoid(alpha x)``."""

from __future__ import annotations

from collections.abc import Sequence

from xgraph.graph.emit import Emit, Value
from xgraph.graph.site import Site


def swish(b: Emit, s: Site) -> Sequence[Value]:
    """Returns the Swish of input 0."""
    x = s.input(0)
    alpha = float(s.attr("alpha", 1.0))
    return [b.Mul(x, b.Sigmoid(x if alpha == 1.0 else b.Mul(x, alpha)))]
