"""MaxPoolGrad: what arrives at a window goes to its maximum, to the first one where several are equal."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import onnx_ir as ir

from xgraph.graph.emit import Emit
from xgraph.graph.lower.interleave import interleaved
from xgraph.graph.lower.window import Window, read_window
from xgraph.graph.site import Site

_MOST_TAPS = 32
"""Larger windows would make more slices than the scatter costs."""


def max_pool_grad(b: Emit, s: Site, profile: str) -> ir.Value:
    """Emits ``dx[argmax(window o)] += g[o]``.

    OpenVINO runs the indices of MaxPool in a reference kernel that costs more than the rest of a network, so
    there the maximum is found by comparing slices; ONNX Runtime's own indices are cheaper than the slices.
    """
    window = read_window(s, s.ints("kernel_shape", []))
    if profile == "openvino" and window.outputs is not None and math.prod(window.kernel) <= _MOST_TAPS:
        return _compared(b, s, window)
    return _scattered(b, s)


def _scattered(b: Emit, s: Site) -> ir.Value:
    """Emits a second MaxPool for its indices, which count over the whole ``[N, C, *sizes]``, and a scatter.

    The scatter adds in float32: ONNX Runtime's CPU provider has none that adds 16-bit numbers.
    """
    g, x = s.input(0), s.input(2)
    assert g.dtype is not None
    terms = b.Cast(g, to=int(ir.DataType.FLOAT)) if g.dtype.itemsize < 4 else g
    # Column-major storage would only number the same maxima differently.
    attributes = {name: value for name, value in s.attributes().items() if name != "storage_order"}
    _, indices = b.many("MaxPool", 2, x, **attributes)
    zeros = b.Expand(b.scalar(0.0, terms), b.Reshape(b.Size(x), [1]))
    flat = b.ScatterElements(zeros, b.Reshape(indices, [-1]), b.Reshape(terms, [-1]), axis=0, reduction="add")
    return b.Reshape(flat if terms is g else b.Cast(flat, to=int(g.dtype)), b.Shape(x))


def _compared(b: Emit, s: Site, window: Window) -> ir.Value:
    """Emits, for each tap of the window, g where the tap holds the maximum and no earlier tap does.

    Tap ``k`` reads the padded input at ``o * stride + k * dilation``: what it gives back goes to the phase
    ``k * dilation mod stride``, moved by ``k * dilation div stride``. Phases are interleaved at the end.
    """
    g, x = s.input(0), s.input(2)
    assert window.sizes is not None
    assert window.outputs is not None
    assert window.begins is not None
    n = len(window.kernel)
    top = _forward_output(b, s)
    padded = _padded(b, x, window)
    zero = b.scalar(0.0, g)
    moves = [(r - 1) // t for r, t in zip(window.reach, window.strides, strict=True)]
    sums: dict[tuple[int, ...], ir.Value] = {}
    taken: ir.Value | None = None
    for tap in product(*map(range, window.kernel)):
        offsets = [k * d for k, d in zip(tap, window.dilations, strict=True)]
        hit = b.Equal(_slice(b, padded, offsets, window), top)
        first = hit if taken is None else b.And(hit, b.Not(taken))
        taken = hit if taken is None else b.Or(taken, hit)
        before = [offset // t for offset, t in zip(offsets, window.strides, strict=True)]
        after = [move - shift for move, shift in zip(moves, before, strict=True)]
        share = b.Where(first, g, zero)
        if any(before) or any(after):
            share = b.Pad(share, [0, 0, *before, 0, 0, *after])
        phase = tuple(offset % t for offset, t in zip(offsets, window.strides, strict=True))
        sums[phase] = b.Add(sums[phase], share) if phase in sums else share
    empty = b.Mul(next(iter(sums.values())), 0.0) if len(sums) < math.prod(window.strides) else None
    phases = [sums.get(phase, empty) for phase in product(*map(range, window.strides))]
    image = interleaved(b, [phase for phase in phases if phase is not None], window.strides)
    have = [(o + move) * t for o, move, t in zip(window.outputs, moves, window.strides, strict=True)]
    ends = [p + size for p, size in zip(window.begins, window.sizes, strict=True)]
    missing = [max(end - size, 0) for end, size in zip(ends, have, strict=True)]
    if any(missing):
        image = b.Pad(image, [0] * (n + 4) + missing)
    return b.Slice(image, list(window.begins), ends, list(range(2, 2 + n)))


def _forward_output(b: Emit, s: Site) -> ir.Value:
    """Returns what the forward MaxPool gave: the output of the node that is there, else of a second one."""
    attributes = s.attributes()
    for use in s.input(2).uses():
        other = Site(use.node)
        if other.op == "MaxPool" and other.attributes() == attributes:
            return other.y[0]
    return b.MaxPool(s.input(2), **attributes)


def _padded(b: Emit, x: ir.Value, window: Window) -> ir.Value:
    """Pads with what is never a maximum, so that every tap of every window lies inside."""
    assert window.sizes is not None
    assert window.begins is not None
    assert x.dtype is not None
    behind = [
        max(covered - begin - size, 0)
        for covered, begin, size in zip(window.covered(), window.begins, window.sizes, strict=True)
    ]
    if not any(window.begins) and not any(behind):
        return x
    lowest = float(np.finfo(x.dtype.numpy()).min)
    return b.Pad(x, [0, 0, *window.begins, 0, 0, *behind], b.scalar(lowest, x))


def _slice(b: Emit, padded: ir.Value, offsets: list[int], window: Window) -> ir.Value:
    assert window.outputs is not None
    steps = list(window.strides)
    ends = [f + (o - 1) * t + 1 for f, o, t in zip(offsets, window.outputs, steps, strict=True)]
    return b.Slice(padded, offsets, ends, list(range(2, 2 + len(steps))), steps)
