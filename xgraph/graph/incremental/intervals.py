"""Intervals that a patch makes dirty along one axis, for every position of the patch; integers only.

A window node with K = dilation (kernel - 1) + 1 reads for output o the inputs ``o stride - begin + [0, K)``. The dirty
inputs ``[a, a + n)`` reach the outputs ``[lo, hi]``:

    lo = max(0, ceil((a + begin - K + 1) / stride))        hi = min(outputs - 1, floor((a + n - 1 + begin) / stride))

All positions share one size, the largest ``hi - lo + 1``, and start at ``min(lo, outputs - size)``: what an interval
holds beyond the dirty part is computed to what it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Integers: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.int64]]"

FAR = 1 << 28
"""More than any row number; twice it still fits 32 bits."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One interval per position of the patch, all of one size and inside ``[0, extent)``."""

    starts: tuple[int, ...]
    size: int
    extent: int

    def array(self) -> Integers:
        """Returns the starts as an array."""
        return np.asarray(self.starts, np.int64)


@dataclass(frozen=True, slots=True)
class Slide:
    """How a node reads along one axis."""

    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    begin: int = 0

    @property
    def reach(self) -> int:
        """Inputs from the first to the last tap."""
        return (self.kernel - 1) * self.dilation + 1


@dataclass(frozen=True, slots=True)
class Region:
    """Inputs that an axis of a node's window is computed from: ``origins[position] + step * [0, count)``."""

    origins: tuple[int, ...]
    count: int
    step: int = 1

    def is_all_of(self, axis: Axis) -> bool:
        """Tells whether these are just the inputs of ``axis``."""
        return self.origins == axis.starts and self.count == axis.size and self.step == 1

    def coordinates(self) -> Integers:
        """Returns the inputs, (positions, count); those outside the tensor are padding."""
        return np.asarray(self.origins, np.int64)[:, None] + self.step * np.arange(self.count)


def patch(starts: Sequence[int], window: int, extent: int) -> Axis:
    """Returns the intervals of a patch; one that hangs over the end is moved back inside."""
    size = min(window, extent)
    return Axis(tuple(min(int(start), extent - size) for start in starts), size, extent)


def through(axis: Axis, slide: Slide, outputs: int) -> Axis:
    """Returns the outputs of a window node that can change."""
    first, reach = axis.array() + slide.begin, slide.reach
    # Floor division of negatives rounds down, so this is the ceiling.
    low = np.maximum(0, -((reach - 1 - first) // slide.stride))
    high = np.minimum(outputs - 1, (first + axis.size - 1) // slide.stride)
    return _common(low, high, outputs)


def union(axes: Sequence[Axis]) -> Axis:
    """Returns intervals that cover all of ``axes``, which have one extent."""
    if all(axis == axes[0] for axis in axes):
        return axes[0]
    low = np.min([axis.array() for axis in axes], axis=0)
    high = np.max([axis.array() + axis.size - 1 for axis in axes], axis=0)
    return _common(low, high, axes[0].extent)


def needed(axis: Axis, slide: Slide) -> Region:
    """Returns the inputs from which a window node computes the outputs of ``axis``."""
    origins = tuple(start * slide.stride - slide.begin for start in axis.starts)
    if slide.kernel == 1:
        return Region(origins, axis.size, slide.stride)
    return Region(origins, (axis.size - 1) * slide.stride + slide.reach)


def everything(axis: Axis) -> Region:
    """Returns the whole axis, whatever the position."""
    return Region((0,) * len(axis.starts), axis.extent)


def old_rows(region: Region, extent: int, scale: int) -> Integers:
    """Returns ``coordinate * scale`` inside the tensor and ``FAR`` in the padding, (positions, count)."""
    at = region.coordinates()
    return np.where((at >= 0) & (at < extent), at * scale, FAR)


def new_rows(region: Region, firsts: Integers, lasts: Integers, scale: int, *, relative: bool) -> Integers:
    """Returns the places of coordinates in ``[first, last]`` times ``scale``, and ``-FAR`` elsewhere.

    Places are counted from ``first`` or, unless ``relative``, from 0.
    """
    at = region.coordinates()
    inside = (at >= firsts[:, None]) & (at <= lasts[:, None])
    return np.where(inside, (at - firsts[:, None] if relative else at) * scale, -FAR)


def taps_inside(slide: Slide, extent: int, outputs: int) -> Integers:
    """Returns per output how many taps of its window are no padding."""
    taps = np.arange(outputs)[:, None] * slide.stride - slide.begin + slide.dilation * np.arange(slide.kernel)
    inside: Integers = ((taps >= 0) & (taps < extent)).sum(axis=1)
    return inside


def _common(low: Integers, high: Integers, extent: int) -> Axis:
    # With strides beyond the kernel a patch may reach nothing; one clean output is computed then.
    size = min(max(int((high - low).max()) + 1, 1), extent)
    return Axis(tuple(int(start) for start in np.minimum(low, extent - size)), size, extent)
