"""Features switched off: what the score loses on average when a feature is off, or has on average when it is on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xgraph.feeds import BITS
from xgraph.kernels import backend
from xgraph.plan import Batch, Draws, Finding
from xgraph.reducing.scores import Stop, at_check, responses, runs

if TYPE_CHECKING:
    from xgraph.sampling.features import Features
    from xgraph.sampling.masked import MaskedDraws


@dataclass(slots=True)
class _Row:
    clean: np.ndarray
    """(targets,)"""
    sums: np.ndarray
    """(features, targets)"""
    squares: np.ndarray
    times: np.ndarray
    """How often each feature was in question."""
    used: int = 0
    before: np.ndarray | None = None


@dataclass(slots=True)
class _State:
    draws: MaskedDraws
    names: list[str] = field(default_factory=list)
    rows: dict[int, _Row] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class FeatureMeans:
    """Per feature a mean over draws.

    ``drop``: of f(x) - f(x_masked), over the draws in which the feature is off (ablation, occlusion by features);
    ``sum`` adds these drops up instead.
    ``on``: of f(x_masked) z / chance over all draws (RISE).
    """

    kind: Literal["drop", "sum", "on"] = "drop"
    chance: float = 0.5
    stop: Stop | None = None

    def start(self, draws: Draws) -> _State:
        """Returns an empty state."""
        return _State(draws)  # type: ignore[arg-type]

    def update(self, state: _State, outputs: Mapping[str, np.ndarray], batch: Batch) -> list[int]:
        """Adds a batch; returns the rows that are sure enough."""
        state.names = state.names or list(outputs)
        found = responses(outputs)
        finished = []
        for row, part in runs(batch, self.stop.every if self.stop else None):
            if row in state.done:
                continue
            self._add(state, row, batch, part, found[part])
            if self.stop and at_check(batch, part, self.stop.every) and self._sure(state.rows[row], self.stop):
                state.done.add(row)
                finished.append(row)
        return finished

    def _add(self, state: _State, row: int, batch: Batch, part: slice, found: np.ndarray) -> None:
        count = int(state.draws.features.counts[row])
        targets = found.shape[1]
        own = state.rows.setdefault(
            row, _Row(np.zeros(targets), np.zeros((count, targets)), np.zeros((count, targets)), np.zeros(count))
        )
        draws, bits = batch.draws[part], backend().unpack(batch.feeds[BITS][part], count).astype(np.float64)
        own.used += len(draws)
        if self.kind != "on":
            if draws[0] == 0:
                own.clean = found[0]
            share, values = 1 - bits, own.clean - found
            own.times += share.sum(axis=0)
        else:
            share, values = bits / self.chance, found
            own.times += len(draws)
        own.sums += share.T @ values
        own.squares += (share**2).T @ values**2

    def _sure(self, row: _Row, stop: Stop) -> bool:
        times = np.maximum(row.times, 1)[:, None]
        now = row.sums / times
        errors = np.sqrt(np.maximum(row.squares / times - now**2, 0) / times)
        # A constant in all of them, as the mean of a probability, tells no feature from another.
        spread = now - now.mean(axis=0)
        reached = stop.reached_by_all(spread, errors, row.before)
        row.before = spread
        return reached

    def finish(self, state: _State) -> Mapping[str, Finding]:
        """Returns the means, painted on the features' entries, and in ``details`` as they are."""
        features = state.draws.features
        found = {}
        for k, name in enumerate(state.names):
            rows = [state.rows[i] for i in range(len(features.counts))]
            means = [row.sums[:, k] / (1 if self.kind == "sum" else np.maximum(row.times, 1)) for row in rows]
            found[name] = painted(features, means, [row.used for row in rows])
        return found


def painted(
    features: Features,
    numbers: list[np.ndarray],
    used: list[int],
    checks: Mapping[str, np.ndarray] | None = None,
    **details: Any,
) -> Finding:
    """Returns the finding of methods that give each feature one number."""
    labels = features.maps()
    told: dict[str, Any] = {
        "coefficients": tuple(np.asarray(own, np.float32) for own in numbers),
        "draws": np.asarray(used, np.int64),
        **details,
    }
    if labels is not None:
        told["segments"] = labels
    return Finding(features.paint(numbers), dict(checks or {}), told)
