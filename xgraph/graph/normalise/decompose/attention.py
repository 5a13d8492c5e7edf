"""Attention (opset 23 and later): ``softmax(scale Q K^T [softcap] + mask) V`` per head.

Emitted in the form that recognisers know: Mul(Q, scale) -> MatMul(K^T) -> Add(bias) -> Softmax -> MatMul(V).
Boolean conditions (mask, causal, window, padding) become one bias of 0 and a large negative number, and what they
exclude is set to zero after Softmax where a whole row may be excluded: finite numbers only, so gradients stay finite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import ml_dtypes
import numpy as np
import onnx_ir as ir

from xgraph.errors import GraphError
from xgraph.graph.arithmetic import positions, size_of
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import Dim, dims, rank
from xgraph.graph.site import Site

_RAW, _CAPPED, _BIASED, _SOFTMAX = range(4)
"""Values of ``qk_matmul_output_mode``, as onnx 1.23 states them (earlier texts swapped 1 and 2)."""


def attention(b: Emit, s: Site) -> Sequence[Value | None]:
    """Returns (Y, present key, present value, the product that ``qk_matmul_output_mode`` asks for)."""
    flat = rank(s.input(0)) == 3
    query, key, value = (_heads(b, s, i, flat) for i in range(3))
    if s.has(4):
        key = b.Concat(s.input(4), key, axis=2)
    if s.has(5):
        value = b.Concat(s.input(5), value, axis=2)
    present = key, value
    key, value = repeat_heads(b, s, query, key), repeat_heads(b, s, query, value)
    scores = _scores(b, s, query, key)
    raw = scores
    softcap = float(s.attr("softcap", 0.0))
    if softcap:
        scores = b.Mul(b.Tanh(b.Div(scores, softcap)), softcap)
    capped = scores
    allowed, additive = _allowed(b, s, query, key)
    if allowed is not None:
        scores = b.Add(scores, b.Where(allowed, b.scalar(0.0, scores), b.scalar(_lowest(s, scores), scores)))
    if additive is not None:
        scores = b.Add(scores, additive)
    probability = _softmax(b, s, scores)
    if additive is not None:
        probability = b.Where(b.IsNaN(probability), b.scalar(0.0, probability), probability)
    if allowed is not None and (s.has(3) or s.has(6) or _windowed(s)):
        probability = b.Where(allowed, probability, b.scalar(0.0, probability))
    result = b.MatMul(probability, value)
    if flat:
        width = int(s.attr("q_num_heads", 0)) * _dim(s, value, 3)
        result = b.Reshape(b.Transpose(result, perm=[0, 2, 1, 3]), [0, 0, width])
    outputs: list[Value | None] = [result, None, None, None]
    reads = [i < len(s.y) and bool(s.y[i].uses() or s.y[i].is_graph_output()) for i in range(4)]
    for i in (1, 2):
        # An own node, because the value may be an input of the graph, or read under another name.
        outputs[i] = b.Identity(present[i - 1]) if reads[i] else None
    if reads[3]:
        mode = int(s.attr("qk_matmul_output_mode", _RAW))
        if mode == _BIASED and allowed is not None:
            scores = b.Where(allowed, scores, b.scalar(-math.inf, scores))
        chosen = {_RAW: raw, _CAPPED: capped, _BIASED: scores, _SOFTMAX: probability}[mode]
        outputs[3] = b.Identity(chosen)
    return outputs[: len(s.y)]


def _heads(b: Emit, s: Site, i: int, flat: bool) -> Value:
    """Returns operand ``i`` as (N, heads, T, d)."""
    if not flat:
        return s.input(i)
    name = "q_num_heads" if i == 0 else "kv_num_heads"
    count = int(s.attr(name, 0))
    if count < 1:
        raise GraphError(f"Attention '{s.node.name}' on 3-D inputs needs {name}")
    size = _dim(s, s.input(i), 2) // count
    return b.Transpose(b.Reshape(s.input(i), [0, 0, count, size]), perm=[0, 2, 1, 3])


def repeat_heads(b: Emit, s: Site, query: Value, value: Value) -> Value:
    """Lets groups of query heads read one key or value head: h0, h0, h1, h1 ..."""
    wanted, have = (dims(query) or (None,) * 4)[1], (dims(value) or (None,) * 4)[1]
    if wanted == have:
        return value
    if not isinstance(wanted, int) or not isinstance(have, int) or wanted % have:
        raise GraphError(f"{s.op} '{s.node.name}' has {wanted} query heads and {have} key heads")
    return b.Gather(value, np.repeat(np.arange(have, dtype=np.int64), wanted // have), axis=1)


def _scores(b: Emit, s: Site, query: Value, key: Value) -> Value:
    scale = s.attr("scale")
    if scale is None:
        scale = 1 / math.sqrt(_dim(s, query, 3))
    return b.MatMul(b.Mul(query, float(scale)), b.Transpose(key, perm=[0, 1, 3, 2]))


def _softmax(b: Emit, s: Site, scores: Value) -> Value:
    precision = s.attr("softmax_precision")
    if precision in (None, 0) or scores.dtype is None or ir.DataType(precision) == scores.dtype:
        return b.Softmax(scores, axis=-1)
    return b.Cast(b.Softmax(b.Cast(scores, to=int(precision)), axis=-1), to=int(scores.dtype))


def _windowed(s: Site) -> bool:
    return int(s.attr("left_window_size", -1)) >= 0 or int(s.attr("right_window_size", -1)) >= 0


def _allowed(b: Emit, s: Site, query: Value, key: Value) -> tuple[Value | None, Value | None]:
    """Returns (which keys a query may read, or None for all; the float mask to add, or None)."""
    conditions: list[Value] = []
    additive: Value | None = None
    if s.has(3):
        mask = _padded_mask(b, s, key)
        if mask.dtype == ir.DataType.BOOL:
            conditions.append(mask)
        else:
            additive = mask
    keys: Value | None = None
    if s.attr("is_causal", 0) or _windowed(s) or s.has(6):
        keys = positions(b, key, 2)
    if keys is not None and (s.attr("is_causal", 0) or _windowed(s)):
        position = _query_positions(b, s, query)
        left, right = int(s.attr("left_window_size", -1)), int(s.attr("right_window_size", -1))
        if s.attr("is_causal", 0):
            conditions.append(b.LessOrEqual(keys, position))
        if left >= 0:
            conditions.append(b.LessOrEqual(b.Sub(position, left), keys))
        if right >= 0:
            conditions.append(b.LessOrEqual(keys, b.Add(position, right)))
    if keys is not None and s.has(6):
        conditions.append(b.Less(keys, b.Reshape(s.input(6), [-1, 1, 1, 1])))
    allowed: Value | None = None
    for condition in conditions:
        allowed = condition if allowed is None else b.And(allowed, condition)
    return allowed, additive


def _padded_mask(b: Emit, s: Site, key: Value) -> Value:
    """A mask may be shorter than the keys: what it does not mention is excluded."""
    mask = s.input(3)
    have, wanted = (dims(mask) or (None,))[-1], (dims(key) or (None,) * 4)[2]
    if not isinstance(have, int) or not isinstance(wanted, int) or have in (1, wanted) or have > wanted:
        return mask
    pads = [0] * (2 * rank(mask) - 1) + [wanted - have]
    if mask.dtype == ir.DataType.BOOL:
        return b.Pad(mask, pads, np.asarray(False))
    return b.Pad(mask, pads, b.scalar(-math.inf, mask))


def _query_positions(b: Emit, s: Site, query: Value) -> Value:
    """Returns the position of each query among the keys, as a column."""
    column = b.Unsqueeze(positions(b, query, 2), [1])
    if s.has(4):
        return b.Add(column, size_of(b, s.input(4), 2))
    if s.has(6):
        offset = b.Sub(b.Reshape(s.input(6), [-1, 1, 1, 1]), size_of(b, query, 2))
        return b.Add(column, offset)
    return column


def _lowest(s: Site, scores: Value) -> float:
    """Half the most negative number that Softmax can read too: adding a score to it cannot overflow."""
    dtype = scores.dtype or ir.DataType.FLOAT
    types = [dtype, ir.DataType(s.attr("softmax_precision") or dtype)]
    return max(float(ml_dtypes.finfo(each.numpy()).min) for each in types) / 2  # type: ignore[no-untyped-call]


def _dim(s: Site, value: Value, axis: int) -> int:
    size: Dim = (dims(value) or (None,) * 4)[axis]
    if not isinstance(size, int):
        raise GraphError(f"Attention '{s.node.name}' needs a static number and size of heads, and finds {size}")
    return size
