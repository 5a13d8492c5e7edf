"""TensorScatter (opset 24), the update of a key or value cache, as ScatterElements."""

from __future__ import annotations

from collections.abc import Sequence

from xgraph.graph.arithmetic import positions, size_of
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import rank
from xgraph.graph.site import Site


def tensor_scatter(b: Emit, s: Site) -> Sequence[Value]:
    """Returns the cache with the update at ``write index + 0, 1, ..`` along the axis, modulo its size if circular."""
    cache, update = s.input(0), s.input(1)
    axis = int(s.attr("axis", -2)) % rank(cache)
    place = b.Unsqueeze(positions(b, update, axis), [i for i in range(rank(cache)) if i != axis])
    if s.has(2):
        place = b.Add(place, b.Reshape(s.input(2), [-1] + [1] * (rank(cache) - 1)))
    if s.attr("mode", "linear") == "circular":
        place = b.Mod(place, size_of(b, cache, axis))
    return [b.ScatterElements(cache, b.Expand(place, b.Shape(update)), update, axis=axis)]
