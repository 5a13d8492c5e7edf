"""Windows of occlusion: boxes of one size on a lattice, cut at the far edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xgraph.errors import MethodError
from xgraph.feeds import CLEAN, CORNER, PATCH, ROW
from xgraph.kernels import backend
from xgraph.plan import Batch, Samples, feed_name
from xgraph.sampling.features import Part
from xgraph.sampling.masked import Rows


def positions(sizes: Sequence[int], window: Sequence[int], stride: Sequence[int]) -> np.ndarray:
    """Returns int64[axes], how many windows lie on each axis: ceil((size - window) / stride) + 1."""
    pairs = zip(sizes, window, stride, strict=True)
    return np.asarray([-(-max(size - w, 0) // step) + 1 for size, w, step in pairs], np.int64)


@dataclass(eq=False)
class WindowDraws:
    """Draw 0 is the sample itself; draw j hides window j - 1."""

    rows: Rows
    lattice: np.ndarray
    """int64[axes], windows per axis."""
    window: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def counts(self) -> np.ndarray:
        """The same for all rows."""
        return np.full(self.rows.samples.rows, int(self.lattice.prod()) + 1)

    def batch(self, rows: np.ndarray, draws: np.ndarray) -> Batch:
        """Returns the feeds of the pairs."""
        corners = backend().windows(np.maximum(draws - 1, 0), self.lattice, np.asarray(self.stride, np.int64))
        # A window behind the end hides nothing.
        corners[draws == 0] = self.rows.samples.shapes[0]
        return self.rows.batch(rows, draws, np.ones(len(draws)), {CORNER: corners})


@dataclass(eq=False)
class ReusedDraws(WindowDraws):
    """The same windows over one sample, whose clean activations are reused; there is no draw of the sample itself."""

    caches: int = 0

    @property
    def counts(self) -> np.ndarray:
        """The same for all rows."""
        return np.full(self.rows.samples.rows, int(self.lattice.prod()))

    def batch(self, rows: np.ndarray, draws: np.ndarray) -> Batch:
        """Returns the feeds of the pairs, numbered as those of ``WindowDraws``."""
        samples = self.rows.samples
        full = super().batch(rows, draws + 1)
        channels, height, width = samples.shapes[0]
        baseline = full.shared[feed_name("baseline", 0, 1)][0].astype(np.float32)
        whole = np.broadcast_to(baseline, (channels, height, width))
        shared = {PATCH: np.ascontiguousarray(whole.reshape(channels, -1).T)}
        shared.update({name: samples.earlier[name] for name in clean_names(self.caches)})
        feeds = {ROW: full.feeds[ROW], CORNER: np.ascontiguousarray(full.feeds[CORNER][:, 1:])}
        return Batch(rows, full.draws, feeds, full.weights, full.sources, shared)


def clean_names(count: int) -> tuple[str, ...]:
    """Returns the names of so many clean activations."""
    return tuple(f"{CLEAN}_{i}" for i in range(count))


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """All windows of one size, one after the other."""

    part: Part
    window: tuple[int | None, ...]
    """Per axis behind the batch; None: all of it."""
    stride: tuple[int, ...]
    baselines: tuple[Any, ...]
    caches: int | None = None
    """How many clean activations are reused; None: none, whole samples are run."""
    draws: int = 0

    @property
    def in_graph(self) -> None:
        """The graph runs one window per row of its batch."""

    def open(self, samples: Samples) -> WindowDraws:
        """Returns the draws of these samples.

        Raises:
            MethodError: The window is larger than the sample.
        """
        sizes = samples.shapes[0]
        window = tuple(size if own is None else own for own, size in zip(self.window, sizes, strict=True))
        if any(own > size for own, size in zip(window, sizes, strict=True)):
            raise MethodError(f"window={list(window)} is larger than the sample, which is {list(sizes)}")
        rows = Rows(samples, (self.part,), self.baselines)
        lattice = positions(sizes, window, self.stride)
        if self.caches is None:
            return WindowDraws(rows, lattice, window, self.stride)
        return ReusedDraws(rows, lattice, window, self.stride, self.caches)
