"""Colours for numbers: sequential palettes for amounts, diverging ones for signed values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xgraph.errors import InputError, nearest

Array = NDArray[Any]

ENTRIES = 257
"""Odd, so that 0.5, where a diverging palette puts zero, is an entry and not between two."""


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """A colour for every number in [0, 1]."""

    name: str
    """Name of the matplotlib colour map."""
    table: Array
    """uint8 (257, 3), read-only."""

    def __call__(self, unit: Array) -> Array:
        """Returns uint8 (..., 3) for numbers (...) in [0, 1]; what lies outside takes the end colours."""
        index = np.rint(np.clip(unit, 0.0, 1.0) * (ENTRIES - 1)).astype(np.intp)
        return np.asarray(self.table[index])


@lru_cache(maxsize=32)
def palette(name: str) -> Palette:
    """Returns the palette of a matplotlib colour map: ``seismic``, ``inferno``, ``turbo``, ``gray`` ...

    Raises:
        InputError: matplotlib has no such colour map.
    """
    from matplotlib import colormaps

    if name not in colormaps:
        raise InputError(f"palette '{name}' does not exist{nearest(name, list(colormaps))}")
    colours = colormaps[name].resampled(ENTRIES)(np.linspace(0.0, 1.0, ENTRIES))
    table = np.rint(np.asarray(colours)[:, :3] * 255.0).astype(np.uint8)
    table.flags.writeable = False
    return Palette(name, table)
