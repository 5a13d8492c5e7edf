"""Attention with the forms of masks, packings and pasts that ONNX Runtime's operators know.

Emitted in the form that recognisers know: Mul(Q, scale) -> MatMul(K^T) -> Add(bias) -> Softmax -> MatMul(V).
Masks become a bias of 0 and ``mask_filter_value`` (-10000), so that gradients stay finite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import ml_dtypes
import numpy as np

from xgraph.errors import GraphError
from xgraph.graph.arithmetic import positions, size_of
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dims, rank
from xgraph.graph.site import Site


def attention(b: Emit, s: Site) -> Sequence[Value | None]:
    """Self-attention of (N, T, d) with the three projections in one weight (d, q + k + v)."""
    projected = b.MatMul(s.input(0), s.input(1))
    if s.has(2):
        projected = b.Add(projected, s.input(2))
    return attended(b, s, projected, mask=3, past=4, bias=5)


def attended(b: Emit, s: Site, projected: Value, *, mask: int, past: int, bias: int) -> Sequence[Value | None]:
    """Returns (output, present) of projections (N, T, q + k + v); the other arguments are numbers of inputs."""
    _refuse(s, "do_rotary", "past_present_share_buffer")
    heads, total = int(s.attr("num_heads")), width(s, projected)
    sizes = s.ints("qkv_hidden_sizes", [total // 3] * 3)
    parts = b.many("Split", 3, projected, np.asarray(sizes, np.int64), axis=-1)
    query, key, value = (split_heads(b, part, heads) for part in parts)
    if s.has(past):
        key, value = (
            b.Concat(b.Gather(s.input(past), np.asarray(i, np.int64), axis=0), new, axis=2)
            for i, new in enumerate((key, value))
        )
    added = _padding(b, s, mask, key)
    added.append(s.input(bias) if s.has(bias) else None)
    if s.attr("unidirectional", 0):
        added.append(causal(b, query, key))
    outputs: list[Value | None] = [attend(b, query, key, value, s.attr("scale"), added)]
    if len(s.y) > 1:
        outputs.append(b.Concat(b.Unsqueeze(key, [0]), b.Unsqueeze(value, [0]), axis=0))
    return outputs


def multi_head_attention(b: Emit, s: Site) -> Sequence[Value | None]:
    """Attention of projections that come apart (N, T, d), with heads (N, heads, T, d), or packed on the last axes."""
    _refuse(s, "past_present_share_buffer")
    if s.has(8) or s.has(9):
        raise GraphError(f"{s.op} '{s.node.name}' shares its cache between steps; export the model without a cache")
    heads = int(s.attr("num_heads"))
    query, key, value = _projections(b, s, heads)
    if s.has(6):
        key, value = b.Concat(s.input(6), key, axis=2), b.Concat(s.input(7), value, axis=2)
    added = [*_padding(b, s, 4, key), s.input(5) if s.has(5) else None]
    if s.attr("unidirectional", 0):
        added.append(causal(b, query, key))
    scores = scaled_scores(b, query, key, s.attr("scale"), added)
    outputs: list[Value | None] = [weighted(b, scores, value), key, value, scores]
    # Nodes of their own, because a present may be an input of the graph or read under another name.
    return [y if i == 0 or y is None else b.Identity(y) for i, y in enumerate(outputs[: len(s.y)])]


def attend(
    b: Emit, query: Value, key: Value, value: Value, scale: float | None, added: Sequence[Value | None]
) -> Value:
    """Returns ``softmax(scale Q K^T + ...) V`` of operands (N, heads, T, d) as (N, T, heads d)."""
    return weighted(b, scaled_scores(b, query, key, scale, added), value)


def scaled_scores(b: Emit, query: Value, key: Value, scale: float | None, added: Sequence[Value | None]) -> Value:
    """Returns ``scale Q K^T`` plus everything in ``added``; the usual scale is 1 over the root of the head's size."""
    size_of_head = (dims(query) or ())[3]
    if not scale:
        if not isinstance(size_of_head, int):
            raise GraphError(f"attention needs a static size of heads, and finds {size_of_head}")
        scale = 1 / math.sqrt(size_of_head)
    scores = b.MatMul(b.Mul(query, float(scale)), b.Transpose(key, perm=[0, 1, 3, 2]))
    for term in added:
        scores = scores if term is None else b.Add(scores, term)
    return scores


def weighted(b: Emit, scores: Value, value: Value) -> Value:
    """Returns ``softmax(scores) V`` with its heads merged."""
    return merge_heads(b, b.MatMul(b.Softmax(scores, axis=-1), value))


