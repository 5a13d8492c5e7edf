"""Sampling at fractional places: ``y[p] = Σ w(p, t) x[place(p, t)]`` over the taps t that surround p on each axis.

What GridSample, RoiAlign and DeformConv have in common. Places are integers, through which nothing flows; weights are
functions of the coordinates, through which the gradient with respect to grids, offsets and regions flows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xgraph.graph.arithmetic import count, joined, size_of
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import rank
from xgraph.rules.vjp.shaping import cast_like, sizes_of


@dataclass(frozen=True, slots=True)
class Taps:
    """What is read along one axis; both values broadcast to ``[*taps, *points]``."""

    places: Value
    weights: Value


def channels_last(b: Emit, x: Value) -> Value:
    """Views ``[N, C, *sizes]`` as ``[N * sizes, C]``, so that one index finds all channels of a place."""
    spatial = range(2, rank(x))
    return b.Reshape(b.Transpose(x, perm=[0, *spatial, 1]), joined(b, [-1, sizes_of(b, x)[1]]))


def read_taps(b: Emit, x: Value, samples: Value, axes: Sequence[Taps]) -> tuple[Value, Value]:
    """Emits what the taps read from ``x``, ``[*taps, *points, C]``, and their weights, ``[*taps, *points, 1]``.

    Args:
        b: where the nodes go.
        x: ``[N, C, *sizes]``.
        samples: the sample that each point reads, int64, broadcasting to the points.
        axes: the taps along each spatial axis.
    """
    index = samples
    for axis, taps in enumerate(axes):
        index = b.Add(b.Mul(index, size_of(b, x, 2 + axis)), taps.places)
    weight = axes[0].weights
    for taps in axes[1:]:
        weight = b.Mul(weight, taps.weights)
    return b.Gather(channels_last(b, x), index, axis=0), b.Unsqueeze(weight, [-1])


def sampled(b: Emit, x: Value, samples: Value, axes: Sequence[Taps]) -> Value:
    """Emits ``x`` interpolated at the points, ``[*points, C]``; the taps of axis i lie along axis i."""
    values, weights = read_taps(b, x, samples, axes)
    return b.ReduceSum(b.Mul(values, weights), list(range(len(axes))), keepdims=0)


def offsets(b: Emit, taps: np.ndarray, axis: int, axes: int, points: int) -> Value:
    """Returns the offsets of the taps of one axis, to broadcast over ``axes`` tap axes and ``points`` point axes."""
    shape = [1] * (axes + points)
    shape[axis] = len(taps)
    return b.constant(taps.reshape(shape))


def linear_taps(b: Emit, at: Value, axis: int, axes: int) -> tuple[Value, Value]:
    """Emits the two places around the coordinates ``at`` (int64, not bounded) and their weights ``1 - |distance|``."""
    taps = np.arange(2)
    low = b.Floor(at)
    part = b.Sub(at, low)
    places = b.Add(whole(b, low), offsets(b, taps, axis, axes, rank(at)))
    # 1 - part for the tap in front, part for the one behind.
    slope = cast_like(b, offsets(b, 2 * taps - 1, axis, axes, rank(at)), at)
    start = cast_like(b, offsets(b, 1 - taps, axis, axes, rank(at)), at)
    return places, b.Add(b.Mul(part, slope), start)


def zero_outside(b: Emit, places: Value, weights: Value, size: Value) -> Taps:
    """Emits taps that read zero outside of ``0 .. size - 1``."""
    inside = b.And(b.GreaterOrEqual(places, 0), b.Less(places, size))
    return Taps(bounded(b, places, size), b.Mul(weights, cast_like(b, inside, weights)))


def bounded(b: Emit, places: Value, size: Value) -> Value:
    """Emits ``places`` moved to the nearest one inside ``0 .. size - 1``."""
    return b.Max(b.Min(places, b.Sub(size, [1])), [0])


def whole(b: Emit, value: Value) -> Value:
    """Emits floats that are whole numbers as int64."""
    return b.cast(value, np.dtype(np.int64))


def spread_samples(b: Emit, x: Value, points: int) -> Value:
    """Returns 0, 1, .. along the first of so many axes: point i reads sample i of ``x``."""
    numbers = count(b, size_of(b, x, 0))
    return b.Unsqueeze(numbers, list(range(1, points))) if points > 1 else numbers
