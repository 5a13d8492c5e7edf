"""GridSample and AffineGrid, written out as sampling at the places of a grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xgraph.graph.arithmetic import count, joined, keys_kernel, size_of
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import rank
from xgraph.graph.site import Site
from xgraph.rules.derived import through
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.geometry import Taps, bounded, linear_taps, offsets, sampled, spread_samples, whole, zero_outside
from xgraph.rules.vjp.shaping import cast_like, refuse

_CUBIC_A = -0.75


@through(vjp, "GridSample")
def grid_sample(b: Emit, s: Site) -> Sequence[Value | None]:
    """``y[n, :, p] = Σ w x[n, :, place]`` over the taps around ``grid[n, p]``, whose last coordinate comes first."""
    x, grid = s.input(0), s.input(1)
    n = rank(x) - 2
    axes = []
    for axis in range(n):
        at = b.Squeeze(b.Slice(grid, [n - 1 - axis], [n - axis], [-1]), [-1])
        axes.append(_axis_taps(b, s, cast_like(b, at, x), axis, n))
    y = sampled(b, x, spread_samples(b, x, 1 + n), axes)
    return [b.Transpose(y, perm=[0, 1 + n, *range(1, 1 + n)])]


def _axis_taps(b: Emit, s: Site, grid: Value, axis: int, axes: int) -> Taps:
    """Emits the taps along one axis; padding acts on each of them, which also reflects and bounds the coordinates."""
    size = size_of(b, s.input(0), 2 + axis)
    at = _pixels(b, grid, size, bool(s.attr("align_corners", 0)))
    mode = s.attr("mode", "linear")
    if mode == "nearest":
        places = whole(b, b.Round(at))
        weights = b.scalar(1.0, at)
    elif mode in ("linear", "bilinear"):
        places, weights = linear_taps(b, at, axis, axes)
    elif mode in ("cubic", "bicubic"):
        places, weights = _cubic_taps(b, at, axis, axes)
    else:
        raise refuse(s, f"it has mode='{mode}'; the standard knows nearest, linear and cubic")
    if mode == "nearest":
        places = b.Unsqueeze(places, list(range(axes)))
    padding = s.attr("padding_mode", "zeros")
    if padding == "zeros":
        return zero_outside(b, places, weights, size)
    if padding == "border":
        return Taps(bounded(b, places, size), weights)
    if padding == "reflection":
        return Taps(_reflected(b, places, size, bool(s.attr("align_corners", 0))), weights)
    raise refuse(s, f"it has padding_mode='{padding}'; the standard knows zeros, border and reflection")


def _pixels(b: Emit, grid: Value, size: Value, align_corners: bool) -> Value:
    """Emits the pixel coordinates of -1 .. 1: from centre to centre of the outermost pixels, or edge to edge."""
    pixels = cast_like(b, size, grid)
    if align_corners:
        return b.Mul(b.Add(grid, 1.0), b.Div(b.Sub(pixels, 1.0), 2.0))
    return b.Div(b.Sub(b.Mul(b.Add(grid, 1.0), pixels), 1.0), 2.0)


def _reflected(b: Emit, places: Value, size: Value, align_corners: bool) -> Value:
    """Emits the places mirrored at the centres (aligned) or edges of the outermost pixels until they lie inside."""
    if align_corners:
        period = b.Max(b.Mul(b.Sub(size, [1]), [2]), [1])
        folded = b.Mod(places, period)
        mirrored = b.Sub(period, folded)
    else:
        period = b.Mul(size, [2])
        folded = b.Mod(places, period)
        mirrored = b.Sub(b.Sub(period, [1]), folded)
    # With a single pixel the period is a stand-in for zero.
    return bounded(b, b.Min(folded, mirrored), size)


def _cubic_taps(b: Emit, at: Value, axis: int, axes: int) -> tuple[Value, Value]:
    """Emits the four places around ``at`` and Keys' kernel of their distances, with a = -3/4."""
    low = b.Floor(at)
    taps = np.arange(-1, 3)
    places = b.Add(whole(b, low), offsets(b, taps, axis, axes, rank(at)))
    distance = b.Abs(b.Sub(b.Sub(at, low), cast_like(b, offsets(b, taps, axis, axes, rank(at)), at)))
    near, far = keys_kernel(b, distance, _CUBIC_A)
    inner = offsets(b, (taps == 0) | (taps == 1), axis, axes, rank(at))
    return places, b.Where(inner, near, far)


@through(vjp, "AffineGrid")
def affine_grid(b: Emit, s: Site) -> Sequence[Value | None]:
    """``grid[n, p] = theta[n] (p, 1)`` for the places p of a regular grid over -1 .. 1, last coordinate first."""
    theta, size = s.input(0), s.input(1)
    n = rank(s.y[0]) - 2
    sizes = [b.Slice(size, [2 + axis], [3 + axis]) for axis in range(n)]
    shape = b.Concat(*sizes, axis=0)
    columns = []
    for axis in reversed(range(n)):
        ramp = _ramp(b, sizes[axis], theta, bool(s.attr("align_corners", 0)))
        others = [other for other in range(n) if other != axis]
        columns.append(b.Reshape(b.Expand(b.Unsqueeze(ramp, others), shape), [-1, 1]))
    columns.append(b.Expand(b.scalar(1.0, theta), b.Shape(columns[0])))
    grid = b.MatMul(b.Concat(*columns, axis=1), b.Transpose(theta, perm=[0, 2, 1]))
    return [b.Reshape(grid, joined(b, [0, *sizes, n]))]


def _ramp(b: Emit, size: Value, like: Value, align_corners: bool) -> Value:
    """Emits the centres of so many pixels over -1 .. 1, or, aligned, as many points from end to end.

    A single aligned point is at 1, where ONNX Runtime puts it; the standard does not say.
    """
    numbers, pixels = cast_like(b, count(b, size), like), cast_like(b, size, like)
    if align_corners:
        steps = b.Sub(pixels, 1.0)
        return b.Sub(b.scalar(1.0, like), b.Div(b.Mul(b.Sub(steps, numbers), 2.0), b.Max(steps, 1.0)))
    return b.Sub(b.Div(b.Add(b.Mul(numbers, 2.0), 1.0), pixels), 1.0)
