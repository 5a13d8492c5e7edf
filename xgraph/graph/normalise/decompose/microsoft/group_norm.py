"""Group normalisation as image generators have it: channels last, summed in front and SiLU behind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xgraph.graph.emit import Emit, Value
from xgraph.graph.normalise.decompose.integers import channels_first, channels_last
from xgraph.graph.shapes import dtype_of, rank
from xgraph.graph.site import Site


def group_norm(b: Emit, s: Site) -> Sequence[Value]:
    """``gamma (x - mean) / sqrt(variance + eps) + beta`` over groups of channels."""
    return [_normalised(b, s, s.input(0))]


def skip_group_norm(b: Emit, s: Site) -> Sequence[Value]:
    """The same of ``x + skip + bias``; outputs: it, the sum."""
    total = b.Add(s.input(0), _of_channels(b, s, s.input(3)))
    if s.has(4):
        total = b.Add(total, _of_channels(b, s, b.Unsqueeze(s.input(4), [0])))
    return [_normalised(b, s, total), total][: len(s.y)]


def _of_channels(b: Emit, s: Site, x: Value) -> Value:
    """Returns (N, C) as it is added to an image, and an image as it is."""
    if rank(x) != 2:
        return x
    return b.Unsqueeze(x, [1, 2] if _is_last(s) else [2, 3])


def _normalised(b: Emit, s: Site, x: Value) -> Value:
    groups, dtype = int(s.attr("groups")), dtype_of(x)
    first = channels_first(b, x) if _is_last(s) else x
    flat = b.Reshape(first, [0, groups, -1])
    ones, zeros = np.ones(groups, dtype), np.zeros(groups, dtype)
    flat = b.InstanceNormalization(flat, ones, zeros, epsilon=float(s.attr("epsilon", 1e-5)))
    gamma, beta = (b.Reshape(b.cast(s.input(i), dtype), [-1, 1, 1]) for i in (1, 2))
    y = b.Add(b.Mul(b.Reshape(flat, b.Shape(first)), gamma), beta)
    if int(s.attr("activation", 0)):
        y = b.Mul(y, b.Sigmoid(y))
    return channels_last(b, y) if _is_last(s) else y


def _is_last(s: Site) -> bool:
    return bool(s.attr("channels_last", 1))


GROUP_NORMS = {"GroupNorm": group_norm, "SkipGroupNorm": skip_group_norm}
