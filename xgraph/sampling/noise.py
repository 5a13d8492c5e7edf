"""Gaussian noise added to what is perturbed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xgraph.plan import Batch, Feeds, Shapes, feed_name
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

    def batch(
        self, inputs: Feeds, shapes: Shapes, rows: np.ndarray, draws: np.ndarray, seed: int, first_row: int = 0
    ) -> Batch:
        """Returns the samples, and one noise array per perturbed value."""
        feeds = {name: array[rows] for name, array in inputs.items()}
        for part, shape in enumerate(shapes):
            feeds[feed_name("noise", part, len(shapes))] = drawn_noise(
                self.level, seed, first_row + rows, draws, shape, part, shared=self.shared
            )
        return Batch(rows, draws, feeds, np.full(len(rows), 1.0 / self.draws))


def drawn_noise(
    level: float,
    seed: int,
    rows: np.ndarray,
    draws: np.ndarray,
    shape: Sequence[int],
    part: int,
    *,
    shared: bool = False,
) -> np.ndarray:
    """Returns N(0, level²) of ``(pairs, *shape)``, or one number for all entries of a pair, with axes of size 1."""
    noise = normals("noise", seed, rows, draws, [1] * len(shape) if shared else shape, part)
    return np.asarray(noise * np.float32(level))
