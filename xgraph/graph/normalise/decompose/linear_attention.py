"""LinearAttention (opset 27): a recurrence over a state S of one matrix per head, unrolled over the sequence.

``S <- S' + beta k (v - S'^T k)^T`` with ``S' = exp(decay) S``, and ``o = scale S^T q``; the rules "linear" and "gated"
have no beta and add ``k v^T``, "linear" and "delta" have no decay (Yang, Kautz and Hatamizadeh 2024, Gated Delta
Networks, arXiv:2412.06464).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dims
from xgraph.graph.site import Site

_RULES = {"linear": (False, False), "gated": (True, False), "delta": (False, True), "gated_delta": (True, True)}
"""Update rule -> (with a decay, with the delta correction)."""


def linear_attention(b: Emit, s: Site) -> Sequence[Value | None]:
    """Returns (what the queries read at each step, the last state)."""
    decays, corrects = _choice(s)
    queries, heads = int(s.attr("q_num_heads", 0)), int(s.attr("kv_num_heads", 0))
    if heads < 1 or queries < 1 or queries % heads:
        raise GraphError(f"LinearAttention '{s.node.name}' has {queries} query heads and {heads} key heads")
    steps, width = _static(s, 0, 1), _static(s, 0, 2) // queries
    scale = float(s.attr("scale", 0.0)) or 1 / math.sqrt(width)
    # (N, T, heads, ..): the queries of a group are rows that read one state, keys are columns and values rows.
    query = b.Mul(b.Reshape(s.input(0), [0, 0, heads, queries // heads, width]), scale)
    key = b.Reshape(s.input(1), [0, 0, heads, width, 1])
    value = b.Reshape(s.input(2), [0, 0, heads, 1, _static(s, 2, 2) // heads])
    decay = b.Exp(b.Reshape(s.input(4), [0, 0, heads, _static(s, 4, 2) // heads, 1])) if decays else None
    beta = b.Reshape(s.input(5), [0, 0, _static(s, 5, 2), 1, 1]) if corrects else None
    state = s.input(3) if s.has(3) else None
    read = []
    for t in range(steps):
        k, v = _step(b, key, t), _step(b, value, t)
        if state is not None and decay is not None:
            state = b.Mul(state, _step(b, decay, t))
        if beta is not None:
            if state is not None:
                v = b.Sub(v, b.MatMul(b.Transpose(k, perm=[0, 1, 3, 2]), state))
            v = b.Mul(v, _step(b, beta, t))
        added = b.Mul(k, v)
        state = added if state is None else b.Add(state, added)
        read.append(b.Unsqueeze(b.MatMul(_step(b, query, t), state), [1]))
    joined = b.Concat(*read, axis=1)
    return [b.Reshape(joined, [0, 0, queries * (_static(s, 2, 2) // heads)]), state][: len(s.y)]


def _choice(s: Site) -> tuple[bool, bool]:
    rule = s.attr("update_rule", "gated_delta")
    if rule not in _RULES:
        raise GraphError(f"LinearAttention '{s.node.name}' has update_rule='{rule}'; it may be {', '.join(_RULES)}")
    return _RULES[rule]


def _step(b: Emit, x: Value, t: int) -> Value:
    return b.Squeeze(b.Slice(x, [t], [t + 1], [1]), [1])


def _static(s: Site, i: int, axis: int) -> int:
    size = (dims(s.input(i)) or (None,) * 3)[axis]
    if not isinstance(size, int):
        raise GraphError(f"LinearAttention '{s.node.name}' needs static sizes but for the batch, and finds {size}")
    return size
