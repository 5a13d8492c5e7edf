"""Convolutions: the gradient of a correlation with W is a transposed correlation with W, and vice versa."""

from __future__ import annotations

from collections.abc import Sequence

from xgraph.graph.adjoint import conv_input_grad
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import need_static, not_fixed, rank
from xgraph.graph.site import Site
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.shaping import like, refuse, refuse_wanted


@vjp("Conv")
def conv(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = transposed correlation of g with W; db = Σ g over all axes but the channels."""
    refuse_wanted(s, "weight", 1)
    dx = conv_input_grad(b, s, g) if s.wants[0] else None
    return [dx, None, _bias(b, s, g)][: len(s.x)]


def _open_padding(s: Site) -> str | None:
    """Padding that an ``output_shape`` stands for follows from the size of the input."""
    x = s.input(0)
    return None if s.attr("output_shape") is None else not_fixed(x, range(2, rank(x)))


@vjp("ConvTranspose", needs=_open_padding)
def conv_transpose(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = correlation of g with W, which is laid out as for a Conv from M to C channels."""
    refuse_wanted(s, "weight", 1)
    dx = _correlate(b, s, g) if s.wants[0] else None
    return [dx, None, _bias(b, s, g)][: len(s.x)]


def _bias(b: Emit, s: Site, g: Value) -> Value | None:
    if not (s.has(2) and s.wants[2]):
        return None
    return b.ReduceSum(g, [axis for axis in range(rank(g)) if axis != 1], keepdims=0)


def _correlate(b: Emit, s: Site, g: Value) -> Value:
    x, weight = s.input(0), s.input(1)
    n = rank(x) - 2
    kernel = list(need_static(weight, slice(2, None)))
    strides, dilations = s.ints("strides", [1] * n), s.ints("dilations", [1] * n)
    begins, ends = _pads(s, kernel, strides, dilations)
    # More output padding than padding: the last rows of g were reached by no tap of the kernel.
    cropped = [axis for axis, end in enumerate(ends) if end < 0]
    if cropped:
        g = b.Slice(g, [0] * len(cropped), [ends[axis] for axis in cropped], [2 + axis for axis in cropped])
    dx = b.Conv(
        g,
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
        shape = [int(size) for size in shape[-n:]]
        covered = [st * (size - 1) + r for st, size, r in zip(strides, sizes, reach, strict=True)]
        totals = [c + e - size for c, e, size in zip(covered, extra, shape, strict=True)]
    elif same in ("SAME_UPPER", "SAME_LOWER"):
        # The output has stride times the size of the input, whatever that is.
        totals = [r - st + e for r, st, e in zip(reach, strides, extra, strict=True)]
    else:
        pads = s.ints("pads", [0] * (2 * n)) if same == "NOTSET" else [0] * (2 * n)
        return pads[:n], [end - e for end, e in zip(pads[n:], extra, strict=True)]
    if min(totals) < 0:
        raise refuse(s, "its output is larger than what its kernel covers")
    begins = [total // 2 if same == "SAME_UPPER" else total - total // 2 for total in totals]
    ends = [total - begin for total, begin in zip(totals, begins, strict=True)]
    return begins, [end - e for end, e in zip(ends, extra, strict=True)]
