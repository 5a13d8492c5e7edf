"""Interval arithmetic against brute force: make pixels dirty one way, see what a window node's output does."""

from itertools import product

import pytest

from xgraph.graph.incremental.intervals import (
    FAR,
    Axis,
    Region,
    Slide,
    everything,
    needed,
    new_rows,
    old_rows,
    patch,
    taps_inside,
    through,
    union,
)

SLIDES = [
    Slide(kernel, stride, dilation, begin)
    for kernel, stride, dilation, begin in product((1, 2, 3, 5), (1, 2, 3), (1, 2), (0, 1, 2))
    if begin < kernel * dilation
]


def taps(slide: Slide, output: int) -> range:
    first = output * slide.stride - slide.begin
    return range(first, first + slide.reach, slide.dilation)


@pytest.mark.parametrize("end", [0, 1])
@pytest.mark.parametrize("slide", SLIDES, ids=str)
def test_through_covers_what_changes_and_not_more(slide: Slide, end: int) -> None:
    extent, window = 17, 4
    outputs = (extent + slide.begin + end - slide.reach) // slide.stride + 1
    starts = range(0, extent, 3)
    before = patch(starts, window, extent)
    after = through(before, slide, outputs)
    spans = []
    for start, found in zip(before.starts, after.starts, strict=True):
        dirty = range(start, start + window)
        # Taps between dilated ones are counted as read: an interval has no holes.
        reads = (range(taps(slide, o)[0], taps(slide, o)[-1] + 1) for o in range(outputs))
        changed = [o for o, read in enumerate(reads) if set(read) & set(dirty)]
        assert all(found <= o < found + after.size for o in changed)
        assert 0 <= found <= found + after.size <= outputs
        spans.append(changed[-1] - changed[0] + 1 if changed else 0)
    assert after.size == max(*spans, 1)


def test_patch_over_the_end_is_moved_inside() -> None:
    assert patch([0, 4, 8], 5, 10) == Axis((0, 4, 5), 5, 10)
    assert patch([0, 2], 7, 4) == Axis((0, 0), 4, 4)


def test_union_covers_both_with_one_size() -> None:
    a, b = Axis((0, 3, 7), 2, 9), Axis((1, 3, 6), 3, 9)
    assert union([a, b]) == Axis((0, 3, 5), 4, 9)
    assert union([a, a]) is a


@pytest.mark.parametrize("slide", SLIDES, ids=str)
def test_needed_holds_every_tap(slide: Slide) -> None:
    axis = Axis((0, 2, 5), 3, 8)
    region = needed(axis, slide)
    for row, start in zip(region.coordinates(), axis.starts, strict=True):
        read = {tap for o in range(start, start + 3) for tap in taps(slide, o)}
        assert read <= set(row.tolist())
        assert {min(read), max(read)} == {row[0], row[-1]}


def test_rows_of_a_region() -> None:
    axis, region = Axis((2,), 3, 6), Region((-1,), 8)
    assert old_rows(region, 6, 10).tolist() == [[FAR, 0, 10, 20, 30, 40, 50, FAR]]
    ends = axis.array(), axis.array() + 2
    assert new_rows(region, *ends, 3, relative=True).tolist() == [[-FAR] * 3 + [0, 3, 6] + [-FAR] * 2]
    assert new_rows(region, *ends, 3, relative=False).tolist() == [[-FAR] * 3 + [6, 9, 12] + [-FAR] * 2]


def test_regions_that_need_no_gathering() -> None:
    axis = Axis((1, 4), 3, 9)
    assert needed(axis, Slide()).is_all_of(axis)
    assert not needed(axis, Slide(begin=1)).is_all_of(axis)
    assert everything(axis) == Region((0, 0), 9)


def test_taps_inside() -> None:
    assert taps_inside(Slide(3, 2, 1, 1), 5, 3).tolist() == [2, 3, 2]
