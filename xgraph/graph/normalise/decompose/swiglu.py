"""SwiGLU (opset 28): ``a sigmoid(alpha a) b`` (Shazeer 2020, GLU Variants Improve Transformer, arXiv:2002.05202)."""

from __future__ import annotations

from collections.abc import Sequence

from xgraph.graph.emit import Emit, Value
from xgraph.graph.normalise.decompose.swish import swish
from xgraph.graph.site import Site


def swiglu(b: Emit, s: Site) -> Sequence[Value]:
    """Returns the Swish of input 0 times input 1."""
    return [b.Mul(swish(b, s)[0], s.input(1))]
