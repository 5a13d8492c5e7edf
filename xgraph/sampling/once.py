"""Every sample as it is, one draw each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xgraph.plan import Batch, Feeds, Samples, Shapes
from xgraph.sampling.drawn import Drawn


@dataclass(frozen=True, slots=True)
class Once:
    """Feeds each sample once, unchanged."""

    draws: int = 1

    @property
    def in_graph(self) -> None:
        """There is nothing to loop over."""

    def open(self, samples: Samples) -> Drawn:
        """Returns the draws of these samples."""
        return Drawn(self, samples)

    def batch(
        self, inputs: Feeds, shapes: Shapes, rows: np.ndarray, draws: np.ndarray, seed: int, first_row: int = 0
    ) -> Batch:
        """Returns the chosen rows of every input."""
        feeds = {name: array[rows] for name, array in inputs.items()}
        return Batch(rows, draws, feeds, np.ones(len(rows)))
