"""Losses inside exported graphs, spelled with the operators that they are made of."""

from __future__ import annotations

from collections.abc import Sequence

from xgraph.graph.emit import Emit, Value
from xgraph.graph.site import Site
from xgraph.rules.derived import through
from xgraph.rules.vjp.book import vjp


@through(vjp, "NegativeLogLikelihoodLoss")
def negative_log_likelihood(b: Emit, s: Site) -> Sequence[Value | None]:
    """``-w[t] x[t]`` for the class t of each place, none where it is ignored; the mean divides by Σ w[t]."""
    return [_negative_log_likelihood(b, s, s.input(0))]


@through(vjp, "SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(b: Emit, s: Site) -> Sequence[Value | None]:
    """The same of ``log softmax(x)``, which is also the second output."""
    log_probability = b.LogSoftmax(s.input(0), axis=1)
    return [_negative_log_likelihood(b, s, log_probability), log_probability][: len(s.y)]


def _negative_log_likelihood(b: Emit, s: Site, x: Value) -> Value:
    target, ignored = s.input(1), s.attr("ignore_index")
    weights = s.input(2) if s.has(2) else None
    hit = None
    if ignored is not None:
        hit = b.Equal(target, ignored)
        # An ignored class need not exist.
        target = b.Where(hit, b.scalar(0, target), target)
    chosen = b.Squeeze(b.GatherElements(x, b.Unsqueeze(target, [1]), axis=1), [1])
    weight = b.Gather(weights, target) if weights is not None else None
    if hit is not None:
        weight = b.Where(hit, b.scalar(0.0, x), b.scalar(1.0, x) if weight is None else weight)
    loss = b.Neg(chosen if weight is None else b.Mul(weight, chosen))
    reduction = s.attr("reduction", "mean")
    if reduction == "none":
        return loss
    if reduction == "mean" and weight is None:
        return b.ReduceMean(loss, keepdims=0)
    total = b.ReduceSum(loss, keepdims=0)
    return total if reduction == "sum" else b.Div(total, b.ReduceSum(weight, keepdims=0))
