"""Pools: what arrives at a window goes to its maximum, or is shared out over the window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xgraph.graph.adjoint import average_pool_grad, max_pool_grad
from xgraph.graph.arithmetic import count
from xgraph.graph.emit import ADJOINT_DOMAIN, Emit, Value
from xgraph.graph.shapes import dims, rank
from xgraph.graph.site import Site
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.reduction import count_along, power_factor, to_first
from xgraph.rules.vjp.shaping import expand_like, reshape_like


@vjp("MaxPool")
def max_pool(b: Emit, s: Site, g: Value | None, *_: Value | None) -> Sequence[Value | None]:
    """All of g goes to the first maximum of each window."""
    return [None if g is None else max_pool_grad(b, s, g)]


@vjp("AveragePool")
def average_pool(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """Each window shares out g equally over what it averaged."""
    return [average_pool_grad(b, s, g)]


def _unclear_places(s: Site) -> str | None:
    """The standard counts indices over what the windows cover, runtimes over the output: both must be one."""
    x, y, kernel = dims(s.input(0)), dims(s.y[0]), s.ints("kernel_shape", [])
    if not s.has(2) or x is None or y is None:
        return None
    n = len(kernel)
    strides, pads = s.ints("strides", [1] * n), s.ints("pads", [0] * (2 * n))
    for i in range(n):
        size, given = x[2 + i], y[2 + i]
        if isinstance(size, int) and isinstance(given, int):
            covered = (size - 1) * strides[i] - pads[i] - pads[i + n] + kernel[i]
            if covered != given:
                return f"an output_shape of {covered} along axis {2 + i}, which is what its windows cover, not {given}"
    return None


@vjp("MaxUnpool", needs=_unclear_places)
def max_unpool(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g at the indices, counted over the output; of several that name one place the last was written there."""
    x, index = s.input(0), b.Reshape(s.input(1), [-1])
    flat = b.Reshape(g, [-1])
    numbers = count(b, b.Shape(index))
    nowhere = b.Expand(b.constant(np.asarray(-1, np.int64)), b.Shape(flat))
    written = b.ScatterElements(nowhere, index, numbers, axis=0, reduction="max")
    stays = b.Equal(b.Gather(written, index, axis=0), numbers)
    share = b.Where(stays, b.Gather(flat, index, axis=0), b.scalar(0.0, g))
    return [reshape_like(b, share, x), None, None][: len(s.x)]


@vjp("GlobalAveragePool")
def global_average_pool(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g / (number of positions) everywhere."""
    x = s.input(0)
    return [expand_like(b, b.Div(g, count_along(b, x, range(2, rank(x)))), x)]


@vjp("GlobalMaxPool")
def global_max_pool(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """All of g goes to the first maximum of each channel."""
    x = s.input(0)
    return [to_first(b, b.ArgMax, g, x, list(range(2, rank(x))))]


@vjp("GlobalLpPool")
def global_lp_pool(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g y^(1 - p) |x|^(p - 1) sign x."""
    x, p = s.input(0), s.attr("p", 2)
    if p == 1:
        return [b.Mul(g, b.Sign(x))]
    return [b.Mul(_per_norm(b, g, s.y[0], p), power_factor(b, x, p))]


def _skips(s: Site) -> str | None:
    """Refuses windows that begin, or end, where runtimes and the standard disagree about how many there are."""
    x = s.input(0)
    n = rank(x) - 2
    kernel, strides = s.ints("kernel_shape", []), s.ints("strides", [1] * n)
    pads, dilations = s.ints("pads", [0] * 2 * n), s.ints("dilations", [1] * n)
    same = s.attr("auto_pad", "NOTSET").startswith("SAME")
    for size, k, stride, d, begin, end in zip(
        (dims(x) or ())[2:], kernel, strides, dilations, pads[:n], pads[n:], strict=True
    ):
        reach = (k - 1) * d + 1
        if reach >= stride or not (same or s.attr("ceil_mode", 0)):
            continue
        if not isinstance(size, int):
            return "strides no longer than its kernel, or explicit pads without ceil_mode"
        last = (-(-size // stride) - 1 if same else -(-(size + begin + end - reach) // stride)) * stride
        if last + reach < size if same else last >= size + begin:
            return "strides that its windows fill, or explicit pads without ceil_mode"
    return None


@vjp("LpPool", needs=_skips)
def lp_pool(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = (Σ over the windows of x of g y^(1 - p)) |x|^(p - 1) sign x."""
    x, p = s.input(0), s.attr("p", 2)
    attributes = {name: value for name, value in s.attributes().items() if name != "p"}
    inputs = [_per_norm(b, g, s.y[0], p), None, b.Shape(x)]
    (spread,) = b.op("AveragePoolGrad", inputs, {**attributes, "sums": 1}, domain=ADJOINT_DOMAIN, like=[x])
    return [b.Mul(spread, power_factor(b, x, p))]


def _per_norm(b: Emit, g: Value, norm: Value, p: int) -> Value:
    """Emits ``g norm^(1 - p)``, and 0 where the norm is 0: so is all of x there."""
    if p == 1:
        return g
    safe = b.Where(b.Equal(norm, 0.0), b.scalar(1.0, norm), norm)
    return b.Div(g, safe if p == 2 else b.Pow(safe, float(p - 1)))
