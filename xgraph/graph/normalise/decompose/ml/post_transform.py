"""What linear and support vector models do to their scores (the attribute ``post_transform``)."""

from __future__ import annotations

from math import sqrt

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit, Value
from xgraph.graph.site import Site

_SMALL = 1e-7
"""SOFTMAX_ZERO: scores up to this size count as zero."""
_LOG_FACTOR, _PI = 0.147, 3.14159
"""Constants of Winitzki's closed form of the inverse error function, as ONNX Runtime has them."""


def post_transform(b: Emit, s: Site, scores: Value) -> Value:
    """Returns scores of two or more columns (rows, columns), transformed as the node says."""
    match str(s.attr("post_transform", "NONE")):
        case "NONE":
            return scores
        case "LOGISTIC":
            return b.Sigmoid(scores)
        case "SOFTMAX":
            return b.Softmax(scores, axis=1)
        case "SOFTMAX_ZERO":
            return _softmax_zero(b, scores)
        case "PROBIT":
            return _probit(b, scores)
        case other:
            raise GraphError(f"{s.op} '{s.node.name}' has the unknown post_transform '{other}'")


def two_classes(b: Emit, s: Site, score: Value, *, opposite: bool) -> Value:
    """Returns the scores (rows, 2) of both classes where a model computes that of the second one alone.

    The first one's is ``-score`` (``opposite``) or ``1 - score``; with LOGISTIC they are σ(-score) and σ(score).
    """
    transform = str(s.attr("post_transform", "NONE"))
    if transform == "PROBIT":
        raise GraphError(f"{s.op} '{s.node.name}' has post_transform PROBIT on a single score, which has no meaning")
    if transform == "LOGISTIC":
        return b.Sigmoid(b.Concat(b.Neg(score), score, axis=1))
    first = b.Neg(score) if opposite else b.Sub(b.scalar(1.0, score), score)
    return b.Concat(first, score, axis=1)


def _softmax_zero(b: Emit, scores: Value) -> Value:
    """Softmax over the scores that are not zero; those that are become zero."""
    largest = b.ReduceMax(scores, [1], keepdims=1)
    powers = b.Where(
        b.Greater(b.Abs(scores), _SMALL), b.Exp(b.Sub(scores, largest)), b.Mul(scores, b.Exp(b.Neg(largest)))
    )
    return b.Div(powers, b.ReduceSum(powers, [1], keepdims=1))


def _probit(b: Emit, scores: Value) -> Value:
    """√2 erf⁻¹(2p - 1), with Winitzki's sgn(x) √(√(v² - ln(1 - x²)/a) - v), v = 2/(πa) + ln(1 - x²)/2, a = 0.147."""
    x = b.Sub(b.Mul(scores, 2.0), 1.0)
    log = b.Log(b.Mul(b.Sub(b.scalar(1.0, x), x), b.Add(x, 1.0)))
    v = b.Add(b.Mul(log, 0.5), 2 / (_PI * _LOG_FACTOR))
    inner = b.Sub(b.Sqrt(b.Sub(b.Mul(v, v), b.Mul(log, 1 / _LOG_FACTOR))), v)
    return b.Mul(b.Mul(b.Sign(x), b.Sqrt(inner)), sqrt(2))
