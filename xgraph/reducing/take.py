"""The outputs of one draw per sample, put into the order of the samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from xgraph.errors import InputError
from xgraph.plan import Batch, Draws


@dataclass(frozen=True, slots=True)
class Take:
    """Keeps what the single draw of each sample gave."""

    def start(self, draws: Draws) -> tuple[int, dict[str, np.ndarray]]:
        """Returns an empty state."""
        return len(draws.counts), {}

    def update(self, state: tuple[int, dict[str, np.ndarray]], outputs: Mapping[str, np.ndarray], batch: Batch) -> None:
        """Stores the outputs of a batch."""
        rows, kept = state
        for name, array in outputs.items():
            if name not in kept:
                kept[name] = _room(rows, array)
            kept[name][batch.rows] = array

    def finish(self, state: tuple[int, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Returns one array per output, first axis = samples."""
        return state[1]


@dataclass(frozen=True, slots=True)
class Keep:
    """Keeps what the run of a single sample gave, whatever its first axis is."""

    def start(self, draws: Draws) -> dict[str, np.ndarray]:
        """Returns an empty state."""
        return {}

    def update(self, state: dict[str, np.ndarray], outputs: Mapping[str, np.ndarray], batch: Batch) -> None:
        """Stores the outputs."""
        state.update(outputs)

    def finish(self, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns them."""
        return state


def _room(rows: int, like: np.ndarray) -> np.ndarray:
    try:
        return np.zeros((rows, *like.shape[1:]), like.dtype)
    except MemoryError as error:
        size = rows * like[:1].nbytes / 1e9
        raise InputError(
            f"the result for {rows} rows takes {size:.0f} GB, more memory than there is; explain fewer at a time"
        ) from error