def merge_heads(b: Emit, x: Value) -> Value:
    """Returns (N, heads, T, d) as (N, T, heads d)."""
    known = dims(x) or ()
    merged = known[1] * known[3] if isinstance(known[1], int) and isinstance(known[3], int) else -1
    return b.Reshape(b.Transpose(x, perm=[0, 2, 1, 3]), [0, 0, merged])


def split_heads(b: Emit, x: Value, heads: int) -> Value:
    """Returns (N, T, heads d) as (N, heads, T, d)."""
    return b.Transpose(b.Reshape(x, [0, 0, heads, -1]), perm=[0, 2, 1, 3])


def causal(b: Emit, query: Value, key: Value) -> Value:
    """Returns a bias that excludes the keys behind each query; the last query reads every key."""
    offset = b.Sub(size_of(b, key, 2), size_of(b, query, 2))
    last = b.Unsqueeze(b.Add(positions(b, query, 2), offset), [1])
    return excluded(b, b.Greater(positions(b, key, 2), last), lowest(query), query)


def excluded(b: Emit, condition: Value, number: float, like: Value) -> Value:
    """Returns ``number`` where the condition holds and 0 elsewhere, in the dtype of ``like``."""
    return b.Where(condition, b.scalar(number, like), b.scalar(0.0, like))


def _projections(b: Emit, s: Site, heads: int) -> list[Value]:
    query = s.input(0)
    if rank(query) == 5:
        _refuse_bias(s)
        return _unpacked(b, query, 3)
    bias: Sequence[Value | None] = (None, None, None)
    if s.has(3):
        each = width(s, query)
        rest = width(s, s.input(3)) - 2 * each
        bias = b.many("Split", 3, s.input(3), np.asarray([each, each, rest], np.int64), axis=0)
    if s.has(1) and rank(s.input(1)) == 5:
        _refuse_bias(s)
        return [split_heads(b, query, heads), *_unpacked(b, s.input(1), 2)]
    parts = []
    for i in range(3):
        x, add = s.input(i), bias[i]
        if rank(x) == 4:
            parts.append(x)
        else:
            parts.append(split_heads(b, x if add is None else b.Add(x, add), heads))
    return parts


def _unpacked(b: Emit, x: Value, count: int) -> list[Value]:
    parts = [b.Gather(x, np.asarray(i, np.int64), axis=3) for i in range(count)]
    return [b.Transpose(part, perm=[0, 2, 1, 3]) for part in parts]


def _padding(b: Emit, s: Site, i: int, key: Value) -> list[Value | None]:
    """Returns the bias of the padding mask: lengths (N,), a mask (N, keys), (N, queries, keys) or (N, 1, M, M)."""
    if not s.has(i):
        return []
    mask = s.input(i)
    kind = rank(mask)
    number = float(s.attr("mask_filter_value", -10000.0))
    if kind == 1:
        known, batch = (dims(mask) or (None,))[0], (dims(key) or (None,))[0]
        if known != batch:
            raise GraphError(
                f"{s.op} '{s.node.name}' has a mask of the shape [{known}] for a batch of {batch}; lengths (one per "
                "row) and masks of 2 or 3 axes are supported"
            )
        lengths = b.Reshape(b.Cast(mask, to=7), [-1, 1, 1, 1])
        return [excluded(b, b.GreaterOrEqual(positions(b, key, 2), lengths), number, key)]
    if kind == 4:
        raise GraphError(f"{s.op} '{s.node.name}' has a mask of 4 axes; masks of 1 to 3 are supported")
    broadcast = b.Unsqueeze(mask, [1, 2] if kind == 2 else [1])
    return [excluded(b, b.LessOrEqual(broadcast, np.asarray(0, mask.dtype.numpy())), number, key)]  # type: ignore[union-attr]


def lowest(scores: Value) -> float:
    """Returns half the most negative number: adding a score to it cannot overflow."""
    dtype = scores.dtype.numpy() if scores.dtype is not None else np.dtype(np.float32)
    return float(ml_dtypes.finfo(dtype).min) / 2  # type: ignore[no-untyped-call]


def width(s: Site, x: Value) -> int:
    """Returns the size of the last axis, which must be static."""
    found = (dims(x) or (None,))[-1]
    if not isinstance(found, int):
        raise GraphError(f"{s.op} '{s.node.name}' needs a static width, and finds {found}")
    return found


def _refuse(s: Site, *attributes: str) -> None:
    for name in attributes:
        if s.attr(name, 0):
            raise GraphError(f"{s.op} '{s.node.name}' has {name}=1, which is not supported; export the model without")


def _refuse_bias(s: Site) -> None:
    if s.has(3):
        raise GraphError(f"{s.op} '{s.node.name}' has packed operands and a bias, which do not go together")


ATTENTIONS = {"Attention": attention, "MultiHeadAttention": multi_head_attention}
