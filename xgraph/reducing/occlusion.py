"""Occlusion: what the score loses under each window, spread over what the window covers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xgraph.kernels import backend
from xgraph.plan import Batch, Draws, Finding
from xgraph.reducing.scores import responses

if TYPE_CHECKING:
    from xgraph.sampling.windows import WindowDraws


@dataclass(slots=True)
class _State:
    draws: WindowDraws
    names: list[str]
    clean: np.ndarray
    """(rows, targets)"""
    hidden: np.ndarray
    """(rows, targets, windows), the scores under each window."""


@dataclass(frozen=True, slots=True)
class WindowDrops:
    """Σ_w M_w (f(x) - f(x_w)), by default over Σ_w M_w, so that places under more windows do not count for more."""

    normalise: bool = True
    sweep: str = ""
    """How windows are run, in words; kept in ``details``."""

    def start(self, draws: Draws) -> _State:
        """Returns an empty state."""
        return _State(draws, [], np.zeros(0), np.zeros(0))  # type: ignore[arg-type]

    def update(self, state: _State, outputs: Mapping[str, np.ndarray], batch: Batch) -> None:
        """Stores the scores of a batch of windows."""
        if not state.names:
            state.names = list(outputs)
            rows, windows = len(state.draws.counts), int(state.draws.lattice.prod())
            # Where clean activations are reused, the sample itself was run before.
            known = state.draws.rows.samples.scores
            state.clean = np.zeros((rows, len(outputs))) if known is None else known.copy()
            state.hidden = np.zeros((rows, len(outputs), windows))
        found = responses(outputs)
        clean = batch.draws == 0
        state.clean[batch.rows[clean]] = found[clean]
        state.hidden[batch.rows[~clean], :, batch.draws[~clean] - 1] = found[~clean]

    def finish(self, state: _State) -> Mapping[str, Finding]:
        """Returns maps of the sample's shape, and the drops themselves."""
        draws = state.draws
        sizes, lattice = draws.rows.samples.shapes[0], tuple(int(n) for n in draws.lattice)
        cover = backend().cover_windows(draws.lattice, draws.window, draws.stride, sizes) if self.normalise else 1
        found = {}
        for k, name in enumerate(state.names):
            drops = state.clean[:, k, None] - state.hidden[:, k]
            drops = drops.reshape(-1, *lattice)
            maps = np.stack([backend().paint_windows(own, draws.window, draws.stride, sizes) for own in drops])
            values = (maps / np.maximum(cover, 1)).astype(np.float32)
            details: dict[str, Any] = {
                "draws": draws.counts,
                "drops": drops.astype(np.float32),
                "window": {"size": list(draws.window), "stride": list(draws.stride), "sweep": self.sweep},
            }
            found[name] = Finding((values,), {}, details)
        return found
