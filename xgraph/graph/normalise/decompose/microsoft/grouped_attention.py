"""GroupQueryAttention: causal attention whose keys and values are kept in a cache (large language models).

Groups of query heads read one key head. Row n holds ``seqlens_k[n] + 1`` tokens, of which the last T are new. The
cache has any capacity and the old tokens first; where T is the longest row too, all is new and the cache is not read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from xgraph.errors import GraphError
from xgraph.graph.arithmetic import count, positions, size_of
from xgraph.graph.emit import Emit, Value
from xgraph.graph.normalise.decompose.attention import repeat_heads
from xgraph.graph.normalise.decompose.microsoft.attention import excluded, lowest, merge_heads, split_heads, width
from xgraph.graph.normalise.decompose.microsoft.rotary import turned_at
from xgraph.graph.shapes import dims
from xgraph.graph.site import Site

_PAST_KEY, _PAST_VALUE, _LENGTHS, _LONGEST, _COS, _SIN, _POSITIONS, _BIAS, _SINK = range(3, 12)
"""Numbers of inputs; behind them are those of quantised caches and of norms that only GPUs know."""


def group_query_attention(b: Emit, s: Site) -> Sequence[Value | None]:
    """Returns (output (N, T, heads d), present key, present value (N, key heads, capacity, d))."""
    _refuse(s)
    query, key, value = _projections(b, s)
    old = _old(b, s, query)
    if int(s.attr("do_rotary", 0)):
        where = _rotary_positions(b, s, query, old)
        query, key = (_turned(b, s, x, where) for x in (query, key))
    present = [key, value]
    if old is not None:
        present = [_cached(b, s, s.input(past), x, old) for past, x in ((_PAST_KEY, key), (_PAST_VALUE, value))]
        # Behind the longest row a cache is empty.
        key, value = (_sized(b, s, b.Slice(x, [0], _longest(b, s), [2]), key) for x in present)
    key, value = repeat_heads(b, s, query, key), repeat_heads(b, s, query, value)
    probabilities = _probabilities(b, s, _scores(b, s, query, key, old))
    y = merge_heads(b, b.MatMul(probabilities, value))
    # Nodes of their own, because the standard outputs may be read under other names.
    return [y, *(b.Identity(x) for x in present)][: len(s.y)]


def _projections(b: Emit, s: Site) -> list[Value]:
    """Returns query, key and value as (N, heads, T, d)."""
    heads = [int(s.attr("num_heads")), *[int(s.attr("kv_num_heads"))] * 2]
    if s.has(1):
        return [split_heads(b, s.input(i), heads[i]) for i in range(3)]
    size = width(s, s.input(0)) // sum(heads)
    parts = b.many("Split", 3, s.input(0), np.asarray([size * n for n in heads], np.int64), axis=-1)
    return [split_heads(b, part, n) for part, n in zip(parts, heads, strict=True)]


def _old(b: Emit, s: Site, query: Value) -> Value | None:
    """Returns how many tokens each row (N, 1) has in the cache; None: all are new."""
    if not s.has(_PAST_KEY) or (dims(s.input(_PAST_KEY)) or (None,) * 4)[2] == 0:
        return None
    old = b.Sub(_lengths(b, s), size_of(b, query, 2))
    return b.Where(_is_all_new(b, s, query), np.asarray(0, np.int64), old)


def _is_all_new(b: Emit, s: Site, query: Value) -> Value:
    return b.Equal(_longest(b, s), size_of(b, query, 2))


def _longest(b: Emit, s: Site) -> Value:
    return b.Cast(b.Reshape(s.input(_LONGEST), [1]), to=7)


def _lengths(b: Emit, s: Site) -> Value:
    """Returns how many tokens each row (N, 1) has."""
    return b.Add(b.Cast(b.Reshape(s.input(_LENGTHS), [-1, 1]), to=7), np.asarray(1, np.int64))


def _rotary_positions(b: Emit, s: Site, query: Value, old: Value | None) -> Value:
    """Returns positions (N, T) or (1, T); of those that are given, only the very first counts where all is new."""
    new = b.Unsqueeze(positions(b, query, 2), [0])
    if not s.has(_POSITIONS):
        return new if old is None else b.Add(old, new)
    given = s.input(_POSITIONS)
    first = b.Add(b.Slice(given, [0, 0], [1, 1], [0, 1]), new)
    if old is None:
        return first
    return b.Where(_is_all_new(b, s, query), first, given)


def _turned(b: Emit, s: Site, x: Value, where: Value) -> Value:
    tables = s.input(_COS), s.input(_SIN)
    interleaved = bool(s.attr("rotary_interleaved", 0))
    return turned_at(b, x, where, *tables, 2 * width(s, tables[0]), width(s, x), interleaved=interleaved)


def _cached(b: Emit, s: Site, past: Value, new: Value, old: Value) -> Value:
    """Returns the old tokens of each row, then its new ones, then zeros, up to the capacity."""
    capacity, fresh = b.Shape(past, start=2, end=3), size_of(b, new, 2)
    place = b.Unsqueeze(count(b, b.Max(capacity, _longest(b, s))), [0])
    index = b.Where(b.Less(place, old), place, b.Add(b.Sub(place, old), capacity))
    index = b.Min(index, b.Sub(b.Add(capacity, fresh), np.asarray([1], np.int64)))
    rows = b.Transpose(b.Concat(past, new, axis=2), perm=[0, 2, 1, 3])
    found = b.Transpose(b.GatherND(rows, b.Unsqueeze(index, [2]), batch_dims=1), perm=[0, 2, 1, 3])
    filled = b.Unsqueeze(b.Less(place, b.Add(old, fresh)), [1, 3])
    return b.Where(filled, _sized(b, s, found, new), b.scalar(0.0, found))


def _sized(b: Emit, s: Site, x: Value, like: Value) -> Value:
    """Tells how many heads there are and of what size, where inference does not see it."""
    return b.Reshape(x, [0, int(s.attr("kv_num_heads")), -1, width(s, like)])


def _scores(b: Emit, s: Site, query: Value, key: Value, old: Value | None) -> Value:
    """Returns ``scale Q K^T``, capped, plus the bias; what a query must not read is excluded."""
    scale = float(s.attr("scale", 0.0)) or 1 / math.sqrt(width(s, query))
    scores = b.MatMul(b.Mul(query, scale), b.Transpose(key, perm=[0, 1, 3, 2]))
    softcap = float(s.attr("softcap", 0.0))
    if softcap:
        scores = b.Mul(b.Tanh(b.Div(scores, softcap)), softcap)
    if s.has(_BIAS):
        scores = b.Add(scores, s.input(_BIAS))
    keys = positions(b, key, 2)
    forbidden = b.GreaterOrEqual(keys, b.Unsqueeze(_lengths(b, s), [1, 2]))
    queries = b.Unsqueeze(positions(b, query, 2), [1])
    if old is not None:
        queries = b.Add(b.Unsqueeze(old, [1, 2]), queries)
    if int(s.attr("causal", 1)):
        forbidden = b.Or(forbidden, b.Greater(keys, queries))
    window = int(s.attr("local_window_size", -1))
    if window > 0:
        forbidden = b.Or(forbidden, b.LessOrEqual(keys, b.Sub(queries, np.asarray(window, np.int64))))
    return b.Add(scores, excluded(b, forbidden, lowest(scores), scores))


def _probabilities(b: Emit, s: Site, scores: Value) -> Value:
    """Softmax; a sink is one more score per head, of a key whose value is 0."""
    if not s.has(_SINK) and int(s.attr("smooth_softmax", 0)) != 1:
        return b.Softmax(scores, axis=-1)
    sink = b.Reshape(s.input(_SINK), [1, -1, 1, 1]) if s.has(_SINK) else b.scalar(0.0, scores)
    column = b.Expand(sink, b.Concat(b.Shape(scores, start=0, end=3), [1], axis=0))
    return b.Slice(b.Softmax(b.Concat(scores, column, axis=3), axis=-1), [0], [-1], [3])


def _refuse(s: Site) -> None:
    if any(s.has(i) for i in range(_SINK + 1, len(s.x))):
        raise GraphError(f"{s.op} '{s.node.name}' quantises its cache or normalises its heads; export it without")
    for name in ("sliding_window_cache", "qk_output"):
        if int(s.attr(name, 0)):
            raise GraphError(f"{s.op} '{s.node.name}' has {name}, which is not supported; export the model without")


GROUPED_ATTENTIONS = {"GroupQueryAttention": group_query_attention}
