"""Activations: g times the derivative, written with the output wherever that saves recomputing it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xgraph.graph.adjoint import step_mul
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dims, rank
from xgraph.graph.site import Site
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.shaping import positive

_SELU_ALPHA = 1.67326319217681884765625
_SELU_GAMMA = 1.05070102214813232421875


@vjp("Relu")
def relu(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g [y > 0]; 0 at 0."""
    return [step_mul(b, g, s.y[0])]


@vjp("LeakyRelu")
def leaky_relu(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g (α + (1 - α) [x > 0]); α at 0."""
    alpha = s.attr("alpha", 0.01)
    passed = step_mul(b, b.Mul(g, 1.0 - alpha), s.input(0))
    return [passed if alpha == 0.0 else b.Add(passed, b.Mul(g, alpha))]


@vjp("PRelu", broadcasts=True)
def prelu(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g [x > 0] + slope g [x <= 0]; dslope = x g [x <= 0]."""
    x, slope = s.input(0), s.input(1)
    passed = step_mul(b, g, x)
    leaked = b.Sub(g, passed)
    return [b.Add(passed, b.Mul(leaked, slope)), b.Mul(leaked, x) if s.wants[1] else None]


@vjp("ThresholdedRelu")
def thresholded_relu(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g [x > α]; 0 at α."""
    return [step_mul(b, g, s.input(0), low=s.attr("alpha", 1.0))]


@vjp("Elu")
def elu(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g where x > 0, else g (y + α)."""
    alpha = s.attr("alpha", 1.0)
    if alpha == 1.0:
        return [b.Mul(g, b.Add(_negative(b, s.y[0]), 1.0))]
    return [b.Where(b.Greater(s.input(0), 0.0), g, b.Mul(g, b.Add(s.y[0], alpha)))]


@vjp("Selu")
def selu(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = γ g where x > 0, else g (y + γ α)."""
    alpha, gamma = s.attr("alpha", _SELU_ALPHA), s.attr("gamma", _SELU_GAMMA)
    return [b.Where(b.Greater(s.input(0), 0.0), b.Mul(g, gamma), b.Mul(g, b.Add(s.y[0], alpha * gamma)))]


@vjp("Celu")
def celu(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g (min(y, 0) / α + 1)."""
    slope = b.Mul(_negative(b, s.y[0]), 1.0 / s.attr("alpha", 1.0))
    return [b.Mul(g, b.Add(slope, 1.0))]


@vjp("Sigmoid")
def sigmoid(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g y (1 - y)."""
    y = s.y[0]
    return [b.Mul(g, b.Sub(y, b.Mul(y, y)))]


@vjp("HardSigmoid")
def hard_sigmoid(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = α g [0 < y < 1]."""
    return [b.Mul(step_mul(b, g, s.y[0], low=0.0, high=1.0), s.attr("alpha", 0.2))]


@vjp("HardSwish")
def hard_swish(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g (h + x / 6 [-3 < x < 3]) with h = clip(x / 6 + 1/2, 0, 1)."""
    x = s.input(0)
    h = b.HardSigmoid(x, alpha=1.0 / 6.0, beta=0.5)
    return [b.Mul(g, b.Add(h, step_mul(b, b.Mul(x, 1.0 / 6.0), x, low=-3.0, high=3.0)))]


@vjp("Tanh")
def tanh(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g (1 - y²)."""
    y = s.y[0]
    return [b.Sub(g, b.Mul(g, b.Mul(y, y)))]


@vjp("Softplus")
def softplus(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g sigmoid(x)."""
    return [b.Mul(g, b.Sigmoid(s.input(0)))]


@vjp("Softsign")
def softsign(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g (1 - |y|)², since 1 / (1 + |x|) = 1 - |y|."""
    rest = b.Sub(b.scalar(1.0, g), b.Abs(s.y[0]))
    return [b.Mul(g, b.Mul(rest, rest))]


@vjp("Mish")
def mish(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g (t + x (1 - t²) sigmoid(x)) with t = tanh(softplus(x))."""
    x = s.input(0)
    t = b.Tanh(b.Softplus(x))
    slope = b.Mul(b.Mul(x, b.Sigmoid(x)), b.Sub(b.scalar(1.0, g), b.Mul(t, t)))
    return [b.Mul(g, b.Add(t, slope))]


@vjp("Swish")
def swish(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g (σ + α y (1 - σ)) with σ = sigmoid(α x)."""
    x, alpha = s.input(0), s.attr("alpha", 1.0)
    sigma = b.Sigmoid(x if alpha == 1.0 else b.Mul(x, alpha))
    rest = b.Mul(s.y[0], b.Sub(b.scalar(1.0, g), sigma))
    return [b.Mul(g, b.Add(sigma, rest if alpha == 1.0 else b.Mul(rest, alpha)))]


@vjp("Gelu")
def gelu(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g (Φ(x) + x φ(x)), or the derivative of the tanh approximation of x Φ(x)."""
    x = s.input(0)
    square = b.Mul(x, x)
    if s.attr("approximate", "none") == "tanh":
        scale = math.sqrt(2.0 / math.pi)
        inner = b.Mul(b.Mul(x, scale), b.Add(b.Mul(square, 0.044715), 1.0))
        slope = b.Add(b.Mul(square, 3.0 * 0.044715 * scale), scale)
        t = b.Tanh(inner)
        tail = b.Mul(b.Mul(x, slope), b.Sub(b.scalar(1.0, g), b.Mul(t, t)))
        return [b.Mul(b.Mul(g, 0.5), b.Add(b.Add(t, 1.0), tail))]
    cumulative = b.Mul(b.Add(b.Erf(b.Mul(x, math.sqrt(0.5))), 1.0), 0.5)
    density = b.Mul(b.Exp(b.Mul(square, -0.5)), 1.0 / math.sqrt(2.0 * math.pi))
    return [b.Mul(g, b.Add(cumulative, b.Mul(x, density)))]


@vjp("Shrink")
def shrink(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g [|x| > λ]; 0 at ±λ."""
    return [step_mul(b, g, b.Abs(s.input(0)), low=s.attr("lambd", 0.5))]


@vjp("Softmax")
def softmax(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = y (g - Σ g y), the sum along the axis of the softmax."""
    y = _without_masked_rows(s)
    total = b.ReduceSum(b.Mul(g, y), [_axis(s)], keepdims=1)
    return [b.Mul(y, b.Sub(g, total))]


def _without_masked_rows(s: Site) -> Value:
    """Returns what replaces the rows of y that are masked as a whole by 0, where that is all that is read of y.

    Such rows are NaN, which a cotangent of 0 does not undo.
    """
    y = s.y[0]
    readers = [node for node, _ in y.uses() if node.op_type != "IsNaN"]
    if len(readers) != 1 or readers[0].op_type != "Where" or y.is_graph_output():
        return y
    where = Site(readers[0])
    others = [where.const(i) for i in (1, 2) if where.x[i] is not y]
    zero = len(others) == 1 and others[0] is not None and not others[0].any()
    rows = _of_rows(where.input(0), y, _axis(s)) or (where.x[2] is y and _asks_for_nan(where.input(0), y))
    return where.y[0] if zero and rows and dims(where.y[0]) == dims(y) else y


def _of_rows(condition: Value, y: Value, axis: int) -> bool:
    """Tells whether a condition is the same all along an axis of ``y``."""
    known = dims(condition)
    place = axis - rank(y)
    return known is not None and (len(known) < -place or known[place] == 1)


def _asks_for_nan(condition: Value, y: Value) -> bool:
    node = condition.producer()
    return node is not None and node.op_type == "IsNaN" and node.inputs[0] is y


@vjp("LogSoftmax")
def log_softmax(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g - exp(y) Σ g, the sum along the axis of the softmax."""
    return [b.Sub(g, b.Mul(b.Exp(s.y[0]), b.ReduceSum(g, [_axis(s)], keepdims=1)))]


def _axis(s: Site) -> int:
    return positive(int(s.attr("axis", -1)), s.y[0])


def _negative(b: Emit, value: Value) -> Value:
    return b.Min(value, b.scalar(0.0, value))
