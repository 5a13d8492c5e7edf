"""Weighted sums over the draws of each sample, and what can be made of the first two moments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from xgraph.plan import Batch, Draws

Moment: TypeAlias = Literal["mean", "square", "variance"]


@dataclass(slots=True)
class _Sums:
    rows: int
    first: dict[str, np.ndarray] = field(default_factory=dict)
    second: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WeightedSum:
    """Σ w v over draws (``mean``), Σ w v² (``square``) or Σ w v² - (Σ w v)² (``variance``).

    Sums are kept in float64, so that neither the order nor the grouping of draws shows in a float32 result.
    """

    moment: Moment = "mean"

    def start(self, draws: Draws) -> _Sums:
        """Returns an empty state."""
        return _Sums(len(draws.counts))

    def update(self, state: _Sums, outputs: Mapping[str, np.ndarray], batch: Batch) -> None:
        """Adds a batch, whose pairs are in the order of rows."""
        starts = np.flatnonzero(np.diff(batch.rows, prepend=-1))
        for name, array in outputs.items():
            values = array.astype(np.float64)
            weights = batch.weights.reshape(-1, *[1] * (values.ndim - 1))
            if self.moment != "square":
                _add(state.first, name, state.rows, batch.rows[starts], np.add.reduceat(weights * values, starts))
            if self.moment != "mean":
                squares = np.add.reduceat(weights * values * values, starts)
                _add(state.second, name, state.rows, batch.rows[starts], squares)

    def finish(self, state: _Sums) -> dict[str, np.ndarray]:
        """Returns float32 arrays, first axis = samples."""
        if self.moment == "mean":
            result = state.first
        elif self.moment == "square":
            result = state.second
        else:
            result = {name: np.maximum(state.second[name] - mean**2, 0.0) for name, mean in state.first.items()}
        return {name: array.astype(np.float32) for name, array in result.items()}


def _add(sums: dict[str, np.ndarray], name: str, rows: int, where: np.ndarray, values: np.ndarray) -> None:
    if name not in sums:
        sums[name] = np.zeros((rows, *values.shape[1:]))
    sums[name][where] += values
