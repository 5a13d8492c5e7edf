"""RotaryEmbedding (opset 23): pairs of features are turned by an angle that depends on the position.

``(x1, x2) -> (cos x1 - sin x2, sin x1 + cos x2)`` on the first ``rotary_embedding_dim`` features of each head,
where x1, x2 are the two halves, or the even and the odd features when ``interleaved`` (Su et al. 2021, RoFormer,
arXiv:2104.09864).
"""

from __future__ import annotations

from collections.abc import Sequence

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dims, rank
from xgraph.graph.site import Site


def rotary_embedding(b: Emit, s: Site) -> Sequence[Value]:
    """Returns the turned input, 3-D ``(N, T, heads * d)`` or 4-D ``(N, heads, T, d)``."""
    x, cos, sin = s.input(0), s.input(1), s.input(2)
    heads, flat = int(s.attr("num_heads", 0)), rank(x) == 3
    if flat and heads < 1:
        raise GraphError(f"RotaryEmbedding '{s.node.name}' on a 3-D input needs num_heads")
    width = (dims(x) or (None,))[-1]
    if not isinstance(width, int):
        raise GraphError(f"RotaryEmbedding '{s.node.name}' needs a static head size, and finds {width}")
    size = width // heads if flat else width
    split = b.Transpose(b.Reshape(x, [0, 0, heads, size]), perm=[0, 2, 1, 3]) if flat else x
    if s.has(3):
        cos, sin = b.Gather(cos, s.input(3), axis=0), b.Gather(sin, s.input(3), axis=0)
    cos, sin = b.Unsqueeze(cos, [1]), b.Unsqueeze(sin, [1])
    turned = int(s.attr("rotary_embedding_dim", 0)) or size
    result = rotated(b, split, cos, sin, turned, size, interleaved=bool(s.attr("interleaved", 0)))
    if flat:
        result = b.Reshape(b.Transpose(result, perm=[0, 2, 1, 3]), [0, 0, heads * size])
    return [result]


def rotated(b: Emit, x: Value, cos: Value, sin: Value, turned: int, size: int, *, interleaved: bool) -> Value:
    """Returns (N, heads, T, size) with the first ``turned`` features of each head turned."""
    if turned == size:
        return _turn(b, x, cos, sin, turned, interleaved=interleaved)
    result = _turn(b, b.Slice(x, [0], [turned], [3]), cos, sin, turned, interleaved=interleaved)
    return b.Concat(result, b.Slice(x, [turned], [size], [3]), axis=3)


def _turn(b: Emit, x: Value, cos: Value, sin: Value, size: int, *, interleaved: bool) -> Value:
    if interleaved:
        first, second = b.Slice(x, [0], [size], [3], [2]), b.Slice(x, [1], [size], [3], [2])
    else:
        first, second = b.Slice(x, [0], [size // 2], [3]), b.Slice(x, [size // 2], [size], [3])
    real = b.Sub(b.Mul(cos, first), b.Mul(sin, second))
    imaginary = b.Add(b.Mul(sin, first), b.Mul(cos, second))
    if not interleaved:
        return b.Concat(real, imaginary, axis=3)
    pairs = b.Concat(b.Unsqueeze(real, [4]), b.Unsqueeze(imaginary, [4]), axis=4)
    return b.Reshape(pairs, [0, 0, 0, size])
