"""Gaussian noise added to what is perturbed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xgraph.plan import Batch, Feeds, Samples, Shapes, feed_name
from xgraph.sampling.drawn import Drawn
from xgraph.sampling.philox import normals


@dataclass(frozen=True, slots=True)
class Noise:
    """Each draw adds N(0, level²) to every entry; relative levels are multiplied by the range in the graph."""

    draws: int
    level: float
    shared: bool = False
    """One number for all entries of a sample."""

    @property
    def in_graph(self) -> None:
        """Noise is drawn outside."""

    def open(self, samples: Samples) -> Drawn:
        """Returns the draws of these samples."""
        return Drawn(self, samples)

    def batch(
        self, inputs: Feeds, shapes: Shapes, rows: np.ndarray, draws: np.ndarray, seed: int, first_row: int = 0
    ) -> Batch:
        """Returns the samples, and one noise array per perturbed value."""
        feeds = {name: array[rows] for name, array in inputs.items()}
        feeds.update(noise_feeds(self.level, seed, first_row + rows, draws, shapes, shared=self.shared))
        return Batch(rows, draws, feeds, np.full(len(rows), 1.0 / self.draws))


def noise_feeds(
    level: float, seed: int, rows: np.ndarray, draws: np.ndarray, shapes: Shapes, *, shared: bool
) -> dict[str, np.ndarray]:
    """Returns N(0, level²) for every perturbed value, ``(pairs, *shape)``.

    Where it is ``shared``, a pair has one number for all its entries, with axes of size 1.
    """
    feeds = {}
    for part, shape in enumerate(shapes):
        noise = normals("noise", seed, rows, draws, [1] * len(shape) if shared else shape, part)
        feeds[feed_name("noise", part, len(shapes))] = noise * np.float32(level)
    return feeds
