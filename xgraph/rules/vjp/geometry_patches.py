"""Patches: DeformConv gathers them from between the pixels, Col2Im adds them up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xgraph.graph.arithmetic import count, joined, product, size_of
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import need_static, rank
from xgraph.graph.site import Site
from xgraph.rules.derived import through
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.geometry import linear_taps, sampled, spread_samples, zero_outside
from xgraph.rules.vjp.shaping import cast_like, const_ints, reshape_like, sizes_of


@through(vjp, "DeformConv")
def deform_conv(b: Emit, s: Site) -> Sequence[Value | None]:
    """``y[o] = B + Σ W[k] mask[k, o] x[o stride + k dilation - begin + offset[k, o]]``, x interpolated, 0 outside."""
    x, weight, offset = s.input(0), s.input(1), s.input(2)
    n = rank(x) - 2
    kernel = list(need_static(weight, slice(2, None)))
    taps = int(np.prod(kernel))
    groups, shifts = int(s.attr("group", 1)), int(s.attr("offset_group", 1))
    batch, channels, *sizes = sizes_of(b, x)
    outputs = sizes_of(b, offset)[2:]
    rows = product(b, [batch, shifts])
    channels_each = _per(b, channels, shifts)
    image = b.Reshape(x, joined(b, [rows, channels_each, *sizes]))
    moved = b.Reshape(offset, joined(b, [rows, taps, n, *outputs]))
    axes = []
    for axis in range(n):
        shift = b.Squeeze(b.Slice(moved, [axis], [axis + 1], [2]), [2])
        at = b.Add(shift, cast_like(b, _regular(b, s, kernel, outputs, axis), x))
        axes.append(zero_outside(b, *linear_taps(b, at, axis, n), size_of(b, x, 2 + axis)))
    columns = sampled(b, image, spread_samples(b, image, 2 + n), axes)
    if s.has(4):
        columns = b.Mul(columns, b.Unsqueeze(b.Reshape(s.input(4), joined(b, [rows, taps, *outputs])), [-1]))
    # [N, offset groups, K, P, C / offset groups] -> [N, groups, C / groups * K, P]
    pixels = product(b, outputs)
    split = b.Reshape(columns, joined(b, [batch, shifts, taps, pixels, channels_each]))
    by_channel = b.Transpose(split, perm=[0, 1, 4, 2, 3])
    reduced = product(b, [_per(b, channels, groups), taps])
    grouped = b.Reshape(by_channel, joined(b, [batch, groups, reduced, pixels]))
    maps = sizes_of(b, weight)[0]
    flat = b.Reshape(weight, joined(b, [groups, _per(b, maps, groups), reduced]))
    y = b.Reshape(b.MatMul(flat, grouped), joined(b, [batch, maps, *outputs]))
    return [b.Add(y, b.Unsqueeze(s.input(3), list(range(1, 1 + n)))) if s.has(3) else y]


def _per(b: Emit, size: int | Value, parts: int) -> int | Value:
    return size // parts if isinstance(size, int) else b.Div(size, parts)


def _regular(b: Emit, s: Site, kernel: list[int], outputs: Sequence[int | Value], axis: int) -> Value:
    """Emits where the taps of all windows lie along one axis before they are moved, ``[K, *outputs]`` by broadcast."""
    n = len(kernel)
    stride, dilation = s.ints("strides", [1] * n)[axis], s.ints("dilations", [1] * n)[axis]
    begin = s.ints("pads", [0] * (2 * n))[axis]
    tap = np.indices(kernel)[axis].reshape(-1, *[1] * n) * dilation - begin
    size = outputs[axis]
    starts = count(b, b.constant(np.asarray([size], np.int64)) if isinstance(size, int) else size)
    others = [other for other in range(1 + n) if other != 1 + axis]
    return b.Add(b.Mul(b.Unsqueeze(starts, others), stride), b.constant(tap.astype(np.int64)))


@vjp("Col2Im")
def col2im(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = the patches of g: ``dx[n, c k, o] = g[n, c, o stride + k dilation - begin]``, 0 outside."""
    x, image, block = s.input(0), s.input(1), s.input(2)
    n = rank(g) - 2
    strides, dilations = s.ints("strides", [1] * n), s.ints("dilations", [1] * n)
    pads = s.ints("pads", [0] * (2 * n))
    if any(pads):
        g = b.Pad(g, [0, 0, *pads[:n], 0, 0, *pads[n:]])
    for axis in range(n):
        kernel = _entry(b, s, 2, block, axis)
        padded = b.Add(_entry(b, s, 1, image, axis), [pads[axis] + pads[axis + n] - 1])
        free = b.Sub(padded, b.Mul(b.Sub(kernel, [1]), [dilations[axis]]))
        windows = b.Add(b.Div(free, [strides[axis]]), [1])
        taps = b.Unsqueeze(b.Mul(count(b, kernel), dilations[axis]), [1])
        places = b.Add(taps, b.Unsqueeze(b.Mul(count(b, windows), strides[axis]), [0]))
        # Axis i of the image has become the pair (k, o), as have those before it.
        g = b.Gather(g, places, axis=2 + 2 * axis)
    patches = b.Transpose(g, perm=[0, 1, *range(2, 2 + 2 * n, 2), *range(3, 2 + 2 * n, 2)])
    return [reshape_like(b, patches, x), None, None]


def _entry(b: Emit, s: Site, i: int, vector: Value, axis: int) -> Value:
    known = const_ints(s, i)
    return b.Slice(vector, [axis], [axis + 1]) if known is None else b.constant(np.asarray([known[axis]], np.int64))
