"""Convolutions: the gradient of a correlation with W is a transposed correlation with W, and vice versa."""

from __future__ import annotations

from collections.abc import Sequence

from xgraph.graph.adjoint import conv_input_grad
from xgraph.graph.arithmetic import joined, product
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dims, need_static, rank, static
from xgraph.graph.site import Site
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.shaping import like, shape_of, sizes_of


@vjp("Conv")
def conv(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = transposed correlation of g with W; dW = correlation of x with g; db = Σ g but over the channels."""
    dx = conv_input_grad(b, s, g) if s.wants[0] else None
    dw = _correlated(b, s, s.input(0), g) if s.wants[1] else None
    return [dx, dw, _bias(b, s, g)][: len(s.x)]


def _overshoots(s: Site) -> str | None:
    """Under SAME padding a runtime leaves away what strides reach beyond the kernel, and the standard does not."""
    kernel, strides = dims(s.input(1)), s.ints("strides", [])
    same = s.attr("auto_pad", "NOTSET").startswith("SAME") and s.attr("output_shape") is None
    pairs = zip((kernel or ())[2:], strides, strict=False)
    beyond = any(isinstance(size, int) and size < stride for size, stride in pairs)
    return "strides no longer than its kernel, or explicit pads" if same and beyond else None


@vjp("ConvTranspose", needs=_overshoots)
def conv_transpose(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = correlation of g with W, which is laid out as for a Conv from M to C channels; dW = that of g with x."""
    dx = _correlate(b, s, g) if s.wants[0] else None
    dw = _correlated(b, s, g, s.input(0)) if s.wants[1] else None
    return [dx, dw, _bias(b, s, g)][: len(s.x)]


def _bias(b: Emit, s: Site, g: Value) -> Value | None:
    if not (s.has(2) and s.wants[2]):
        return None
    return b.ReduceSum(g, [axis for axis in range(rank(g)) if axis != 1], keepdims=0)


def _correlated(b: Emit, s: Site, wide: Value, narrow: Value) -> Value:
    """Emits ``dW[m, c, k] = Σ narrow[n, m, o] wide[n, c, o stride + k dilation - begin]`` over samples n and windows o.

    A convolution whose samples are the channels of ``wide``, whose channels are the samples, and whose taps are the
    windows: strides and dilations change places.
    """
    weight = s.input(1)
    n = rank(wide) - 2
    kernel = list(need_static(weight, slice(2, None)))
    strides, dilations = s.ints("strides", [1] * n), s.ints("dilations", [1] * n)
    wide, begins, ends = _padded(b, s, wide, narrow, kernel, strides, dilations)
    samples = b.Conv(
        _channels_first(b, _cropped(b, wide, ends), s.attr("group", 1)),
        b.Transpose(narrow, perm=[1, 0, *range(2, 2 + n)]),
        strides=dilations,
        dilations=strides,
        group=s.attr("group", 1),
        pads=[*begins, *(max(end, 0) for end in ends)],
    )
    # Where windows do not reach the end of ``wide``, there are places for more taps than the kernel has.
    taps = b.Slice(samples, [0] * n, kernel, list(range(2, 2 + n)))
    return like(b.Transpose(taps, perm=[1, 0, *range(2, 2 + n)]), weight)


def _padded(
    b: Emit, s: Site, wide: Value, narrow: Value, kernel: list[int], strides: list[int], dilations: list[int]
) -> tuple[Value, list[int], list[int]]:
    """Returns ``wide`` and the padding it lacks; padding that follows from open sizes is there already."""
    n, mode = len(kernel), s.attr("auto_pad", "NOTSET")
    transposed = s.op == "ConvTranspose"
    if transposed and (s.attr("output_shape") is None or static(narrow, slice(2, None)) is not None):
        return wide, *_pads(s, kernel, strides, dilations)
    if not transposed and mode not in ("SAME_UPPER", "SAME_LOWER"):
        pads = s.ints("pads", [0] * (2 * n)) if mode == "NOTSET" else [0] * (2 * n)
        return wide, pads[:n], pads[n:]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    windows, sizes = (b.Slice(shape_of(b, value), [2], [2 + n]) for value in (narrow, wide))
    missing = b.Sub(b.Add(b.Mul(b.Sub(windows, [1]), strides), reach), sizes)
    totals = b.Max(b.Add(missing, s.ints("output_padding", [0] * n)), [0])
    half = b.Div(totals, [2])
    begins = half if mode == "SAME_UPPER" else b.Sub(totals, half)
    sides = b.Concat(begins, b.Sub(missing, begins), axis=0)
    return b.Pad(wide, sides, None, list(range(2, 2 + n))), [0] * n, [0] * n


def _channels_first(b: Emit, x: Value, groups: int) -> Value:
    """Emits ``[N, G c, *sizes] -> [c, G N, *sizes]``."""
    batch, channels, *sizes = sizes_of(b, x)
    n = len(sizes)
    if groups == 1:
        return b.Transpose(x, perm=[1, 0, *range(2, 2 + n)])
    each = channels // groups if isinstance(channels, int) else b.Div(channels, groups)
    parts = b.Transpose(b.Reshape(x, joined(b, [batch, groups, each, *sizes])), perm=[2, 1, 0, *range(3, 3 + n)])
    return b.Reshape(parts, joined(b, [each, product(b, [batch, groups]), *sizes]))


def _cropped(b: Emit, g: Value, ends: list[int]) -> Value:
    """Cuts off what more output padding than padding added: no tap of the kernel reached it."""
    axes = [axis for axis, end in enumerate(ends) if end < 0]
    return b.Slice(g, [0] * len(axes), [ends[axis] for axis in axes], [2 + axis for axis in axes]) if axes else g


def _correlate(b: Emit, s: Site, g: Value) -> Value:
    x, weight = s.input(0), s.input(1)
    n = rank(x) - 2
    kernel = list(need_static(weight, slice(2, None)))
    strides, dilations = s.ints("strides", [1] * n), s.ints("dilations", [1] * n)
    g, begins, ends = _padded(b, s, g, x, kernel, strides, dilations)
    dx = b.Conv(
        _cropped(b, g, ends),
        weight,
        kernel_shape=kernel,
        strides=strides,
        dilations=dilations,
        group=s.attr("group", 1),
        pads=[*begins, *(max(end, 0) for end in ends)],
    )
    return like(dx, x)


def _pads(s: Site, kernel: list[int], strides: list[int], dilations: list[int]) -> tuple[list[int], list[int]]:
    """Returns what is cut in front and behind, output padding subtracted; negative where it adds instead."""
    n = len(kernel)
    extra = s.ints("output_padding", [0] * n)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    same = s.attr("auto_pad", "NOTSET")
    shape = s.attr("output_shape")
    if shape is not None:
        sizes = need_static(s.input(0), slice(2, None))
        covered = [st * (size - 1) + r for st, size, r in zip(strides, sizes, reach, strict=True)]
        missing = [c - int(size) for c, size in zip(covered, shape[-n:], strict=True)]
    elif same in ("SAME_UPPER", "SAME_LOWER"):
        # The output has stride times the size of the input, whatever that is.
        missing = [r - st for r, st in zip(reach, strides, strict=True)]
    else:
        pads = s.ints("pads", [0] * (2 * n)) if same == "NOTSET" else [0] * (2 * n)
        return pads[:n], [end - e for end, e in zip(pads[n:], extra, strict=True)]
    # What the windows do not cover lies behind them.
    totals = [max(m + e, 0) for m, e in zip(missing, extra, strict=True)]
    begins = [total // 2 if same == "SAME_UPPER" else total - total // 2 for total in totals]
    return begins, [m - begin for m, begin in zip(missing, begins, strict=True)]
