"""From numbers per window, grid cell or segment to maps, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def windows(draws: np.ndarray, positions: np.ndarray, strides: np.ndarray) -> np.ndarray:
    """Returns where the windows with these numbers start, the last axis counting fastest.

    Args:
        draws: int64[pairs], numbers of windows.
        positions: int64[axes], windows along each axis.
        strides: int64[axes], entries from one window to the next.

    Returns:
        int64[pairs, axes]

    Raises:
        ValueError: There is no window with such a number.
    """
    found = np.unravel_index(np.asarray(draws, np.int64), tuple(int(n) for n in positions))
    return np.stack(found, axis=1) * np.asarray(strides, np.int64)


def paint_windows(drops: np.ndarray, window: Sequence[int], stride: Sequence[int], sizes: Sequence[int]) -> np.ndarray:
    """Returns the sum over all windows of a window's number on the entries it covers.

    Args:
        drops: float64[*positions], a number for each window.
        window: entries along each axis; windows are cut where the map ends.
        stride: entries from one window to the next.
        sizes: of the map.

    Returns:
        float64[*sizes]
    """
    painted = np.zeros(tuple(sizes))
    for position in np.ndindex(drops.shape):
        box = tuple(slice(i * step, i * step + size) for i, step, size in zip(position, stride, window, strict=True))
        painted[box] += drops[position]
    return painted


def cover_windows(
    positions: Sequence[int], window: Sequence[int], stride: Sequence[int], sizes: Sequence[int]
) -> np.ndarray:
    """Returns by how many windows each entry is covered: the product of how many cover it along each axis.

    Args:
        positions: windows along each axis.
        window: entries along each axis; windows are cut where the map ends.
        stride: entries from one window to the next.
        sizes: of the map.

    Returns:
        int64[*sizes]
    """
    cover = np.ones((), np.int64)
    for count, length, step, size in zip(positions, window, stride, sizes, strict=True):
        along = np.zeros(size, np.int64)
        for i in range(count):
            along[i * step : i * step + length] += 1
        cover = np.multiply.outer(cover, along)
    return cover


def accumulate_grids(grids: np.ndarray, places: np.ndarray, scores: np.ndarray, sums: np.ndarray) -> None:
    """Adds coarse grids, weighted with scores, to the sum of the place they were shifted to, in place.

    Upsampling is linear, so the sum of upsampled masks is upsampled once for each place, not once for each mask.

    Args:
        grids: uint8[pairs, cells], of 0 and 1.
        places: int64[pairs], which shift a pair's grid had.
        scores: float64[pairs, targets]
        sums: float64[targets, places, cells]: ``sums[target, places[p]] += scores[p, target] * grids[p]``.

    Raises:
        IndexError: There is no such place.
    """
    check_places(places, sums.shape[1])
    for grid, place, score in zip(grids, places, scores, strict=True):
        sums[:, place] += score[:, None] * grid


def segment_sums(values: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Returns the sum over each segment, channel by channel, pixels added up in their order.

    Args:
        values: float32[channels, pixels]
        labels: int32[pixels]; pixels with a label outside 0 ... count - 1 are ignored.
        count: of segments.

    Returns:
        float64[channels, count]
    """
    known = (labels >= 0) & (labels < count)
    sums = np.zeros((len(values), count))
    for own, channel in zip(sums, values, strict=True):
        own[:] = np.bincount(labels[known], channel[known], minlength=count)
    return sums


def segment_sizes(labels: np.ndarray, count: int) -> np.ndarray:
    """Returns how many pixels each segment has.

    Args:
        labels: int32[pixels]; pixels with a label outside 0 ... count - 1 are ignored.
        count: of segments.

    Returns:
        int64[count]
    """
    return np.bincount(labels[(labels >= 0) & (labels < count)], minlength=count).astype(np.int64)


def check_places(places: np.ndarray, count: int) -> None:
    """Refuses places that are not there.

    Raises:
        IndexError: One of them is below 0, or not below the count.
    """
    if len(places) and not 0 <= places.min() <= places.max() < count:
        raise IndexError(f"places from {places.min()} to {places.max()} should be from 0 to {count - 1}")
