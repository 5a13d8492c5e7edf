"""Resampling: linear in its input, so the gradient goes through the transposed interpolation."""

from __future__ import annotations

from collections.abc import Sequence

from xgraph.graph.adjoint import resize_grad
from xgraph.graph.emit import Emit, Value
from xgraph.graph.site import Site
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.shaping import refuse_wanted


@vjp("Resize")
def resize(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = transposed interpolation of g."""
    refuse_wanted(s, "region or scale", 1, 2)
    return [resize_grad(b, s, g), *[None] * (len(s.x) - 1)]
