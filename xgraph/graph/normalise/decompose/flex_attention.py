"""FlexAttention (``ai.onnx.preview``): attention whose scores and probabilities pass through bodies of the model's own.

``prob_mod(softmax(score_mod(scale Q K^T))) V`` (Dong et al. 2024, Flex Attention, arXiv:2412.05496).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir

from xgraph.errors import GraphError
from xgraph.graph.body import replay
from xgraph.graph.emit import Emit, Value
from xgraph.graph.normalise.decompose.attention import repeat_heads
from xgraph.graph.shapes import dims
from xgraph.graph.site import Site


def flex_attention(b: Emit, s: Site) -> Sequence[Value]:
    """Returns what the queries read; all between the products is computed in ``softmax_precision``."""
    query = s.input(0)
    key, value = repeat_heads(b, s, query, s.input(1)), repeat_heads(b, s, query, s.input(2))
    size = (dims(query) or (None,) * 4)[3]
    scale = s.attr("scale") or (1 / math.sqrt(size) if isinstance(size, int) else None)
    if scale is None or query.dtype is None:
        raise GraphError(f"FlexAttention '{s.node.name}' needs a static size of heads and a known dtype")
    usual = ir.DataType.DOUBLE if query.dtype == ir.DataType.DOUBLE else ir.DataType.FLOAT
    inner = ir.DataType(s.attr("softmax_precision") or usual)
    scores = _cast(b, b.MatMul(b.Mul(query, float(scale)), b.Transpose(key, perm=[0, 1, 3, 2])), inner)
    probability = b.Softmax(_modified(b, s, "score_mod", scores), axis=-1)
    return [b.MatMul(_cast(b, _modified(b, s, "prob_mod", probability), query.dtype), value)]


def _modified(b: Emit, s: Site, name: str, value: Value) -> Value:
    body = s.node.attributes.get(name)
    return value if body is None else replay(b, body.as_graph(), [value])[0]


def _cast(b: Emit, value: Value, dtype: ir.DataType) -> Value:
    return value if value.dtype == dtype else b.Cast(value, to=int(dtype))
