"""Masks made from activation maps (Score-CAM), and masks that leave one place of a layer (Recipro-CAM)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xgraph.feeds import CHANNEL, MAPS, MASK
from xgraph.plan import Batch, Samples
from xgraph.sampling.features import Part
from xgraph.sampling.masked import Rows

_GAUSSIAN = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16
"""Recipro-CAM's kernel around the place that is left."""


@dataclass(eq=False)
class ChannelDraws:
    """Draw k masks a picture with the activation map of channel ``channels[k]`` of its row."""

    rows: Rows
    maps: np.ndarray
    """float32 (rows, channels, h, w)."""
    channels: np.ndarray
    """int64 (rows, draws)."""

    @property
    def counts(self) -> np.ndarray:
        """The same for all rows."""
        return np.full(len(self.channels), self.channels.shape[1])

    def batch(self, rows: np.ndarray, draws: np.ndarray) -> Batch:
        """Returns the feeds of the pairs."""
        return self.rows.batch(rows, draws, np.ones(len(rows)), {CHANNEL: self.channels[rows, draws]})


@dataclass(frozen=True, slots=True, eq=False)
class ActivationMaps:
    """The maps of a layer, which an earlier stage returned under ``value``."""

    part: Part
    value: str
    top: int | None
    """Only so many channels, those of the largest energy Σ A²; None: all."""
    baselines: tuple[Any, ...]
    draws: int = 0

    @property
    def in_graph(self) -> None:
        """There is one run per channel."""

    def open(self, samples: Samples) -> ChannelDraws:
        """Returns the draws of these samples."""
        maps = samples.earlier[self.value].astype(np.float32)
        energy = (maps.astype(np.float64) ** 2).sum(axis=(2, 3))
        count = min(self.top or maps.shape[1], maps.shape[1])
        channels = np.sort(np.argsort(-energy, axis=1, kind="stable")[:, :count], axis=1)
        return ChannelDraws(Rows(samples, (self.part,), self.baselines, {MAPS: maps}), maps, channels)


@dataclass(eq=False)
class PlaceDraws:
    """Draw d leaves place d of a layer's maps."""

    rows: Rows
    gaussian: bool

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the maps."""
        height, width = self.rows.samples.shapes[0][1:]
        return height, width

    @property
    def counts(self) -> np.ndarray:
        """The same for all rows."""
        return np.full(self.rows.samples.rows, self.size[0] * self.size[1])

    def batch(self, rows: np.ndarray, draws: np.ndarray) -> Batch:
        """Returns the feeds of the pairs."""
        height, width = self.size
        padded = np.zeros((len(draws), height + 2, width + 2), np.float32)
        y, x = np.divmod(draws, width)
        every = np.arange(len(draws))
        if self.gaussian:
            for i, j in np.ndindex(3, 3):
                padded[every, y + i, x + j] = _GAUSSIAN[i, j]
        else:
            padded[every, y + 1, x + 1] = 1
        masks = np.ascontiguousarray(padded[:, 1:-1, 1:-1])
        return self.rows.batch(rows, draws, np.ones(len(rows)), {MASK: masks})


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Every place of a layer's maps alone."""

    part: Part
    gaussian: bool
    draws: int = 0

    @property
    def in_graph(self) -> None:
        """There is one run per place."""

    def open(self, samples: Samples) -> PlaceDraws:
        """Returns the draws of these samples."""
        return PlaceDraws(Rows(samples, (self.part,), ("zero",)), self.gaussian)
