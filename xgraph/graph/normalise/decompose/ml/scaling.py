"""Scaler, Normalizer, Imputer and Binarizer: what is done to features before a model reads them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dtype_of
from xgraph.graph.site import Site
from xgraph.graph.tabular import floats, single


def scaler(b: Emit, s: Site) -> Sequence[Value]:
    """Returns ``(x - offset) * scale``, per feature or with one number for all."""
    return [b.Mul(b.Sub(single(b, s.input(0)), floats(s, "offset")), floats(s, "scale"))]


def normalizer(b: Emit, s: Site) -> Sequence[Value]:
    """Returns each row divided by its largest entry, its L1 or its L2 norm; rows whose divisor is 0 stay."""
    x = single(b, s.input(0))
    norm = str(s.attr("norm", "MAX"))
    if norm == "L1" and _sums_to_one(x):
        # Written behind every logistic regression; without it, its head is seen.
        return [b.Identity(x)]
    match norm:
        case "MAX":
            size = b.ReduceMax(x, [-1], keepdims=1)
        case "L1":
            size = b.ReduceSum(b.Abs(x), [-1], keepdims=1)
        case "L2":
            size = b.ReduceSum(b.Mul(x, x), [-1], keepdims=1)
        case _:
            raise GraphError(f"Normalizer '{s.node.name}' has the norm '{norm}', which is none of MAX, L1 and L2")
    divisor = b.Where(b.Equal(size, 0.0), b.scalar(1.0, size), size)
    return [b.Div(x, b.Sqrt(divisor) if norm == "L2" else divisor)]


def imputer(b: Emit, s: Site) -> Sequence[Value]:
    """Returns x with the replacement of its column wherever it is the missing value, which may be NaN."""
    x = s.input(0)
    dtype = dtype_of(x)
    kind = ("replaced_value_float", "imputed_value_floats") if dtype.kind == "f" else _INTEGERS
    missing, values = s.attr(kind[0], 0), np.asarray(s.attr(kind[1], ()), dtype)
    where = b.IsNaN(x) if missing != missing else b.Equal(x, b.constant(np.asarray(missing, dtype)))
    return [b.Where(where, b.constant(values), x)]


_INTEGERS = ("replaced_value_int64", "imputed_value_int64s")


def binarizer(b: Emit, s: Site) -> Sequence[Value]:
    """Returns 1 where x is above the threshold, else 0."""
    x = s.input(0)
    return [b.cast(b.Greater(x, b.scalar(float(s.attr("threshold", 0.0)), x)), dtype_of(x))]


def _sums_to_one(x: Value) -> bool:
    node = x.producer()
    while node is not None and node.op_type == "Identity" and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    if node is None or node.domain or node.op_type != "Softmax" or x.shape is None:
        return False
    return node.attributes.get_int("axis", -1) in (-1, len(x.shape) - 1)
