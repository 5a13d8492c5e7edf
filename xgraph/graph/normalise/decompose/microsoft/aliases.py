"""Operators that the standard has too, under the same or another name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit, Value
from xgraph.graph.normalise.grid import array_of
from xgraph.graph.site import Site


def bias_add(b: Emit, s: Site) -> Sequence[Value]:
    """``x + bias + residual``."""
    return [b.Add(b.Add(s.input(0), s.input(1)), s.input(2))]


def bias_dropout(b: Emit, s: Site) -> Sequence[Value | None]:
    """``x + bias + residual``: nothing is dropped when a model is used."""
    if s.has(4) and array_of(s.input(4)) != np.asarray(False):
        raise GraphError(f"{s.op} '{s.node.name}' may run in training mode; export the model for inference")
    y = b.Add(s.input(0), s.input(1))
    return [b.Add(y, s.input(2)) if s.has(2) else y, None][: len(s.y)]


def bias_softmax(b: Emit, s: Site) -> Sequence[Value]:
    """Softmax of ``x + bias`` over the axes from ``axis`` on."""
    total = b.Add(s.input(0), s.input(1))
    axis, rank = int(s.attr("axis", 1)), len(total.shape or ())
    if axis % rank == rank - 1:
        return [b.Softmax(total, axis=-1)]
    flat = b.Softmax(b.Flatten(total, axis=axis % rank), axis=-1)
    return [b.Reshape(flat, b.Shape(total))]


def cdist(b: Emit, s: Site) -> Sequence[Value]:
    """Returns the distances between the rows of two matrices, or their squares."""
    difference = b.Sub(b.Unsqueeze(s.input(0), [1]), b.Unsqueeze(s.input(1), [0]))
    squares = b.ReduceSum(b.Mul(difference, difference), [2], keepdims=0)
    metric = s.attr("metric", "sqeuclidean")
    if metric not in ("euclidean", "sqeuclidean"):
        raise GraphError(f"{s.op} '{s.node.name}' has metric='{metric}'; euclidean and sqeuclidean are known")
    return [b.Sqrt(squares) if metric == "euclidean" else squares]


def expand_dims(b: Emit, s: Site) -> Sequence[Value]:
    """A new axis of size 1."""
    return [b.Unsqueeze(s.input(0), b.Reshape(b.Cast(s.input(1), to=7), [1]))]


def gather_nd(b: Emit, s: Site) -> Sequence[Value]:
    """GatherND without batch axes."""
    return [b.GatherND(s.input(0), b.Cast(s.input(1), to=7))]


def grid_sample(b: Emit, s: Site) -> Sequence[Value]:
    """GridSample under the names of modes that opset 20 gave them."""
    attributes = s.attributes()
    newer = {"bilinear": "linear", "bicubic": "cubic"}
    if b.opset >= 20:
        attributes["mode"] = newer.get(attributes.get("mode", "bilinear"), attributes.get("mode"))
    return [b.GridSample(s.input(0), s.input(1), **attributes)]


def pad(b: Emit, s: Site) -> Sequence[Value]:
    """Pad; its pads may have a leading axis of size 1."""
    value = b.Reshape(s.input(2), b.constant(np.zeros(0, np.int64))) if s.has(2) else None
    return [b.Pad(s.input(0), b.Reshape(s.input(1), [-1]), value, mode=s.attr("mode", "constant"))]


def range_(b: Emit, s: Site) -> Sequence[Value]:
    """Range in steps of 1 by default."""
    scalar = b.constant(np.zeros(0, np.int64))
    one = b.scalar(1, s.input(0))
    start, limit = (b.Reshape(s.input(i), scalar) for i in range(2))
    return [b.Range(start, limit, b.Reshape(s.input(2), scalar) if s.has(2) else one)]


def sample_op(b: Emit, s: Site) -> Sequence[Value]:
    """The identity."""
    return [b.Identity(s.input(0))]


def trilu(b: Emit, s: Site) -> Sequence[Value]:
    """Trilu."""
    return [b.Trilu(s.input(0), s.input(1) if s.has(1) else None, upper=s.attr("upper", 1))]


def unique(b: Emit, s: Site) -> Sequence[Value]:
    """Unique of a vector, in the order of what comes first; outputs: numbers, where each is among them, counts."""
    numbers, _, inverse, counts = b.many("Unique", 4, s.input(0), sorted=0)
    return [numbers, inverse, counts][: len(s.y)]


ALIASES = {
    "BiasAdd": bias_add,
    "BiasDropout": bias_dropout,
    "BiasSoftmax": bias_softmax,
    "CDist": cdist,
    "ExpandDims": expand_dims,
    "GatherND": gather_nd,
    "GridSample": grid_sample,
    "Pad": pad,
    "Range": range_,
    "SampleOp": sample_op,
    "Trilu": trilu,
    "Unique": unique,
}
