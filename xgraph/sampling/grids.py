"""Random grids of RISE: coarse masks of cells that are on with a probability, upsampled and moved at random.

Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", 2018, arXiv:1806.07421.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xgraph.feeds import BITS, SHIFT, SPREAD
from xgraph.kernels import backend
from xgraph.plan import Batch, Samples
from xgraph.resample import bilinear
from xgraph.sampling.designs import Bernoulli
from xgraph.sampling.features import Part
from xgraph.sampling.masked import Rows

_STREAM = 7


def spread(cells: int, size: int) -> tuple[np.ndarray, int]:
    """Returns float32 ((cells + 1) * cell, cells), the weights of bilinear upsampling, and the pixels of a cell.

    A cell is ceil(size / cells) pixels, and the grid is upsampled to one cell more than it has (half-pixel centres,
    edges continued), so that a shift of up to one cell stays inside.
    """
    cell = -(-size // cells)
    return bilinear(cells, (cells + 1) * cell).astype(np.float32), cell


@dataclass(eq=False)
class GridDraws:
    """Draws of grids and shifts."""

    rows: Rows
    design: Bernoulli
    cells: tuple[int, int]
    spreads: tuple[np.ndarray, np.ndarray]
    cell: tuple[int, int]
    """Pixels of one cell; shifts are smaller."""

    @property
    def counts(self) -> np.ndarray:
        """The same for all rows."""
        return np.full(self.rows.samples.rows, self.design.samples)

    def batch(self, rows: np.ndarray, draws: np.ndarray) -> Batch:
        """Returns the feeds of the pairs."""
        samples, cells = self.rows.samples, self.cells[0] * self.cells[1]
        numbers = samples.first_row + rows
        counts = np.full(len(rows), cells)
        bits = self.design.bits(samples.seed, numbers, draws, counts, -(-cells // 8))
        words = backend().words(samples.seed, _STREAM, numbers, draws, 2)
        unit = (words >> np.uint64(11)) * 2.0**-53
        shift = (unit * np.asarray(self.cell)).astype(np.int64)
        return self.rows.batch(rows, draws, np.ones(len(rows)), {BITS: bits, SHIFT: shift})


@dataclass(frozen=True, slots=True, eq=False)
class Grids:
    """Random grids over pictures."""

    part: Part
    cells: tuple[int, int]
    chance: float
    draws: int
    baselines: tuple[Any, ...]

    @property
    def in_graph(self) -> None:
        """Grids are drawn outside."""

    def open(self, samples: Samples) -> GridDraws:
        """Returns the draws of these samples."""
        axis = (self.part.channel_axis or 1) - 1
        sizes = [size for i, size in enumerate(samples.shapes[0]) if i != axis]
        tables = [spread(cells, size) for cells, size in zip(self.cells, sizes, strict=True)]
        spreads = (tables[0][0], tables[1][0])
        rows = Rows(samples, (self.part,), self.baselines, constant=dict(zip(SPREAD, spreads, strict=True)))
        design = Bernoulli(self.draws, self.chance, clean=False, shared=False)
        return GridDraws(rows, design, self.cells, spreads, (tables[0][1], tables[1][1]))
