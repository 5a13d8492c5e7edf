"""Samples of a table's columns around a row, as LIME draws them: what is fed are the columns themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from xgraph.plan import Batch, Samples
from xgraph.sampling.features import Features, Part
from xgraph.sampling.tabular import Gaussian, Quartiles


@dataclass(frozen=True, slots=True)
class _Independent:
    """Rows do not share their draws."""

    shared: bool = False


@dataclass(eq=False)
class RowDraws:
    """Draws around every row; draw 0 is the row itself."""

    samples: Samples
    name: str
    fitted: Any
    counts: np.ndarray
    features: Features
    design: _Independent = _Independent()

    def batch(self, rows: np.ndarray, draws: np.ndarray) -> Batch:
        """Returns the feeds of the pairs, and what a surrogate takes them for."""
        x, own = self.samples.inputs, self.samples
        values, features = self.fitted.draw(x[self.name], rows, draws, own.seed, own.first_row)
        feeds = {name: array[rows] for name, array in x.items()}
        feeds[self.name] = values.astype(x[self.name].dtype)
        return Batch(rows, draws, feeds, np.ones(len(rows)), features=features)


@dataclass(frozen=True, slots=True, eq=False)
class TableDraws:
    """Columns drawn from a background table, by quartile or around its mean."""

    part: Part
    data: np.ndarray
    """(background rows, columns)"""
    kind: Literal["quartiles", "gaussian"]
    categorical: tuple[int, ...]
    draws: int

    @property
    def in_graph(self) -> None:
        """Columns are drawn outside."""

    def open(self, samples: Samples) -> RowDraws:
        """Returns the draws of these samples.

        Raises:
            InputError: The table has not the columns of the samples.
        """
        kind = Quartiles if self.kind == "quartiles" else Gaussian
        fitted = kind.fit(self.data, categorical=self.categorical)
        rows, columns = samples.rows, int(np.prod(samples.shapes[0]))
        labels = np.broadcast_to(np.arange(columns, dtype=np.int32), (rows, columns))
        features = Features((labels,), np.full(rows, columns), (tuple(samples.shapes[0]),))
        return RowDraws(samples, self.part.wrt.name, fitted, np.full(rows, self.draws), features)
