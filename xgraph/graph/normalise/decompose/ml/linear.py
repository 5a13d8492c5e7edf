"""LinearClassifier and LinearRegressor: ``x Wᵀ + c``, then the post transform."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xgraph.graph.emit import Emit, Value
from xgraph.graph.normalise.decompose.ml.labels import label, names_inside
from xgraph.graph.normalise.decompose.ml.post_transform import post_transform, two_classes
from xgraph.graph.site import Site
from xgraph.graph.tabular import floats, rows


def linear_classifier(b: Emit, s: Site) -> Sequence[Value | None] | None:
    """Returns labels and scores; a single row of weights for two classes scores the second one."""
    if names_inside(s):
        return None
    scores = _linear(b, s, len(floats(s, "intercepts")))
    if len(floats(s, "intercepts")) > 1:
        return [label(b, s, b.ArgMax(scores, axis=1, keepdims=0)), post_transform(b, s, scores)]
    positive = b.cast(b.Greater(b.Squeeze(scores, [1]), 0.0), np.dtype(np.int64))
    return [label(b, s, positive), two_classes(b, s, scores, opposite=False)]


def linear_regressor(b: Emit, s: Site) -> Sequence[Value]:
    """Returns (rows, targets); ONNX Runtime transforms a single target by PROBIT alone."""
    targets = int(s.attr("targets", 1))
    found = _linear(b, s, targets)
    return [post_transform(b, s, found) if targets > 1 or s.attr("post_transform") == "PROBIT" else found]


def _linear(b: Emit, s: Site, count: int) -> Value:
    weights, shift = floats(s, "coefficients").reshape(count, -1), floats(s, "intercepts")
    return b.Gemm(rows(b, s.input(0)), weights.T.copy(), shift if shift.size else None)
