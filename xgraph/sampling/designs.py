"""Designs: which features are on in which draw. A mask depends on (seed, row number, draw) and the feature count.

Masks are packed: feature f of a pair is bit f mod 8 of byte f div 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import comb
from typing import Protocol

import numpy as np

from xgraph.errors import MethodError
from xgraph.kernels import backend

_STREAM = 5
"""Which stream of a pair masks are drawn from; ``philox`` numbers the others."""


class Design(Protocol):
    """Which features are on in which draw."""

    @property
    def shared(self) -> bool:
        """Whether rows with equally many features get the same masks."""

    def counts(self, features: np.ndarray) -> np.ndarray:
        """Returns int64[rows], the draws of rows with so many features."""

    def bits(self, seed: int, rows: np.ndarray, draws: np.ndarray, features: np.ndarray, width: int) -> np.ndarray:
        """Returns uint8[pairs, width]; ``rows`` are numbers of rows, ``features`` counts, one per pair."""

    def weights(self, draws: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Returns float64[pairs], the weight that the design gives each draw."""


@dataclass(frozen=True, slots=True)
class Bernoulli:
    """Every feature is on with probability ``chance``; draw 0 is the sample itself where ``clean``.

    Rows with equally many features get the same masks where the design is ``shared``, so that one matrix solves the
    fits of all of them, and the explanation of a sample does not depend on the samples beside it.
    """

    samples: int
    chance: float = 0.5
    clean: bool = True
    shared: bool = True

    def counts(self, features: np.ndarray) -> np.ndarray:
        """Returns the number of samples for all."""
        return np.full(len(features), self.samples)

    def bits(self, seed: int, rows: np.ndarray, draws: np.ndarray, features: np.ndarray, width: int) -> np.ndarray:
        """Returns the masks of the pairs."""
        numbers = np.zeros_like(rows) if self.shared else rows
        drawn = backend().bernoulli(seed, _STREAM, numbers, draws, features, self.chance, width)
        if self.clean:
            drawn[draws == 0] = 255
        return np.asarray(drawn)

    def weights(self, draws: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Returns 1 for all."""
        return np.ones(len(draws))


@dataclass(frozen=True, slots=True)
class Sequential:
    """As the lime package and InterpretDL draw: ``RandomState(seed).randint(0, 2)``, row by row; draw 0 is all on."""

    samples: int
    shared: bool = True

    def counts(self, features: np.ndarray) -> np.ndarray:
        """Returns the number of samples for all."""
        return np.full(len(features), self.samples)

    def bits(self, seed: int, rows: np.ndarray, draws: np.ndarray, features: np.ndarray, width: int) -> np.ndarray:
        """Returns the masks of the pairs."""
        found = np.full((len(draws), width), 255, np.uint8)
        for count in np.unique(features):
            own = features == count
            found[own] = _packed(_sequential(seed % 2**32, self.samples, int(count))[draws[own]], width)
        return found

    def weights(self, draws: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Returns 1 for all."""
        return np.ones(len(draws))


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Masks that somebody made: 0 or 1, (draws, features)."""

    masks: np.ndarray
    shared: bool = True

    def counts(self, features: np.ndarray) -> np.ndarray:
        """Returns the number of masks for all.

        Raises:
            MethodError: A sample has another number of features than the masks.
        """
        for row, count in enumerate(features):
            if count != self.masks.shape[1]:
                raise MethodError(
                    f"masks of shape {list(self.masks.shape)} do not fit sample {row}, which has {count} features; "
                    "give (draws, features)"
                )
        return np.full(len(features), len(self.masks))

    def bits(self, seed: int, rows: np.ndarray, draws: np.ndarray, features: np.ndarray, width: int) -> np.ndarray:
        """Returns the masks of the pairs."""
        return _packed(self.masks[draws] != 0, width)

    def weights(self, draws: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Returns 1 for all."""
        return np.ones(len(draws))


@dataclass(frozen=True, slots=True)
class LeaveOut:
    """Draw 0 is the sample itself; in draw j ``window`` features from number (j - 1) · ``stride`` on are off."""

    window: int = 1
    stride: int = 1
    shared: bool = True

    def counts(self, features: np.ndarray) -> np.ndarray:
        """Returns the number of windows, the last of which reaches the last feature, and one more."""
        return np.asarray(np.maximum(-(-(features - self.window) // self.stride), 0) + 2)

    def bits(self, seed: int, rows: np.ndarray, draws: np.ndarray, features: np.ndarray, width: int) -> np.ndarray:
        """Returns the masks of the pairs."""
        start = ((draws - 1) * self.stride)[:, None]
        every = np.arange(width * 8)
        off = (every >= start) & (every < start + self.window) & (draws > 0)[:, None] & (every < features[:, None])
        return np.packbits(~off, axis=1, bitorder="little")

    def weights(self, draws: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Returns 1 for all."""
        return np.ones(len(draws))


@dataclass(frozen=True, slots=True)
class Permutations:
    """Draws 0 and 1 are all on and all off; then permutations, each as its beginnings of length 1 to features - 1.

    Every other permutation is the one before it backwards (antithetic), where ``paired``: its beginnings are the
    complements of that one's.
    """

    samples: int
    paired: bool = True
    shared: bool = False

    def counts(self, features: np.ndarray) -> np.ndarray:
        """Returns the draws of all permutations; the two ends are the same for all."""
        return 2 + self.samples * (features - 1)

    def place(self, draws: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the permutation, and how many features of it are on, of draws from 2 on."""
        steps = np.maximum(features - 1, 1)
        return (draws - 2) // steps, (draws - 2) % steps + 1

    def bits(self, seed: int, rows: np.ndarray, draws: np.ndarray, features: np.ndarray, width: int) -> np.ndarray:
        """Returns the masks of the pairs."""
        number, length = self.place(np.maximum(draws, 2), features)
        backwards = (number % 2 == 1) & self.paired
        own = number // 2 if self.paired else number
        length = np.where(backwards, features - length, length)
        length = np.where(draws == 0, features, np.where(draws == 1, 0, length))
        bits = backend().subsets(seed, _STREAM, rows, own, features, length, width)
        flipped = backwards & (draws > 1)
        bits[flipped] = backend().complement(bits[flipped], features[flipped])
        return np.asarray(bits)

    def weights(self, draws: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Returns 1 for all."""
        return np.ones(len(draws))


@dataclass(frozen=True, slots=True)
class Coalitions:
    """KernelSHAP's: whole sizes while the budget would draw as many of them anyway, then random coalitions.

    Draws 0 and 1 are all on and all off; then come all coalitions of the smallest and largest sizes, and with what is
    left of the budget random ones of the other sizes, each followed by its complement where ``paired``.
    """

    samples: int
    paired: bool = True
    whole: bool = True
    """Without whole sizes all coalitions are random, so that a run can end at any of them."""
    shared: bool = True

    def counts(self, features: np.ndarray) -> np.ndarray:
        """Returns the budget, or less where fewer coalitions exist."""
        return np.asarray([2 + _sizes(int(count), self.samples, self.whole).draws for count in features], np.int64)

    def bits(self, seed: int, rows: np.ndarray, draws: np.ndarray, features: np.ndarray, width: int) -> np.ndarray:
        """Returns the masks of the pairs."""
        kernels = backend()
        bits = np.full((len(draws), width), 255, np.uint8)
        numbers = np.zeros_like(rows)
        for count in np.unique(features):
            plan = _sizes(int(count), self.samples, self.whole)
            own = np.flatnonzero((features == count) & (draws > 0))
            counts = features[own]
            rank = draws[own] - 2
            whole = rank < plan.whole
            none = rank < 0
            size, flip = np.zeros(len(own), np.int64), np.zeros(len(own), bool)
            made = np.empty((len(own), width), np.uint8)
            # All off: the complement of all on.
            flip[none], size[none] = True, counts[none]
            listed = whole & ~none
            block = np.searchsorted(plan.starts, rank[listed], side="right") - 1
            size[listed] = plan.sizes[block]
            made[listed] = kernels.combinations(rank[listed] - plan.starts[block], counts[listed], size[listed], width)
            drawn = ~whole & ~none
            number = rank[drawn] - plan.whole
            flip[drawn] = (number % 2 == 1) & self.paired
            stream = number // 2 if self.paired else number
            if drawn.any():
                words = kernels.words(seed, _STREAM + 1, numbers[own][drawn], stream, 1)[:, 0]
                size[drawn] = plan.drawn[np.searchsorted(plan.shares, (words >> np.uint64(11)) * 2.0**-53, "right")]
            rest = none | drawn
            draw = np.zeros(len(own), np.int64)
            draw[drawn] = stream
            made[rest] = kernels.subsets(seed, _STREAM, numbers[own][rest], draw[rest], counts[rest], size[rest], width)
            made[flip] = kernels.complement(made[flip], counts[flip])
            bits[own] = made
        return bits

    def weights(self, draws: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Returns the Shapley kernel of every coalition, as drawn; 0 for the two ends, which are exact anyway."""
        found = np.zeros(len(draws))
        for count in np.unique(features):
            plan = _sizes(int(count), self.samples, self.whole)
            own = (features == count) & (draws > 1)
            rank = draws[own] - 2
            each = np.full(len(rank), plan.left)
            whole = rank < plan.whole
            each[whole] = plan.kernel[np.searchsorted(plan.starts, rank[whole], side="right") - 1]
            found[own] = each
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Sizes:
    """Which coalition sizes are run whole, and how the others are drawn, for one number of features."""

    draws: int
    whole: int
    """Draws that enumerate whole sizes."""
    starts: np.ndarray
    """First of these draws of every such size."""
    sizes: np.ndarray
    kernel: np.ndarray
    """Shapley kernel of one coalition of each such size."""
    drawn: np.ndarray
    """The other sizes."""
    shares: np.ndarray
    """Their cumulative probabilities, but for the last."""
    left: float
    """Weight of one random coalition."""


@lru_cache(maxsize=256)
def _sizes(count: int, samples: int, whole_sizes: bool) -> _Sizes:
    budget = max(0, samples - 2)
    # The kernel's mass on size s is (K - 1) / (s (K - s)), up to a constant.
    mass = {s: (count - 1) / (s * (count - s)) for s in range(1, count)}
    whole, starts, used = [], [], 0
    for k in range(1, count // 2 + 1):
        pair = list(dict.fromkeys((k, count - k)))
        number = len(pair) * comb(count, k)
        # A size is run whole where as many random draws would fall on it anyway, as in the shap package. To run it
        # because it just fits would leave nothing for all others.
        share = sum(mass[s] for s in pair) / sum(mass[s] for s in mass if s not in whole)
        if not whole_sizes or number > share * (budget - used) * (1 + 1e-9):
            break
        for s in pair:
            starts.append(used)
            whole.append(s)
            used += comb(count, s)
    rest = [s for s in mass if s not in whole]
    total = sum(mass[s] for s in rest)
    left = budget - used if rest else 0
    return _Sizes(
        draws=used + left,
        whole=used,
        starts=np.asarray(starts, np.int64),
        sizes=np.asarray(whole, np.int64),
        kernel=np.asarray([mass[s] / comb(count, s) for s in whole]),
        drawn=np.asarray(rest, np.int64),
        shares=np.cumsum([mass[s] / total for s in rest])[:-1] if rest else np.zeros(0),
        left=total / left if left else 0.0,
    )


@lru_cache(maxsize=16)
def _sequential(seed: int, samples: int, count: int) -> np.ndarray:
    masks = np.random.RandomState(seed).randint(0, 2, samples * count).reshape(samples, count)
    masks[0] = 1
    return masks.astype(bool)


def _packed(masks: np.ndarray, width: int) -> np.ndarray:
    """Packs masks (pairs, features); what lies behind the last feature is on."""
    whole = np.ones((len(masks), width * 8), bool)
    whole[:, : masks.shape[1]] = masks
    return np.packbits(whole, axis=1, bitorder="little")
