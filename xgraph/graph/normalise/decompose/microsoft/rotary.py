"""RotaryEmbedding as it was before the standard had one: positions come first, and may be one offset for all."""

from __future__ import annotations

from collections.abc import Sequence

from xgraph.graph.arithmetic import positions
from xgraph.graph.emit import Emit, Value
from xgraph.graph.normalise.decompose.microsoft.attention import merge_heads, width
from xgraph.graph.normalise.decompose.rotary_embedding import rotated
from xgraph.graph.shapes import rank
from xgraph.graph.site import Site


def rotary_embedding(b: Emit, s: Site) -> Sequence[Value]:
    """Returns the turned input, 3-D ``(N, T, heads * d)`` or 4-D ``(N, heads, T, d)``."""
    x, where = s.input(0), s.input(1)
    flat = rank(x) == 3
    turned = 2 * width(s, s.input(2))
    heads, total = int(s.attr("num_heads", 0)), width(s, x)
    size = total if not flat else total // heads if heads else turned
    split = b.Transpose(b.Reshape(x, [0, 0, -1, size]), perm=[0, 2, 1, 3]) if flat else x
    if rank(where) == 1:
        where = b.Unsqueeze(b.Add(positions(b, split, 2), where), [0])
    interleaved = bool(s.attr("interleaved", 0))
    result = turned_at(b, split, where, s.input(2), s.input(3), turned, size, interleaved=interleaved)
    return [merge_heads(b, result) if flat else result]


def turned_at(
    b: Emit, x: Value, where: Value, cos: Value, sin: Value, turned: int, size: int, *, interleaved: bool
) -> Value:
    """Returns (N, heads, T, size) turned by the rows ``where``, (N, T) or (1, T), of both tables."""
    cos, sin = (b.Unsqueeze(b.Gather(table, where, axis=0), [1]) for table in (cos, sin))
    return rotated(b, x, cos, sin, turned, size, interleaved=interleaved)


ROTATIONS = {"RotaryEmbedding": rotary_embedding}
