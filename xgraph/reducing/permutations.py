"""Shapley values from permutations: what each feature adds to those before it, on average.

Castro, Gómez and Tejada, "Polynomial calculation of the Shapley value based on sampling", 2009,
doi:10.1016/j.cor.2008.04.004.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from xgraph.feeds import BITS
from xgraph.kernels import backend
from xgraph.plan import Batch, Draws, Finding
from xgraph.reducing.drops import painted
from xgraph.reducing.scores import Stop, responses, runs

if TYPE_CHECKING:
    from xgraph.sampling.masked import MaskedDraws


@dataclass(slots=True)
class _Row:
    ends: np.ndarray
    """(2, targets): the scores of the sample, and of the baseline."""
    sums: np.ndarray
    """(features, targets), over permutations."""
    unit: np.ndarray
    """The same over those permutations that are not independent of each other: one, or an antithetic pair."""
    first: np.ndarray
    """Over finished units, of their means; with the next, the standard error."""
    second: np.ndarray
    bits: np.ndarray
    """bool[features], which were on in the draw before."""
    score: np.ndarray
    """(targets,), of that draw."""
    permutations: int = 0
    units: int = 0
    used: int = 0
    before: np.ndarray | None = None


@dataclass(slots=True)
class _State:
    draws: MaskedDraws
    names: list[str] = field(default_factory=list)
    rows: dict[int, _Row] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Contributions:
    """Mean and standard error of every feature's contribution over the permutations of ``designs.Permutations``."""

    stop: Stop | None = None
    paired: bool = True
    """Permutations come in antithetic pairs, so that a pair counts as one when errors are told."""

    def start(self, draws: Draws) -> _State:
        """Returns an empty state."""
        return _State(draws)  # type: ignore[arg-type]

    def update(self, state: _State, outputs: Mapping[str, np.ndarray], batch: Batch) -> list[int]:
        """Adds a batch; returns the rows that are sure enough."""
        state.names = state.names or list(outputs)
        found, finished = responses(outputs), []
        for row, part in runs(batch):
            if row not in state.done and self._add(state, row, batch, part, found[part]):
                state.done.add(row)
                finished.append(row)
        return finished

    def _add(self, state: _State, row: int, batch: Batch, part: slice, found: np.ndarray) -> bool:
        """Adds the draws of one row, in their order; True once they say enough."""
        count, targets = int(state.draws.features.counts[row]), found.shape[1]
        own = state.rows.get(row)
        if own is None:
            sums, unit, first, second = np.zeros((4, count, targets))
            own = _Row(np.zeros((2, targets)), sums, unit, first, second, np.zeros(count, bool), np.zeros(targets))
            state.rows[row] = own
        bits = backend().unpack(batch.feeds[BITS][part], count).astype(bool)
        for draw, on, score in zip(batch.draws[part], bits, found, strict=True):
            own.used += 1
            if draw < 2:
                own.ends[draw] = score
                if draw == 1 and count == 1:
                    _credit(own, ~on, own.ends[0] - score)
                    _close(own, 1)
                continue
            length = int(on.sum())
            start = length == 1
            _credit(own, on & ~own.bits if not start else on, score - (own.ends[1] if start else own.score))
            own.bits, own.score = on, score
            if length == count - 1:
                _credit(own, ~on, own.ends[0] - score)
                _close(own, 2 if self.paired else 1)
                if self.stop and own.permutations % self.stop.every == 0 and self._sure(own, self.stop):
                    return True
        return False

    def _sure(self, row: _Row, stop: Stop) -> bool:
        now, errors = row.sums / row.permutations, _errors(row)
        reached = stop.reached_by_all(now, errors, row.before)
        row.before = now
        return reached

    def finish(self, state: _State) -> Mapping[str, Finding]:
        """Returns the Shapley values, painted and as they are, with their largest standard error."""
        features = state.draws.features
        rows = [state.rows[i] for i in range(len(features.counts))]
        found = {}
        for k, name in enumerate(state.names):
            means = [row.sums[:, k] / max(row.permutations, 1) for row in rows]
            errors = np.asarray([_errors(row)[:, k].max() for row in rows])
            gap = [abs(own.sum() - (row.ends[0, k] - row.ends[1, k])) for own, row in zip(means, rows, strict=True)]
            checks = {
                "standard_error": errors.astype(np.float32),
                "completeness_gap": np.asarray(gap, np.float32),
                "score_difference": np.asarray([row.ends[0, k] - row.ends[1, k] for row in rows], np.float32),
            }
            found[name] = painted(features, means, [row.used for row in rows], checks)
        return found


def _credit(row: _Row, feature: np.ndarray, gained: np.ndarray) -> None:
    row.sums[feature] += gained
    row.unit[feature] += gained


def _close(row: _Row, size: int) -> None:
    """Counts a permutation, and with the last of its unit the unit."""
    row.permutations += 1
    if row.permutations % size == 0:
        mean = row.unit / size
        row.first += mean
        row.second += mean**2
        row.units += 1
        row.unit[:] = 0


def _errors(row: _Row) -> np.ndarray:
    """Returns the standard errors (features, targets); NaN where fewer than two units tell none."""
    if row.units < 2:
        return np.full(row.sums.shape, 0.0 if len(row.sums) == 1 else np.nan)
    variance = np.maximum(row.second / row.units - (row.first / row.units) ** 2, 0)
    return np.asarray(np.sqrt(variance / (row.units - 1)))
