"""RISE on the coarse grid: S = (1 / (N p)) Σ_i f(x ⊙ M_i) M_i without ever building a mask.

A mask is a grid that was upsampled and moved, and upsampling is linear: grids are added up, weighted by their scores,
separately for every shift, and upsampled once at the end. Memory and the work per mask do not depend on the picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from xgraph.feeds import BITS, SHIFT
from xgraph.kernels import backend
from xgraph.plan import Batch, Draws, Finding
from xgraph.reducing.scores import Stop, at_check, responses, runs

if TYPE_CHECKING:
    from xgraph.sampling.grids import GridDraws


@dataclass(slots=True)
class _Row:
    sums: np.ndarray
    """(targets, shifts, cells)"""
    first: np.ndarray
    """(targets, cells), Σ f z; with the next, the standard error of the grid."""
    second: np.ndarray
    used: int = 0
    before: np.ndarray | None = None


@dataclass(slots=True)
class _State:
    draws: GridDraws
    names: list[str] = field(default_factory=list)
    rows: dict[int, _Row] = field(default_factory=dict)
    maps: dict[int, np.ndarray] = field(default_factory=dict)
    """Finished rows: (targets, height, width)."""
    done: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class GridMeans:
    """The score-weighted mean of random grids, over their chance."""

    chance: float
    stop: Stop | None = None

    def start(self, draws: Draws) -> _State:
        """Returns an empty state."""
        return _State(draws)  # type: ignore[arg-type]

    def update(self, state: _State, outputs: Mapping[str, np.ndarray], batch: Batch) -> list[int]:
        """Adds a batch; returns the rows that are sure enough."""
        state.names = state.names or list(outputs)
        found, finished = responses(outputs), []
        for row, part in runs(batch, self.stop.every if self.stop else None):
            if row in state.done:
                continue
            self._add(state, row, batch, part, found[part])
            last = int(batch.draws[part.stop - 1]) + 1 == state.draws.counts[row]
            checked = self.stop is not None and at_check(batch, part, self.stop.every)
            if checked and self.stop is not None and self._sure(state.rows[row], self.stop):
                state.done.add(row)
                finished.append(row)
                last = True
            if last:  # the sums of one row at a time are held, not those of all
                state.maps[row] = self._map(state.draws, state.rows[row])
                state.rows[row].sums = np.zeros(0)
        return finished

    def _add(self, state: _State, row: int, batch: Batch, part: slice, found: np.ndarray) -> None:
        draws, targets = state.draws, found.shape[1]
        cells = draws.cells[0] * draws.cells[1]
        if row not in state.rows:
            flat = np.zeros((targets, cells))
            state.rows[row] = _Row(np.zeros((targets, draws.cell[0] * draws.cell[1], cells)), flat, flat.copy())
        own = state.rows[row]
        grids = backend().unpack(batch.feeds[BITS][part], cells)
        shift = batch.feeds[SHIFT][part]
        backend().accumulate_grids(grids, shift[:, 0] * draws.cell[1] + shift[:, 1], found, own.sums)
        own.first += found.T @ grids
        own.second += (found.T**2) @ grids
        own.used += len(found)

    def _map(self, draws: GridDraws, row: _Row) -> np.ndarray:
        """Returns Σ over shifts of U_y[shift + i] A U_x[shift + j]^T, as two matrix products."""
        axis = (draws.rows.parts[0].channel_axis or 1) - 1
        height, width = (s for i, s in enumerate(draws.rows.samples.shapes[0]) if i != axis)
        (cells_y, cells_x), (shifts_y, shifts_x) = draws.cells, draws.cell
        targets = len(row.sums)
        sums = row.sums.reshape(targets, shifts_y, shifts_x, cells_y, cells_x)
        # U_x[shift + j], for all shifts and columns j: (width, shifts * cells).
        table_y, table_x = (
            np.lib.stride_tricks.sliding_window_view(spread.astype(np.float64), size, axis=0)[:shifts]
            for spread, size, shifts in (
                (draws.spreads[0], height, shifts_y),
                (draws.spreads[1], width, shifts_x),
            )
        )
        left = sums.transpose(0, 1, 3, 2, 4).reshape(targets * shifts_y * cells_y, shifts_x * cells_x)
        columns = left @ np.ascontiguousarray(table_x).reshape(shifts_x * cells_x, width)
        rows = np.ascontiguousarray(table_y).reshape(shifts_y * cells_y, height).T
        maps = rows @ columns.reshape(targets, shifts_y * cells_y, width)
        return np.asarray(maps / (row.used * self.chance))

    def _sure(self, row: _Row, stop: Stop) -> bool:
        mean = row.first / row.used / self.chance
        errors = np.sqrt(np.maximum(row.second / row.used / self.chance**2 - mean**2, 0) / row.used)
        spread = mean - mean.mean(axis=1, keepdims=True)
        reached = stop.reached_by_all(spread.T, errors.T, row.before)
        row.before = spread.T
        return reached

    def finish(self, state: _State) -> Mapping[str, Finding]:
        """Returns maps of the sample's shape, the same for all channels."""
        draws = state.draws
        rows, shape = len(draws.counts), draws.rows.samples.shapes[0]
        axis = (draws.rows.parts[0].channel_axis or 1) - 1
        found = {}
        for k, name in enumerate(state.names):
            maps = np.stack([state.maps[row][k] for row in range(rows)])
            values = np.broadcast_to(np.expand_dims(maps, axis + 1), (rows, *shape)).astype(np.float32)
            used = np.asarray([state.rows[row].used for row in range(rows)], np.int64)
            found[name] = Finding((values,), {}, {"draws": used})
        return found
