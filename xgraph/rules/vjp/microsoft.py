"""Rules for those operators of com.microsoft that stay in a model, because no others compute the same."""

from __future__ import annotations

from collections.abc import Sequence

from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import rank
from xgraph.graph.site import Site
from xgraph.rules.derived import through
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.shaping import cast_like


@vjp("com.microsoft::Inverse")
def inverse(b: Emit, s: Site, g: Value) -> Sequence[Value]:
    """Gradient of Y = X⁻¹: ``dX`` = - Yᵀ g Yᵀ."""
    axes = list(range(rank(g)))
    turned = b.Transpose(s.y[0], perm=[*axes[:-2], axes[-1], axes[-2]])
    return [b.Neg(b.MatMul(b.MatMul(turned, g), turned))]


@through(vjp, "com.microsoft::DynamicQuantizeLSTM")
def dynamic_quantize_lstm(b: Emit, s: Site) -> Sequence[Value]:
    """LSTM with what its weights stand for; the rounding of inputs and states counts as the identity."""
    weights = [_weight(b, s, i, scale) for i, scale in ((1, 8), (2, 10))]
    rest = [s.input(i) if s.has(i) else None for i in range(3, 8)]
    return b.many("LSTM", 3, s.input(0), *weights, *rest, **s.attributes())[: len(s.y)]


def _weight(b: Emit, s: Site, i: int, scale: int) -> Value:
    """Returns ``(q - zero) scale`` of (directions, inputs, gates) as (directions, gates, inputs)."""
    factor, zero = (_along_gates(b, s.input(n)) for n in (scale, scale + 1))
    numbers = b.Sub(cast_like(b, s.input(i), factor), cast_like(b, zero, factor))
    return b.Transpose(b.Mul(numbers, factor), perm=[0, 2, 1])


def _along_gates(b: Emit, x: Value) -> Value:
    """Views (directions,) or (directions, gates) so that it broadcasts to (directions, inputs, gates)."""
    return b.Unsqueeze(x, [1, 2] if rank(x) == 1 else [1])
