"""Elementwise arithmetic: g times the derivative; the walker sums over what was broadcast."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from xgraph.graph.adjoint import step_mul
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import rank
from xgraph.graph.site import Site
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.shaping import cast_like, reshape_like


@vjp("Identity", "Optional", "OptionalGetElement")
def identity(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g, also of what an optional holds."""
    return [g]


def _unknown_mask(s: Site) -> str | None:
    known = not _drops(s) or (len(s.y) > 1 and s.y[1].name)
    return None if known else "its mask as a second output, or inference mode (it is in training mode)"


@vjp("Dropout", needs=_unknown_mask)
def dropout(b: Emit, s: Site, g: Value | None, *_: Value | None) -> Sequence[Value | None]:
    """``dx`` = g mask / (1 - ratio) and dratio = Σ g y / (1 - ratio) in training; in inference nothing is dropped."""
    if g is None or not _drops(s):
        return [g, None, None][: len(s.x)]
    one = b.scalar(1.0, g)
    share = b.Div(g, b.Sub(one, cast_like(b, s.input(1), g) if s.has(1) else b.scalar(0.5, g)))
    told = s.const(2) is None
    dx = b.Mul(b.Where(s.input(2), share, g) if told else share, cast_like(b, s.y[1], g))
    ratio = None
    if s.has(1) and s.wants[1]:
        total = b.ReduceSum(b.Mul(share, s.y[0]), keepdims=0)
        ratio = cast_like(b, b.Where(s.input(2), total, b.scalar(0.0, g)) if told else total, s.input(1))
    return [dx, ratio, None][: len(s.x)]


def _drops(s: Site) -> bool:
    """Tells whether the node may drop anything."""
    ratio, training = s.const(1), s.const(2)
    never = not s.has(2) or (training is not None and not training.any())
    return not never and (ratio is None or bool(ratio.any()))


