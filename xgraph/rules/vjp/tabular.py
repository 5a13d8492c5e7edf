"""Operators of ``ai.onnx.ml`` that stay what they are: machines with probabilities, trees, dictionaries of labels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from xgraph.graph.emit import Emit, Value
from xgraph.graph.site import Site
from xgraph.graph.tabular import decisions, floats
from xgraph.rules.derived import through
from xgraph.rules.vjp.book import vjp

vjp.constant("answers with labels", "ai.onnx.ml::LabelEncoder", "ai.onnx.ml::OneHotEncoder")

_NEAR = 1e-7
"""libsvm keeps probabilities of pairs this far from 0 and 1."""


def _no_slope(s: Site) -> str:
    return "a smooth model (trees are piecewise constant, and their gradient is 0 wherever it exists)"


@vjp(
    "ai.onnx.ml::TreeEnsemble", "ai.onnx.ml::TreeEnsembleClassifier", "ai.onnx.ml::TreeEnsembleRegressor",
    needs=_no_slope,
)  # fmt: skip
def trees(b: Emit, s: Site, *incoming: Value | None) -> Sequence[None]:
    """Never applied: a gradient of zero everywhere would explain nothing, so it is refused."""
    return [None]


def _pairs_only(s: Site) -> str | None:
    if s.attr("post_transform", "NONE") != "NONE":
        return "no post_transform beside its probabilities"
    return None if s.attr("vectors_per_class") and s.attr("prob_a") else "integer labels that nothing inside reads"


@through(vjp, "ai.onnx.ml::SVMClassifier", needs=_pairs_only)
def svm_classifier(b: Emit, s: Site) -> Sequence[Value | None]:
    """P = argmin Σ_i Σ_{j≠i} (r_ji p_i - r_ij p_j)², Σp = 1, of the pairs' r_ij = 1 / (1 + exp(a_ij f_ij + b_ij)).

    Wu, Lin and Weng 2004, "Probability Estimates for Multi-class Classification by Pairwise Coupling", equation 21.
    With Q its matrix, p ∝ M⁻¹ 1 for M = Q + 1 1ᵀ, which has the same minimum under Σp = 1 and is never singular.
    """
    scores = decisions(b, s)
    probabilities = b.Sigmoid(b.Neg(b.Add(b.Mul(scores, floats(s, "prob_a")), floats(s, "prob_b"))))
    near = b.Clip(probabilities, b.scalar(_NEAR, scores), b.scalar(1 - _NEAR, scores))
    count = len(s.ints("vectors_per_class", ()))
    solution = _solved(b, _coupling(b, near, count), count)
    return [None, b.Div(solution, b.ReduceSum(solution, [1], keepdims=1))]


def _coupling(b: Emit, pairs: Value, count: int) -> Value:
    """Returns M (rows, count, count): M_ii = 1 + Σ_{j≠i} r_ji², M_ij = 1 - r_ji r_ij."""
    first, second = np.zeros((2, count * (count - 1) // 2, count * count), np.float32)
    for number, (i, j) in enumerate(combinations(range(count), 2)):
        first[number, i * count + j] = second[number, j * count + i] = 1
    shape = [0, count, count]
    # r_ij above the diagonal, r_ji = 1 - r_ij below it.
    r = b.Reshape(b.Add(b.MatMul(pairs, first), b.MatMul(b.Sub(b.scalar(1.0, pairs), pairs), second)), shape)
    turned = b.Transpose(r, perm=[0, 2, 1])
    diagonal = b.Mul(b.ReduceSum(b.Mul(turned, turned), [2], keepdims=1), np.eye(count, dtype=np.float32))
    return b.Add(b.Sub(diagonal, b.Mul(r, turned)), 1.0)


def _solved(b: Emit, matrix: Value, count: int) -> Value:
    """Returns M⁻¹ 1 (rows, count) by elimination; M is positive definite, so no rows need to be exchanged."""
    ones = b.Expand(b.scalar(1.0, matrix), b.Shape(b.Gather(matrix, np.asarray([0]), axis=2)))
    system = b.Concat(matrix, ones, axis=2)
    for k in range(count):
        row = b.Gather(system, np.asarray([k]), axis=1)
        pivot = b.Div(row, b.Gather(row, np.asarray([k]), axis=2))
        others = np.ones((count, 1), np.float32)
        others[k] = 0
        column = b.Mul(b.Gather(system, np.asarray([k]), axis=2), others)
        unit = (1 - others).astype(np.float32)
        system = b.Add(b.Sub(b.Mul(system, others), b.Mul(column, pivot)), b.Mul(pivot, unit))
    return b.Squeeze(b.Gather(system, np.asarray([count]), axis=2), [2])
