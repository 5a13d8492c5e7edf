"""Class activation maps from scores: channels weighted by what they score alone, and scores of places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xgraph.plan import Batch, Draws, Finding
from xgraph.reducing.scores import responses
from xgraph.resample import bilinear

if TYPE_CHECKING:
    from xgraph.sampling.maps import ChannelDraws, PlaceDraws


@dataclass(slots=True)
class _State:
    draws: Any
    names: list[str] = field(default_factory=list)
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """(rows, targets, draws)"""

    def add(self, outputs: Mapping[str, np.ndarray], batch: Batch) -> None:
        if not self.names:
            self.names = list(outputs)
            counts = self.draws.counts
            self.scores = np.zeros((len(counts), len(outputs), int(counts.max())))
        self.scores[batch.rows, :, batch.draws] = responses(outputs)


@dataclass(frozen=True, slots=True)
class ChannelWeights:
    """ReLU(Σ_k α_k A_k), with α the softmax over channels of their scores, or the scores themselves."""

    weights: Literal["softmax", "score"] = "softmax"
    relu: bool = True
    upsample: bool = False
    """Return maps of the picture's size instead of the layer's."""

    def start(self, draws: Draws) -> _State:
        """Returns an empty state."""
        return _State(draws)

    def update(self, state: _State, outputs: Mapping[str, np.ndarray], batch: Batch) -> None:
        """Stores the scores of a batch of channels."""
        state.add(outputs, batch)

    def finish(self, state: _State) -> Mapping[str, Finding]:
        """Returns maps (rows, h, w), and the weights of the channels."""
        draws: ChannelDraws = state.draws
        rows = np.arange(len(draws.maps))[:, None]
        maps = draws.maps[rows, draws.channels].astype(np.float64)
        found = {}
        for k, name in enumerate(state.names):
            alpha = state.scores[:, k]
            if self.weights == "softmax":
                alpha = np.exp(alpha - alpha.max(axis=1, keepdims=True))
                alpha = alpha / alpha.sum(axis=1, keepdims=True)
            values = np.einsum("rk,rkhw->rhw", alpha, maps)
            if self.upsample:
                axis = (draws.rows.parts[0].channel_axis or 1) - 1
                sizes = [size for i, size in enumerate(draws.rows.samples.shapes[0]) if i != axis]
                up, across = (bilinear(own, size) for own, size in zip(values.shape[1:], sizes, strict=True))
                values = up @ values @ across.T
            if self.relu:
                values = np.maximum(values, 0)
            details = {"draws": draws.counts, "channels": draws.channels, "weights": alpha.astype(np.float32)}
            found[name] = Finding((values.astype(np.float32),), {}, details)
        return found


@dataclass(frozen=True, slots=True)
class PlaceScores:
    """The score of every place of a layer alone, as a map (rows, h, w)."""

    def start(self, draws: Draws) -> _State:
        """Returns an empty state."""
        return _State(draws)

    def update(self, state: _State, outputs: Mapping[str, np.ndarray], batch: Batch) -> None:
        """Stores the scores of a batch of places."""
        state.add(outputs, batch)

    def finish(self, state: _State) -> Mapping[str, Finding]:
        """Returns the maps."""
        draws: PlaceDraws = state.draws
        return {
            name: Finding(
                (state.scores[:, k].reshape(-1, *draws.size).astype(np.float32),), {}, {"draws": draws.counts}
            )
            for k, name in enumerate(state.names)
        }
