"""Movement of elements: linear maps of zeros and ones, whose transposes move (and add) the other way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xgraph.graph.arithmetic import joined, numbers, positions, size_of
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dims, rank, static
from xgraph.graph.site import Site
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.shaping import (
    along,
    cast_like,
    const_ints,
    like,
    positive,
    refuse,
    reshape,
    reshape_like,
    shape_of,
    sizes_of,
    zeros_like,
)


@vjp("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshaped(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g in the shape of x."""
    x = s.input(0)
    if s.op == "Unsqueeze":
        return [like(b.Squeeze(g, s.input(1)), x), None]
    if s.op == "Squeeze" and s.has(1):
        return [like(b.Unsqueeze(g, s.input(1)), x), None]
    return [reshape_like(b, g, x), None][: len(s.x)]


@vjp("Transpose")
def transpose(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g under the inverse permutation."""
    perm = s.ints("perm", list(reversed(range(rank(g)))))
    return [b.Transpose(g, perm=[perm.index(axis) for axis in range(len(perm))])]


@vjp("Expand", broadcasts=True)
def expand(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = Σ g over what was repeated."""
    return [g, None]


@vjp("Concat")
def concat(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """Every input gets its part of g."""
    axis = positive(s.attr("axis"), g)
    known = [(dims(s.input(i)) or ())[axis] for i in range(len(s.x))]
    sizes = [d if isinstance(d, int) else size_of(b, s.input(i), axis) for i, d in enumerate(known)]
    if sum(s.wants) == 1 and all(isinstance(size, int) for size in sizes):
        i = s.wants.index(True)
        start = sum(size for size in sizes[:i] if isinstance(size, int))
        part = b.Slice(g, [start], [start + sizes[i]], [axis])
        return [part if wanted else None for wanted in s.wants]
    if len(sizes) == 1:
        return [g]
    parts = b.many("Split", len(sizes), g, joined(b, sizes), axis=axis)
    return [like(part, s.input(i)) for i, part in enumerate(parts)]


@vjp("Split")
def split(b: Emit, s: Site, *g: Value | None) -> Sequence[Value | None]:
    """``dx`` = what arrives at the parts, side by side; zeros where nothing arrives."""
    given = next(share for share in g if share is not None)
    zero = b.scalar(0.0, given)
    # Of computed parts no size is known before they are there.
    parts = [b.Expand(zero, b.Shape(y)) if share is None else share for share, y in zip(g, s.y, strict=True)]
    dx = b.Concat(*parts, axis=s.attr("axis", 0)) if len(parts) > 1 else parts[0]
    return [like(dx, s.input(0)), None][: len(s.x)]


@vjp("Tile")
def tile(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = Σ g over the repetitions."""
    x, repeats = s.input(0), const_ints(s, 1)
    if repeats is None:
        pairs = b.Concat(b.Unsqueeze(s.input(1), [1]), b.Unsqueeze(shape_of(b, x), [1]), axis=1)
        folded = b.Reshape(g, b.Reshape(pairs, [-1]))
        return [like(b.ReduceSum(folded, list(range(0, 2 * rank(x), 2)), keepdims=0), x), None]
    sizes: list[int | Value] = []
    repeated = []
    for size, count in zip(sizes_of(b, x), repeats, strict=True):
        if count != 1:
            repeated.append(len(sizes))
            sizes.append(count)
        sizes.append(size)
    if not repeated:
        return [g, None]
    return [like(b.ReduceSum(reshape(b, g, sizes), repeated, keepdims=0), x), None]


@vjp("Trilu")
def trilu(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = the same triangle of g."""
    return [b.Trilu(g, s.x[1] if s.has(1) else None, upper=s.attr("upper", 1)), None][: len(s.x)]


@vjp("DepthToSpace")
def depth_to_space(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g taken apart into blocks."""
    x, block = s.input(0), s.attr("blocksize")
    if s.attr("mode", "DCR") == "DCR":
        return [like(b.SpaceToDepth(g, blocksize=block), x)]
    batch, channels, height, width = sizes_of(b, x)
    channels = channels // block**2 if isinstance(channels, int) else b.Div(channels, block**2)
    blocks = reshape(b, g, [batch, channels, height, block, width, block])
    return [reshape_like(b, b.Transpose(blocks, perm=[0, 1, 3, 5, 2, 4]), x)]


@vjp("SpaceToDepth")
def space_to_depth(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = the blocks of g put together."""
    return [like(b.DepthToSpace(g, blocksize=s.attr("blocksize"), mode=s.attr("mode", "DCR")), s.input(0))]


@vjp("Slice")
def sliced(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g at the places that were taken, 0 elsewhere."""
    x = s.input(0)
    ranges = _static_ranges(s)
    if ranges is not None:
        dx = _place(b, g, x, ranges)
    elif s.has(3) and s.const(3) is None:
        dx = _put_where_taken(b, s, g)
    else:
        dx = _scatter_slice(b, s, g)
    return [like(dx, x), *[None] * (len(s.x) - 1)]


@vjp("Pad")
def pad(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = g without the border; a border that repeats x adds to that, a value gets its sum."""
    x, mode = s.input(0), s.attr("mode", "constant")
    pads, amounts = const_ints(s, 1), s.input(1)
    if s.has(3) and s.const(3) is None:
        pads, amounts, axes = None, _pads_of_all_axes(b, s), list(range(rank(x)))
    else:
        axes = _axes(s, 3)
    n = len(axes)
    if mode != "constant":
        dx = g
        for i, axis in enumerate(axes):
            if pads is None or pads[i] or pads[i + n]:
                dx = _fold_border(b, s, dx, axis, [b.Slice(amounts, [j], [j + 1]) for j in (i, i + n)])
        return [like(dx, x), *[None] * (len(s.x) - 1)]
    dx = _crop(b, g, x, pads, axes) if pads is not None else _crop_computed(b, g, x, amounts, axes)
    value = None
    if len(s.x) > 2 and s.wants[2]:
        every = list(range(rank(x)))
        value = b.Sub(b.ReduceSum(g, every, keepdims=0), b.ReduceSum(dx, every, keepdims=0))
        value = value if s.input(2).shape is None or rank(s.input(2)) == 0 else b.Reshape(value, [1])
    return [like(dx, x), None, value, None][: len(s.x)]


def add_along(b: Emit, g: Value, x: Value, index: Value, axis: int) -> Value:
    """Emits zeros of the shape of ``x`` but along ``axis``, with g added at ``index`` (a vector) there."""
    spread = b.Expand(along(b, index, axis, x), shape_of(b, g))
    sizes = sizes_of(b, g)
    sizes[axis] = sizes_of(b, x)[axis]
    zeros = b.Expand(b.scalar(0.0, g), joined(b, sizes))
    return b.ScatterElements(zeros, spread, g, axis=axis, reduction="add")


def _axes(s: Site, i: int) -> list[int]:
    x = s.input(0)
    if not s.has(i):
        return list(range(rank(x)))
    given = const_ints(s, i)
    if given is None:
        raise refuse(s, "its axes are computed")
    return [positive(axis, x) for axis in given]


def _static_ranges(s: Site) -> dict[int, range] | None:
    """Returns what is taken along each axis, or None where that is known at run time only."""
    x = s.input(0)
    starts, ends = const_ints(s, 1), const_ints(s, 2)
    steps = const_ints(s, 4) if s.has(4) else [1] * len(starts or [])
    if starts is None or ends is None or steps is None or (s.has(3) and s.const(3) is None):
        return None
    axes = _axes(s, 3)[: len(starts)]
    ranges = {}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = (dims(x) or ())[axis]
        if not isinstance(size, int):
            return None
        ranges[axis] = range(*slice(start, end, step).indices(size))
    return ranges


def _place(b: Emit, g: Value, x: Value, ranges: dict[int, range]) -> Value:
    """Puts g at static places: turns it where steps are negative, spaces it out, and pads it with zeros."""
    turned = [axis for axis, r in ranges.items() if r.step < 0]
    if turned:
        n = len(turned)
        g = b.Slice(g, [-1] * n, [np.iinfo(np.int64).min] * n, turned, [-1] * n)
        ranges = {axis: r[::-1] if axis in turned else r for axis, r in ranges.items()}
    g = _space_out(b, g, {axis: r.step for axis, r in ranges.items() if r.step > 1 and len(r) > 1})
    before, after = [0] * rank(x), [0] * rank(x)
    for axis, r in ranges.items():
        size = (dims(x) or ())[axis]
        assert isinstance(size, int)
        reach = len(r) * r.step if len(r) > 1 else len(r)
        before[axis] = r.start if len(r) else 0
        after[axis] = size - before[axis] - reach
    # Spacing out leaves a tail of zeros after the last element, which may reach beyond x.
    cut = [axis for axis, missing in enumerate(after) if missing < 0]
    if cut:
        g = b.Slice(g, [0] * len(cut), [after[axis] for axis in cut], cut)
    pads = [*before, *(max(missing, 0) for missing in after)]
    return b.Pad(g, pads) if any(pads) else g


def _space_out(b: Emit, g: Value, steps: dict[int, int]) -> Value:
    """Puts ``step - 1`` zeros behind every element along each axis."""
    if not steps:
        return g
    inner: list[int | Value] = []
    outer: list[int | Value] = []
    ends = []
    for axis, size in enumerate(sizes_of(b, g)):
        inner.append(size)
        ends.append(0)
        if axis in steps:
            inner.append(1)
            ends.append(steps[axis] - 1)
            size = size * steps[axis] if isinstance(size, int) else b.Mul(size, steps[axis])
        outer.append(size)
    return reshape(b, b.Pad(reshape(b, g, inner), [*[0] * len(ends), *ends]), outer)


def _scatter_slice(b: Emit, s: Site, g: Value) -> Value:
    """As ``_place`` with everything computed: g goes where the same slice of 0, 1, .. points."""
    x, axes = s.input(0), _axes(s, 3)
    for i, axis in enumerate(axes[: (static(s.input(1)) or (len(axes),))[0]]):
        bounds = [b.Slice(s.input(j), [i], [i + 1], [0]) for j in (1, 2)]
        step = b.Slice(s.input(4), [i], [i + 1], [0]) if s.has(4) else None
        taken = b.Slice(positions(b, x, axis), *bounds, [0], step)
        g = add_along(b, g, x, taken, axis)
    return g


def _put_where_taken(b: Emit, s: Site, g: Value) -> Value:
    """As ``_place`` with unknown axes: g goes where the same slice of the numbered elements of x points."""
    x = s.input(0)
    taken = b.Slice(b.Reshape(numbers(b, b.Size(x)), b.Shape(x)), *s.x[1:])
    zeros = b.Reshape(zeros_like(b, x, g), [-1])
    return b.Reshape(b.ScatterElements(zeros, b.Reshape(taken, [-1]), b.Reshape(g, [-1])), b.Shape(x))


def _crop(b: Emit, g: Value, x: Value, pads: list[int], axes: list[int]) -> Value:
    n = len(axes)
    cropped = [i for i in range(n) if pads[i] > 0 or pads[i + n] > 0]
    if cropped:
        starts = [max(pads[i], 0) for i in cropped]
        ends = [-pads[i + n] if pads[i + n] > 0 else np.iinfo(np.int64).max for i in cropped]
        g = b.Slice(g, starts, ends, [axes[i] for i in cropped])
    # Negative padding cut something off, which gets nothing.
    back = [0] * (2 * rank(x))
    for i, axis in enumerate(axes):
        back[axis], back[axis + rank(x)] = max(-pads[i], 0), max(-pads[i + n], 0)
    return b.Pad(g, back) if any(back) else g


def _crop_computed(b: Emit, g: Value, x: Value, pads: Value, axes: list[int]) -> Value:
    """As ``_crop`` with computed pads."""
    n = len(axes)
    g = b.Pad(g, b.Max(b.Neg(pads), [0]), None, axes)
    starts = b.Max(b.Slice(pads, [0], [n]), [0])
    sizes = b.Gather(shape_of(b, x), axes)
    return b.Slice(g, starts, b.Add(starts, sizes), axes)


def _pads_of_all_axes(b: Emit, s: Site) -> Value:
    """Spreads the pads of computed axes out over all axes, the others with 0."""
    n = rank(s.input(0))
    axes = b.Mod(cast_like(b, s.input(3), s.input(1)), n)
    return b.ScatterElements(np.zeros(2 * n, np.int64), b.Concat(axes, b.Add(axes, n), axis=0), s.input(1))


def _fold_border(b: Emit, s: Site, g: Value, axis: int, pads: list[Value]) -> Value:
    """Adds g along ``axis`` to where its elements came from: what the same padding makes of 0, 1, .."""
    x = s.input(0)
    source = b.Pad(positions(b, x, axis), b.Concat(*pads, axis=0), mode=s.attr("mode"))
    return add_along(b, g, x, source, axis)
