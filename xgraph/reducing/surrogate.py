"""LIME and KernelSHAP: a weighted linear surrogate, fitted from normal equations that are added up in a stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from xgraph.errors import MethodError
from xgraph.feeds import BITS
from xgraph.kernels import backend
from xgraph.plan import Batch, Draws, Finding
from xgraph.reducing.drops import painted
from xgraph.reducing.linear import Fit, Normal, cosine_kernel, euclidean_kernel, ridge, ridge_all, shapley
from xgraph.reducing.scores import Stop, at_check, responses, runs
from xgraph.reducing.selection import forward_selection, highest_weights, lasso_path

if TYPE_CHECKING:
    from xgraph.sampling.masked import MaskedDraws

_MOST = 8192
"""Features whose normal equations take half a gigabyte."""
Selection = Literal["none", "highest_weights", "forward_selection", "lasso_path"]


@dataclass(slots=True)
class Sums:
    """What is known of one row."""

    moments: np.ndarray
    """(features + 1, targets), of the responses less those of draw 0."""
    squares: np.ndarray
    origin: np.ndarray
    """(targets,), the scores of draw 0, the sample itself."""
    empty: np.ndarray
    """(targets,), the scores of draw 1, where that is the baseline."""
    first: np.ndarray
    """(features,), what the sample itself is taken for."""
    gram: np.ndarray
    """(features + 1, features + 1); one for all rows that have the same masks."""
    plain: Normal | None = None
    """The same with weights 1, where it is asked for."""
    heavy: np.ndarray | None = None
    """Σ w² d dᵀ, for standard errors."""
    used: int = 0
    before: np.ndarray | None = None


@dataclass(slots=True)
class Fits:
    """The state of a surrogate."""

    draws: MaskedDraws
    names: list[str] = field(default_factory=list)
    rows: dict[int, Sums] = field(default_factory=dict)
    owners: dict[int, int] = field(default_factory=dict)
    """Number of features -> the row whose gram matrix is that of all rows with so many."""
    done: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Surrogate:
    """A linear model of the scores in what is on and off.

    Ribeiro, Singh and Guestrin, "Why Should I Trust You?", 2016, arXiv:1602.04938; with ``kernel="design"`` and
    ``constrained`` Lundberg and Lee, 2017, arXiv:1705.07874.
    """

    kernel: Literal["cosine", "euclidean", "design"] = "cosine"
    """How draws are weighted: by their distance to the sample, or as the design says."""
    width: float | None = None
    """Of the kernel; None: lime's, 0.25 for the cosine distance and 0.75 √features for the Euclidean one."""
    alpha: float = 1.0
    """Strength of the ridge."""
    selection: Selection = "none"
    count: int | None = None
    """Features to select."""
    constrained: bool = False
    """The coefficients add up to f(x) - f(b), exactly; draws 0 and 1 give these."""
    plain: bool = False
    """Also keep unweighted sums."""
    stop: Stop | None = None

    def start(self, draws: Draws) -> Fits:
        """Returns an empty state."""
        return Fits(draws)  # type: ignore[arg-type]

    def update(self, state: Fits, outputs: Mapping[str, np.ndarray], batch: Batch) -> list[int]:
        """Adds a batch; returns the rows that are sure enough."""
        state.names = state.names or list(outputs)
        found, finished = responses(outputs), []
        for row, part in runs(batch, self.stop.every if self.stop else None):
            if row in state.done:
                continue
            self._add(state, row, batch, part, found[part])
            if self.stop and at_check(batch, part, self.stop.every) and self._sure(state.rows[row], self.stop):
                state.done.add(row)
                finished.append(row)
        return finished

    def _add(self, state: Fits, row: int, batch: Batch, part: slice, found: np.ndarray) -> None:
        count = int(state.draws.features.counts[row])
        draws = batch.draws[part]
        if row not in state.rows:
            state.rows[row] = self._open(state, row, count, found)
        own = state.rows[row]
        bits = None if batch.features is not None else np.ascontiguousarray(batch.feeds[BITS][part])
        design = batch.features[part] if batch.features is not None else None
        if draws[0] == 0:
            own.origin = found[0]
            own.first = np.ones(count) if design is None else design[0]
        if self.constrained and (draws == 1).any():
            own.empty = found[draws == 1][0]
        weights = self._weights(batch, part, bits, design, own, count)
        centred = np.ascontiguousarray(found - own.origin)
        own.used += len(draws)
        own.squares += weights @ centred**2
        if self.plain:
            own.plain = _added(own.plain, _features(bits, design, count), centred)
        if self.stop:
            heavy = Normal.of(_features(bits, design, count), weights**2, centred[:, :0]).gram
            own.heavy = heavy if own.heavy is None else own.heavy + heavy
        # Where rows share their masks the matrix is added up once, by the first of them.
        gram = own.gram if self._owner(state, row, count) == row else np.zeros_like(own.gram)
        if bits is not None:
            backend().normal_equations(bits, count, weights, centred, gram, own.moments)
        else:
            sums = Normal.of(_features(bits, design, count), weights, centred)
            gram += sums.gram
            own.moments += sums.moments

    def _open(self, state: Fits, row: int, count: int, found: np.ndarray) -> Sums:
        if count > _MOST:
            raise MethodError(
                f"a sample has {count} features, and a linear model of more than {_MOST} would not fit into memory; "
                "give coarser segments"
            )
        targets = found.shape[1]
        owner = self._owner(state, row, count)
        gram = state.rows[owner].gram if owner != row else np.zeros((count + 1, count + 1))
        squares, origin, empty = np.zeros((3, targets))
        return Sums(np.zeros((count + 1, targets)), squares, origin, empty, np.ones(count), gram)

    def _owner(self, state: Fits, row: int, count: int) -> int:
        """Returns the row that adds up the gram matrix of ``row``."""
        if self.stop is not None or not state.draws.design.shared:
            return row
        return state.owners.setdefault(count, row)

    def _weights(
        self,
        batch: Batch,
        part: slice,
        bits: np.ndarray | None,
        design: np.ndarray | None,
        own: Sums,
        count: int,
    ) -> np.ndarray:
        if self.kernel == "design":
            return batch.weights[part]
        if design is not None:
            width = 0.75 * np.sqrt(count) if self.width is None else self.width
            return np.asarray(np.exp(-0.5 * ((design - own.first) ** 2).sum(axis=1) / width**2) * batch.weights[part])
        counts = np.full(part.stop - part.start, count)
        ones = backend().popcounts(bits, counts)
        if self.kernel == "cosine":
            kernel = cosine_kernel(ones, counts, 0.25 if self.width is None else self.width)
        else:
            kernel = euclidean_kernel(ones, counts, self.width)
        return np.asarray(kernel * batch.weights[part])

    def _sure(self, own: Sums, stop: Stop) -> bool:
        """Tells whether a row needs no more draws, by the sandwich estimate of the coefficients' errors."""
        fits = self.fitted(own)
        now = np.stack([fit.coefficients for fit in fits], axis=1)
        normal = Normal(own.gram, own.moments, own.squares)
        centred = normal.centred()
        count = normal.count
        if own.used <= count + 1 or own.heavy is None:
            return False
        inverse = np.linalg.pinv(centred.gram + self.alpha * np.eye(count), hermitian=True)
        means = np.concatenate([[1.0], centred.features])
        shift = np.concatenate([-means[1:, None], np.eye(count)], axis=1)
        spread = np.sqrt(np.maximum(np.diagonal(inverse @ shift @ own.heavy @ shift.T @ inverse), 0))
        freedom = own.used / (own.used - count - 1)
        left = [max(1 - fit.r2, 0.0) * centred.squares[k] / centred.weight * freedom for k, fit in enumerate(fits)]
        reached = stop.reached_by_all(now, np.outer(spread, np.sqrt(left)), own.before)
        own.before = now
        return reached

    def fitted(self, own: Sums) -> list[Fit]:
        """Returns the fits of one row, one per target, of the responses less those of draw 0."""
        normal = Normal(own.gram, own.moments, own.squares)
        if self.constrained:
            return [shapley(normal, k, 0.0, own.empty[k] - own.origin[k]) for k in range(normal.targets)]
        if self.selection == "none" or self.count is None or self.count >= normal.count:
            return ridge_all(normal, self.alpha)
        return [ridge(normal, k, self.alpha, self._selected(normal, k, own.used)) for k in range(normal.targets)]

    def _selected(self, normal: Normal, target: int, rows: int) -> np.ndarray:
        assert self.count is not None
        if self.selection == "lasso_path":
            return lasso_path(normal, target, self.count, rows)
        choose = forward_selection if self.selection == "forward_selection" else highest_weights
        return choose(normal, target, self.count)

    def fits(self, state: Fits) -> list[list[Fit]]:
        """Returns the fits of every row, one per target."""
        return [self.fitted(state.rows[row]) for row in range(len(state.draws.features.counts))]

    def finish(self, state: Fits) -> Mapping[str, Finding]:
        """Returns the coefficients, painted and as they are, with R² and the condition of every fit."""
        rows = [state.rows[row] for row in range(len(state.draws.features.counts))]
        fits = self.fits(state)
        return {name: self._finding(state, rows, [own[k] for own in fits], k) for k, name in enumerate(state.names)}

    def _finding(self, state: Fits, rows: list[Sums], fits: list[Fit], target: int) -> Finding:
        checks = {
            "r2": np.asarray([fit.r2 for fit in fits], np.float32),
            # float32 ends at 3e38; a singular system says so with its largest number.
            "condition": np.minimum([fit.condition for fit in fits], np.finfo(np.float32).max).astype(np.float32),
        }
        coefficients = [fit.coefficients for fit in fits]
        if self.constrained:
            covered = np.asarray([row.origin[target] - row.empty[target] for row in rows])
            gap = np.abs([own.sum() - c for own, c in zip(coefficients, covered, strict=True)])
            checks |= {"completeness_gap": gap.astype(np.float32), "score_difference": covered.astype(np.float32)}
        intercept = [fit.intercept + row.origin[target] for fit, row in zip(fits, rows, strict=True)]
        return painted(
            state.draws.features,
            coefficients,
            [row.used for row in rows],
            checks,
            intercept=np.asarray(intercept, np.float32),
        )


def _features(bits: np.ndarray | None, design: np.ndarray | None, count: int) -> np.ndarray:
    return backend().unpack(bits, count) if design is None else design


def _added(sums: Normal | None, features: np.ndarray, centred: np.ndarray) -> Normal:
    more = Normal.of(features, np.ones(len(features)), centred)
    return more if sums is None else sums + more
