"""MeanVarianceNormalization: ``(x - E x) / (sqrt(E x^2 - (E x)^2) + 1e-9)`` over ``axes`` (default 0, 2, 3)."""

from __future__ import annotations

from collections.abc import Sequence

from xgraph.graph.emit import Emit, Value
from xgraph.graph.site import Site


def mean_variance_normalization(b: Emit, s: Site) -> Sequence[Value]:
    """Returns the normalised input; the variance is that of the centred values, which cancels less."""
    x = s.input(0)
    axes = s.ints("axes", (0, 2, 3))
    centred = b.Sub(x, b.ReduceMean(x, axes, keepdims=1))
    variance = b.ReduceMean(b.Mul(centred, centred), axes, keepdims=1)
    return [b.Div(centred, b.Add(b.Sqrt(variance), 1e-9))]
