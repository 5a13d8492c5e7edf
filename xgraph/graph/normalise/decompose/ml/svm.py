"""SVMClassifier and SVMRegressor: ``Σ c_i k(x, v_i) + ρ`` over support vectors, or ``x Wᵀ + ρ`` without any."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from xgraph.graph.emit import Emit, Value
from xgraph.graph.normalise.decompose.ml.labels import label, names_inside
from xgraph.graph.normalise.decompose.ml.post_transform import post_transform, two_classes
from xgraph.graph.site import Site
from xgraph.graph.tabular import decisions, floats, kernel, rows


def svm_regressor(b: Emit, s: Site) -> Sequence[Value]:
    """Returns (rows, 1), of a one-class machine the sign; ONNX Runtime transforms neither."""
    count = int(s.attr("n_supports", 0))
    x, weights = rows(b, s.input(0)), floats(s, "coefficients")
    if count:
        x = kernel(b, s, x, floats(s, "support_vectors").reshape(count, -1))
    score = b.Gemm(x, weights.reshape(-1, 1), floats(s, "rho")[:1])
    if s.attr("one_class", 0):
        score = b.Where(b.Greater(score, 0.0), b.scalar(1.0, score), b.scalar(-1.0, score))
    return [score]


def svm_classifier(b: Emit, s: Site) -> Sequence[Value | None] | None:
    """Returns labels by vote and the scores of all pairs of classes (of two classes: of both).

    With probabilities the operator stays: libsvm stops its search for them early, so no formula gives the same
    numbers. Its gradient is that of what it searches for.
    """
    if names_inside(s) or s.attr("prob_a"):
        return None
    if not s.attr("vectors_per_class"):
        return _without_vectors(b, s)
    scores = decisions(b, s)
    transformed = two_classes(b, s, scores, opposite=_untransformed(s)) if _two(s) else post_transform(b, s, scores)
    return [_by_vote(b, s, scores), transformed]


def _untransformed(s: Site) -> bool:
    return str(s.attr("post_transform", "NONE")) == "NONE"


def _classes(s: Site) -> int:
    return len(s.attr("classlabels_ints", ()) or s.attr("classlabels_strings", ()))


def _two(s: Site) -> bool:
    return _classes(s) == 2


def _without_vectors(b: Emit, s: Site) -> Sequence[Value | None]:
    weights = floats(s, "coefficients").reshape(_classes(s), -1)
    scores = b.Gemm(rows(b, s.input(0)), weights.T.copy(), floats(s, "rho")[:1])
    number = b.ArgMax(scores, axis=1, keepdims=0)
    if _two(s):
        # ONNX Runtime names the second class wherever either score is high.
        high = b.ReduceMax(scores, [1], keepdims=0)
        sure = b.GreaterOrEqual(high, 0.5) if (weights >= 0).all() else b.Greater(high, 0.0)
        number = b.Where(sure, b.constant(np.asarray(1)), number)
    return [label(b, s, number), post_transform(b, s, scores)]


def _by_vote(b: Emit, s: Site, scores: Value) -> Value | None:
    """Each pair votes for its first class where its score is positive, else for its second; the first most voted."""
    count = _classes(s)
    pairs = np.asarray(list(combinations(range(count), 2)))
    first, second = np.eye(count, dtype=np.float32)[pairs.T]
    positive = b.cast(b.Greater(scores, 0.0), np.dtype(np.float32))
    votes = b.Gemm(positive, first - second, second.sum(axis=0))
    return label(b, s, b.ArgMax(votes, axis=1, keepdims=0))
