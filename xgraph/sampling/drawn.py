"""The draws of samplers that know no more of a sample than its shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from xgraph.plan import Batch, Feeds, Samples, Shapes


class PerPair(Protocol):
    """A sampler that makes the feeds of a pair from the sample, its numbers and the seed."""

    @property
    def draws(self) -> int:
        """Draws per sample row."""

    def batch(
        self, inputs: Feeds, shapes: Shapes, rows: np.ndarray, draws: np.ndarray, seed: int, first_row: int = 0
    ) -> Batch:
        """Returns the feeds of the pairs ``zip(rows, draws)``; the other arguments are those of ``Samples``."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """As many draws of each row as the sampler has."""

    sampler: PerPair
    samples: Samples

    @property
    def counts(self) -> np.ndarray:
        """int64[rows], the same number for all."""
        return np.full(self.samples.rows, self.sampler.draws)

    def batch(self, rows: np.ndarray, draws: np.ndarray) -> Batch:
        """Returns the feeds of the pairs ``zip(rows, draws)``."""
        own = self.samples
        return self.sampler.batch(own.inputs, own.shapes, rows, draws, own.seed, own.first_row)
