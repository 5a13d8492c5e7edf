"""Gelu (opset 20): ``x/2 (1 + erf(x / sqrt 2))``, or ``x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit, Value
from xgraph.graph.site import Site


def gelu(b: Emit, s: Site) -> Sequence[Value]:
    """Returns the Gelu of input 0 in the form of its ``approximate`` attribute."""
    x = s.input(0)
    kind = s.attr("approximate", "none")
    if kind == "none":
        inner = b.Erf(b.Div(x, math.sqrt(2)))
    elif kind == "tanh":
        cubic = b.Mul(b.Mul(b.Mul(x, x), x), 0.044715)
        inner = b.Tanh(b.Mul(b.Add(x, cubic), math.sqrt(2 / math.pi)))
    else:
        raise GraphError(f"Gelu '{s.node.name}' has approximate='{kind}'; the standard knows none and tanh")
    return [b.Mul(b.Mul(x, b.Add(inner, 1.0)), 0.5)]
