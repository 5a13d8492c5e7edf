"""What reducers of scores share: runs of one row, and when a row has been asked often enough."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from xgraph.plan import Batch


@dataclass(frozen=True, slots=True)
class Stop:
    """A row is done when its estimates are sure and in a settled order.

    Sure: the largest standard error is below ``tolerance`` times the largest estimate (by magnitude). Settled: the
    rank correlation with the estimates one check ago is above ``1 - tolerance``. Checks lie at fixed draws, so that the
    result does not depend on the size of batches.
    """

    tolerance: float
    every: int = 100

    def reached(self, now: np.ndarray, errors: np.ndarray, before: np.ndarray | None) -> bool:
        """Tells whether one set of estimates is good enough."""
        if before is None or not np.isfinite(errors).all():
            return False
        if errors.max(initial=0.0) > self.tolerance * np.abs(now).max(initial=0.0):
            return False
        return rank_correlation(now, before) >= 1 - self.tolerance

    def reached_by_all(self, now: np.ndarray, errors: np.ndarray, before: np.ndarray | None) -> bool:
        """Tells whether the estimates (features, targets) of every target are good enough."""
        return all(
            self.reached(now[:, k], errors[:, k], None if before is None else before[:, k]) for k in range(now.shape[1])
        )


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Returns Spearman's correlation of two vectors (ties in order of position); 1 where there is no order."""
    if a.size < 2:
        return 1.0
    first, second = (np.argsort(np.argsort(v.reshape(-1), kind="stable"), kind="stable").astype(float) for v in (a, b))
    return float(np.corrcoef(first, second)[0, 1])


def responses(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns float64 (pairs, targets)."""
    return np.stack([array.astype(np.float64) for array in outputs.values()], axis=1)


def runs(batch: Batch, every: int | None = None) -> Iterator[tuple[int, slice]]:
    """Yields (row, slice of the batch): one row at a time, cut before draws that are multiples of ``every``."""
    start = 0
    for end in range(1, len(batch.rows) + 1):
        last = end == len(batch.rows)
        checked = not last and every is not None and batch.draws[end] % every == 0
        if last or checked or batch.rows[end] != batch.rows[start]:
            yield int(batch.rows[start]), slice(start, end)
            start = end


def at_check(batch: Batch, part: slice, every: int) -> bool:
    """Tells whether a run ends where its row is to be checked."""
    return (int(batch.draws[part.stop - 1]) + 1) % every == 0