@vjp("Cast", "CastLike")
def cast(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g in the dtype of x."""
    return [cast_like(b, g, s.input(0)), None][: len(s.x)]


def _other_dtype(s: Site) -> str | None:
    same = s.input(0).dtype == s.y[0].dtype
    return None if same else "a dtype that stays (it reads the bits of one as another)"


@vjp("BitCast", needs=_other_dtype)
def bit_cast(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g where the dtype stays; the bits of another one have no derivative."""
    return [g]


@vjp("Neg")
def neg(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = -g."""
    return [b.Neg(g)]


@vjp("Abs")
def absolute(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g sign x; 0 at 0."""
    return [b.Mul(g, b.Sign(s.input(0)))]


@vjp("Exp")
def exp(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g y."""
    return [b.Mul(g, s.y[0])]


@vjp("Log")
def log(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g / x."""
    return [b.Div(g, s.input(0))]


@vjp("Sqrt")
def sqrt(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g / (2 y); infinite at 0."""
    return [b.Div(b.Mul(g, 0.5), s.y[0])]


@vjp("Reciprocal")
def reciprocal(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = -g y²."""
    return [b.Neg(b.Mul(g, b.Mul(s.y[0], s.y[0])))]


@vjp("Erf")
def erf(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g 2 / √π exp(-x²)."""
    x = s.input(0)
    return [b.Mul(g, b.Mul(b.Exp(b.Neg(b.Mul(x, x))), 2.0 / math.sqrt(math.pi)))]


@vjp("Sin")
def sin(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g cos x."""
    return [b.Mul(g, b.Cos(s.input(0)))]


@vjp("Cos")
def cos(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = -g sin x."""
    return [b.Neg(b.Mul(g, b.Sin(s.input(0))))]


@vjp("Tan")
def tan(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g (1 + y²)."""
    return [b.Mul(g, b.Add(b.Mul(s.y[0], s.y[0]), 1.0))]


@vjp("Asin")
def asin(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g / √(1 - x²)."""
    return [b.Div(g, b.Sqrt(_one_minus_square(b, s.input(0))))]


@vjp("Acos")
def acos(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = -g / √(1 - x²)."""
    return [b.Neg(b.Div(g, b.Sqrt(_one_minus_square(b, s.input(0)))))]


@vjp("Atan")
def atan(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g / (1 + x²)."""
    return [b.Div(g, b.Add(b.Mul(s.input(0), s.input(0)), 1.0))]


@vjp("Sinh")
def sinh(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g cosh x."""
    return [b.Mul(g, b.Cosh(s.input(0)))]


@vjp("Cosh")
def cosh(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g sinh x."""
    return [b.Mul(g, b.Sinh(s.input(0)))]


@vjp("Asinh")
def asinh(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g / √(x² + 1)."""
    return [b.Div(g, b.Sqrt(b.Add(b.Mul(s.input(0), s.input(0)), 1.0)))]


@vjp("Acosh")
def acosh(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g / √(x² - 1)."""
    return [b.Div(g, b.Sqrt(b.Sub(b.Mul(s.input(0), s.input(0)), 1.0)))]


@vjp("Atanh")
def atanh(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g / (1 - x²)."""
    return [b.Div(g, _one_minus_square(b, s.input(0)))]


@vjp("Add", "Sum", broadcasts=True)
def add(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """Every input gets g."""
    return [g] * len(s.x)


@vjp("Mean", broadcasts=True)
def mean(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """Every one of the n inputs gets g / n."""
    return [b.Mul(g, 1.0 / len(s.x))] * len(s.x)


@vjp("Sub", broadcasts=True)
def sub(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``da`` = g, db = -g."""
    return [g, b.Neg(g) if s.wants[1] else None]


@vjp("Mul", broadcasts=True)
def mul(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``da`` = g b, db = g a."""
    left, right = s.input(0), s.input(1)
    return [b.Mul(g, right) if s.wants[0] else None, b.Mul(g, left) if s.wants[1] else None]


@vjp("Div", broadcasts=True)
def div(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``da`` = g / b, db = -g y / b."""
    share = b.Div(g, s.input(1))
    return [share, b.Neg(b.Mul(share, s.y[0])) if s.wants[1] else None]


@vjp("Pow", broadcasts=True)
def power(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``da`` = g e a^(e - 1), de = g y log a; de is 0 at a = 0, the limit for e > 0."""
    base, exponent = s.input(0), s.input(1)
    d_base = b.Mul(g, _power_slope(b, s)) if s.wants[0] else None
    d_exponent = None
    if s.wants[1]:
        safe = b.Where(b.Equal(base, 0.0), b.scalar(1.0, base), base)
        d_exponent = cast_like(b, b.Mul(g, b.Mul(s.y[0], b.Log(safe))), exponent)
    return [d_base, d_exponent]


@vjp("Mod", broadcasts=True)
def mod(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """With y = a - n b and n an integer: da = g, db = -g n."""
    left, right = s.input(0), s.input(1)
    d_right = b.Neg(b.Mul(g, b.Round(b.Div(b.Sub(left, s.y[0]), right)))) if s.wants[1] else None
    return [g, d_right]


@vjp("Max", "Min", broadcasts=True)
def extremum(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """Inputs that are equal to y share g equally."""
    if len(s.x) == 1:
        return [g]
    hits = [cast_like(b, b.Equal(s.input(i), s.y[0]), g) for i in range(len(s.x))]
    count = hits[0]
    for hit in hits[1:]:
        count = b.Add(count, hit)
    share = b.Div(g, count)
    return [b.Mul(hit, share) if wanted else None for hit, wanted in zip(hits, s.wants, strict=True)]


@vjp("Where", broadcasts=True)
def where(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """The branch taken gets g."""
    condition, zero = s.input(0), b.scalar(0.0, g)
    taken = b.Where(condition, g, zero) if s.wants[1] else None
    other = b.Where(condition, zero, g) if s.wants[2] else None
    return [None, taken, other]


@vjp("Clip")
def clip(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g [low < x < high]; a bound gets the sum of g where it took effect."""
    x, answers = s.input(0), [None] * len(s.x)
    bounds = [s.const(i) for i in (1, 2)]
    if all(bound is not None or not s.has(i) for i, bound in enumerate(bounds, start=1)):
        low, high = (None if bound is None else float(bound.reshape(())) for bound in bounds)
        if low is None and high is None:
            return [g, *answers[1:]]
        return [step_mul(b, g, x, low=-math.inf if low is None else low, high=high), *answers[1:]]
    return _clip_computed(b, s, g)


def _clip_computed(b: Emit, s: Site, g: Value) -> list[Value | None]:
    """As ``min(max(x, low), high)``, with x at a bound counted as clipped by it."""
    x, zero = s.input(0), b.scalar(0.0, g)
    answers: list[Value | None] = [None] * len(s.x)
    kept = g
    if s.has(1):
        below = b.LessOrEqual(x, s.input(1))
        kept = b.Where(below, zero, kept)
    if s.has(2):
        raised = b.Max(x, s.input(1)) if s.has(1) else x
        above = b.GreaterOrEqual(raised, s.input(2))
        kept = b.Where(above, zero, kept)
    answers[0] = kept
    every = list(range(rank(x)))
    if s.has(1) and s.wants[1]:
        effective = b.And(below, b.Not(above)) if s.has(2) else below
        answers[1] = reshape_like(b, b.ReduceSum(b.Where(effective, g, zero), every, keepdims=0), s.input(1))
    if s.has(2) and s.wants[2]:
        answers[2] = reshape_like(b, b.ReduceSum(b.Where(above, g, zero), every, keepdims=0), s.input(2))
    return answers


def _power_slope(b: Emit, s: Site) -> Value:
    """Emits ``e a^(e - 1)``, with Mul and Div for the exponents that models are made of."""
    base, exponent, constant = s.input(0), cast_like(b, s.input(1), s.input(0)), s.const(1)
    forms: dict[float, Callable[[], Value]] = {
        1.0: lambda: b.scalar(1.0, base),
        2.0: lambda: b.Mul(base, 2.0),
        3.0: lambda: b.Mul(b.Mul(base, base), 3.0),
        0.5: lambda: b.Div(b.scalar(0.5, base), s.y[0]),
    }
    if constant is not None and constant.size == 1 and float(constant.reshape(())) in forms:
        return forms[float(constant.reshape(()))]()
    slope = b.Mul(exponent, b.Pow(base, b.Sub(exponent, 1.0)))
    if constant is not None and not np.any(constant == 0):
        return slope
    # At e = 0 the power is constant, but 0 * 0^-1 is not a number.
    return b.Where(b.Equal(exponent, 0.0), b.scalar(0.0, base), slope)


def _one_minus_square(b: Emit, x: Value) -> Value:
    return b.Sub(b.scalar(1.0, x), b.Mul(x, x))
