"""Activations of com.microsoft, alone and fused behind another operator."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit, Value
from xgraph.graph.site import Site

_PLAIN = ("HardSwish", "Relu", "Sigmoid", "Softplus", "Softsign", "Tanh")
_PARAMETERS = {
    "Elu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "LeakyRelu": ("alpha",), "ThresholdedRelu": ("alpha",),
}  # fmt: skip


def gelu(b: Emit, s: Site) -> Sequence[Value]:
    """``x/2 (1 + erf(x / sqrt 2))``."""
    return [_gelu(b, s.input(0))]


def bias_gelu(b: Emit, s: Site) -> Sequence[Value]:
    """Gelu of ``x + bias``."""
    return [_gelu(b, b.Add(s.input(0), s.input(1)))]


def fast_gelu(b: Emit, s: Site) -> Sequence[Value]:
    """``x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`` of x plus an optional bias."""
    x = b.Add(s.input(0), s.input(1)) if s.has(1) else s.input(0)
    cubic = b.Mul(b.Mul(b.Mul(x, x), x), 0.044715)
    inner = b.Tanh(b.Mul(b.Add(x, cubic), math.sqrt(2 / math.pi)))
    return [b.Mul(b.Mul(x, b.Add(inner, 1.0)), 0.5)]


def quick_gelu(b: Emit, s: Site) -> Sequence[Value]:
    """``x sigmoid(alpha x)``."""
    x, alpha = s.input(0), float(s.attr("alpha", 1.702))
    return [b.Mul(x, b.Sigmoid(x if alpha == 1.0 else b.Mul(x, alpha)))]


def bias_split_gelu(b: Emit, s: Site) -> Sequence[Value]:
    """``h Gelu(gate)`` where h and gate are the halves of the last axis of x + bias."""
    h, gate = b.many("Split", 2, b.Add(s.input(0), s.input(1)), axis=-1, num_outputs=2)
    return [b.Mul(h, _gelu(b, gate))]


def activated(b: Emit, s: Site, x: Value) -> Value:
    """Returns the activation that is fused behind a convolution: its parameters are one list."""
    given = [float(number) for number in s.attr("activation_params", ())]
    return _activated(b, s, x, given)


def activated_by_name(b: Emit, s: Site, x: Value) -> Value:
    """Returns the activation that is fused behind a Gemm: each parameter is an attribute."""
    names = ("activation_alpha", "activation_beta", "activation_gamma")
    return _activated(b, s, x, [float(s.attr(name)) for name in names if s.attr(name) is not None])


def _activated(b: Emit, s: Site, x: Value, parameters: Sequence[float]) -> Value:
    kind = s.attr("activation", "")
    if not kind:
        return x
    if kind == "Clip":
        low, high = parameters
        return b.Clip(x, b.scalar(low, x), b.scalar(high, x))
    if kind in _PLAIN:
        plain: Value = getattr(b, kind)(x)
        return plain
    if kind in _PARAMETERS:
        shaped: Value = getattr(b, kind)(x, **dict(zip(_PARAMETERS[kind], parameters, strict=False)))
        return shaped
    raise GraphError(f"{s.op} '{s.node.name}' has a fused activation '{kind}', which is not known")


def _gelu(b: Emit, x: Value) -> Value:
    return b.Mul(b.Mul(x, b.Add(b.Erf(b.Div(x, math.sqrt(2))), 1.0)), 0.5)


ACTIVATIONS = {
    "BiasGelu": bias_gelu,
    "BiasSplitGelu": bias_split_gelu,
    "FastGelu": fast_gelu,
    "Gelu": gelu,
    "QuickGelu": quick_gelu,
}
