"""Linear surrogates from weighted normal equations: what LIME, G-LIME and KernelSHAP fit to their samples.

With the design row d = (1, z_1 ... z_K) and the responses y of one sample, a fit needs no more than the sums
Σ w d dᵀ, Σ w d yᵀ and Σ w y², which a stream can add up. The intercept is eliminated first, by centring:

    A = Σ w (z - z̄)(z - z̄)ᵀ,   b = Σ w (z - z̄)(y - ȳ),   (A + αI) β = b,   intercept = ȳ - z̄ᵀβ

with z̄, ȳ the weighted means. What is left is solved by the eigenvectors of the matrix, all responses at once: they
give the condition number and the minimum-norm solution of a singular system too, for the price that NumPy asks for
the eigenvalues and a Cholesky factor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ROUNDING = 1e-13
"""What is smaller than this, relative to what it was computed from, is rounding: ten thousand rows' worth of it.

Of a response it means a standard deviation below 3e-7 of its size, a few roundings of the float32 it came in."""


@dataclass(frozen=True, slots=True)
class Normal:
    """Weighted normal equations of K features and T responses, float64.

    Responses are best taken relative to a value near them, such as the score of the whole sample: that moves only the
    intercept, and spares the digits that centring would cancel.
    """

    gram: np.ndarray
    """Σ w d dᵀ, (K+1, K+1), with d = (1, z)."""
    moments: np.ndarray
    """Σ w d yᵀ, (K+1, T)."""
    squares: np.ndarray
    """Σ w y², (T,)."""

    @classmethod
    def of(cls, features: np.ndarray, weights: np.ndarray, responses: np.ndarray) -> Normal:
        """Returns the equations of some rows: features (N, K), weights (N,), responses (N, T), of any real dtype."""
        design = np.concatenate([np.ones((len(features), 1)), features], axis=1, dtype=np.float64)
        wide = responses.astype(np.float64)
        weighted = design.T * weights.astype(np.float64)
        return cls(weighted @ design, weighted @ wide, weights.astype(np.float64) @ wide**2)

    def __add__(self, other: Normal) -> Normal:
        """Returns the equations of the rows of both."""
        return Normal(self.gram + other.gram, self.moments + other.moments, self.squares + other.squares)

    @property
    def count(self) -> int:
        """K, the number of features."""
        return len(self.gram) - 1

    @property
    def targets(self) -> int:
        """T, the number of responses."""
        return len(self.squares)

    def subset(self, indices: np.ndarray | Sequence[int]) -> Normal:
        """Returns the equations in these features alone, in this order."""
        kept = np.concatenate([[0], np.asarray(indices, np.int64) + 1])
        return Normal(self.gram[np.ix_(kept, kept)], self.moments[kept], self.squares)

    def only(self, target: int) -> Normal:
        """Returns the equations of one response, T = 1."""
        return Normal(self.gram, self.moments[:, [target]], self.squares[[target]])

    def centred(self) -> Centred:
        """Returns the equations about the weighted means; what does not vary is exactly 0 in them."""
        weight = self.gram[0, 0]
        first = np.concatenate([self.gram[0, 1:], self.moments[0]])
        means = first / weight if weight > 0 else np.zeros_like(first)
        features, responses = means[: self.count], means[self.count :]
        gram = self.gram[1:, 1:] - np.outer(features, self.gram[0, 1:])
        moments = self.moments[1:] - np.outer(features, self.moments[0])
        squares = self.squares - responses * self.moments[0]
        still = np.diagonal(gram) <= ROUNDING * np.diagonal(self.gram)[1:]
        constant = squares <= ROUNDING * self.squares
        gram = np.where(still[:, None] | still, 0.0, gram)
        moments = np.where(still[:, None] | constant, 0.0, moments)
        return Centred(float(weight), gram, moments, np.where(constant, 0.0, squares), features, responses)


@dataclass(frozen=True, slots=True)
class Centred:
    """Normal equations about the weighted means, float64."""

    weight: float
    """Σ w."""
    gram: np.ndarray
    """Σ w (z - z̄)(z - z̄)ᵀ, (K, K)."""
    moments: np.ndarray
    """Σ w (z - z̄)(y - ȳ)ᵀ, (K, T)."""
    squares: np.ndarray
    """Σ w (y - ȳ)², (T,)."""
    features: np.ndarray
    """z̄, (K,)."""
    responses: np.ndarray
    """ȳ, (T,)."""

    def r2(self, target: int, intercept: float, coefficients: np.ndarray) -> float:
        """Returns 1 - Σ w (y - ŷ)² / Σ w (y - ȳ)²; of a constant response 1 if ŷ meets it, else 0."""
        offset = self.responses[target] - intercept - self.features @ coefficients
        explained = 2 * self.moments[:, target] - self.gram @ coefficients
        residual = self.weight * offset**2 + self.squares[target] - coefficients @ explained
        if self.squares[target] == 0:
            return float(residual <= ROUNDING * self.weight * self.responses[target] ** 2)
        return float(1 - max(residual, 0.0) / self.squares[target])


@dataclass(frozen=True, slots=True)
class Fit:
    """A linear surrogate of one response."""

    intercept: float
    coefficients: np.ndarray
    """(K,), float64; 0 where a feature was not selected."""
    r2: float
    """Weighted coefficient of determination, as scikit-learn's ``score``; finite where the sums are."""
    condition: float
    """2-norm condition number of the matrix that was solved; infinite where it is singular to rounding."""
    selected: np.ndarray
    """Indices of the features that were fitted, int64."""


def ridge(normal: Normal, target: int, alpha: float, among: np.ndarray | Sequence[int] | None = None) -> Fit:
    """Returns argmin Σ w (y - ŷ)² + α|β|² over β and a free intercept, in the features ``among`` (None: all).

    This is the surrogate of LIME (Ribeiro, Singh and Guestrin, "Why should I trust you?", 2016, arXiv:1602.04938), and
    scikit-learn's ``Ridge``. With α = 0 it is weighted least squares; where the features are then linearly dependent,
    the coefficients have minimum norm in the scale in which Σ w (z - z̄)² = 1 for every feature.
    """
    return ridge_all(normal.only(target), alpha, among)[0]


def ridge_all(normal: Normal, alpha: float, among: np.ndarray | Sequence[int] | None = None) -> list[Fit]:
    """Returns the ``ridge`` of each response; they share one factorisation."""
    selected = np.arange(normal.count) if among is None else np.asarray(among, np.int64)
    return _pulled(normal, alpha, np.zeros((len(selected), 1)), selected)


def prior_ridge(normal: Normal, target: int, alpha: float, prior: np.ndarray, scale: float = 1.0) -> Fit:
    """Returns argmin Σ w (y - ŷ)² + α|β - scale·prior|² over β (K,) and a free intercept: LIME with a prior.

    With α = 0 the prior has no say, not even where the features are linearly dependent.
    """
    return _pulled(normal.only(target), alpha, scale * np.asarray(prior, np.float64)[:, None], np.arange(normal.count))[
        0
    ]


def _pulled(normal: Normal, alpha: float, towards: np.ndarray, selected: np.ndarray) -> list[Fit]:
    """Returns one fit per response, whose coefficients are pulled ``towards`` (selected, T or 1)."""
    centred = normal.subset(selected).centred()
    matrix = centred.gram + alpha * np.eye(len(selected))
    diagonal = np.diagonal(matrix)
    # A unit diagonal makes the condition number one of the design, not of how often each feature varies.
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    right = centred.moments + alpha * towards
    scaled, condition = _solve(matrix * np.outer(scale, scale), scale[:, None] * right)
    fits = []
    for target, solution in enumerate((scale[:, None] * scaled).T):
        intercept = float(centred.responses[target] - centred.features @ solution)
        coefficients = np.zeros(normal.count)
        coefficients[selected] = solution
        fits.append(Fit(intercept, coefficients, centred.r2(target, intercept, solution), condition, selected))
    return fits


def shapley(normal: Normal, target: int, full: float, empty: float) -> Fit:
    """Returns argmin Σ w (y - empty - zᵀφ)² over φ with Σ φ = full - empty: the coefficients are Shapley values.

    This is KernelSHAP (Lundberg and Lee, "A unified approach to interpreting model predictions", 2017,
    arXiv:1705.07874), with w from ``shapley_kernel``, or rows drawn in proportion to it. The constraint is eliminated:
    φ = (full - empty)/K + Qu, where the columns of Q are an orthonormal basis of what sums to 0. Where the rows do not
    determine φ, it is the solution nearest to the even split, whatever the order of the features.

    Args:
        normal: Of coalitions; the empty and the full one have no part in it.
        target: Which response.
        full: The response to the full coalition.
        empty: The response to the empty coalition, which is the intercept.
    """
    one = normal.only(target)
    gram, count = one.gram[1:, 1:], one.count
    even = np.full(count, (full - empty) / max(count, 1))
    basis = _sums_to_zero(count)
    right = one.moments[1:, 0] - empty * one.gram[1:, 0] - gram @ even
    solution, condition = _solve(basis.T @ gram @ basis, (basis.T @ right)[:, None])
    phi = even + basis @ solution[:, 0]
    return Fit(float(empty), phi, one.centred().r2(0, empty, phi), condition, np.arange(count))


def glime(normal: Normal, plain: Normal, target: int, prior: np.ndarray, beta: float) -> Fit:
    """Returns InterpretDL's G-LIME: a ridge towards the direction of a prior, between standardised variables.

    This follows InterpretDL 0.8.0 (Li, Xiong, Li et al., "G-LIME: Statistical learning for local interpretations of
    deep neural networks using global priors", 2023, Artificial Intelligence 314, 103823). With the columns
    x_k = (z_k - z̄_k) / |z_k - z̄_k|, t = (y - ȳ) / |y - ȳ|, where the means are weighted and the norms are not,

        a = (Xᵀ W X + βI)⁻¹ (Xᵀ W t + β a₀),   a₀ = prior / Σ |prior|.

    ``coefficients`` are a, in the standardised scale, where the intercept is 0; R² is that of the surrogate they
    define. The norm of what does not vary counts as 1; a₀ = 0 if the prior is 0.

    Args:
        normal: The weighted equations.
        plain: The equations of the same rows with all weights 1.
        target: Which response.
        prior: What the coefficients are expected to be like, (K,).
        beta: How much the prior counts.
    """
    centred, unweighted = normal.only(target).centred(), plain.only(target)
    sums, rows = unweighted.gram[0, 1:], unweighted.gram[0, 0]
    norms = _norms(np.diagonal(unweighted.gram)[1:], sums, rows, centred.features)
    size = _norms(unweighted.squares, unweighted.moments[0], rows, centred.responses)[0]
    total = np.abs(prior).sum()
    direction = np.asarray(prior, np.float64) / (total if total > 0 else 1.0)
    matrix = centred.gram / np.outer(norms, norms) + beta * np.eye(len(norms))
    right = centred.moments[:, 0] / (norms * size) + beta * direction
    solution, condition = _solve(matrix, right[:, None])
    coefficients = solution[:, 0]
    raw = coefficients * size / norms
    r2 = centred.r2(0, float(centred.responses[0] - centred.features @ raw), raw)
    return Fit(0.0, coefficients, r2, condition, np.arange(len(norms)))


def _norms(squares: np.ndarray, sums: np.ndarray, rows: float, means: np.ndarray) -> np.ndarray:
    """Returns √Σ (v - mean)² of some columns, and 1 where that is 0."""
    about = squares - 2 * means * sums + rows * means**2
    return np.sqrt(np.where(about > ROUNDING * squares, about, 1.0))


def _sums_to_zero(count: int) -> np.ndarray:
    """Returns an orthonormal basis (K, K-1) of the vectors that sum to 0: Helmert's contrasts."""
    steps = np.arange(1.0, count)
    basis = np.triu(np.ones((count, len(steps))))
    basis[np.arange(1, count), np.arange(len(steps))] = -steps
    return basis / np.sqrt(steps * (steps + 1))


def _solve(matrix: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns the minimum-norm solution (K, T) of a positive semidefinite system, and its condition number."""
    values, vectors = np.linalg.eigh(matrix)
    largest = values.max(initial=0.0)
    kept = values > max(ROUNDING, len(values) * np.finfo(np.float64).eps) * largest
    inverse = np.where(kept, 1 / np.where(kept, values, 1.0), 0.0)
    condition = float(largest / values[0]) if kept.all() and len(values) else float(1 if kept.all() else np.inf)
    return vectors @ (inverse[:, None] * (vectors.T @ right)), condition


def cosine_kernel(ones: np.ndarray, counts: np.ndarray, width: float = 0.25) -> np.ndarray:
    """Returns LIME's weight exp(-d²/2σ²) of a 0/1 row, d its cosine distance 1 - √(ones/counts) to the row of ones.

    A row of zeros has d = 1. The width is that of LIME for images; for text, LIME has 25 and 100 d, which is the same.

    Args:
        ones: How many entries are 1.
        counts: How many entries there are; at least 1.
        width: σ.
    """
    distance = 1 - np.sqrt(np.asarray(ones, np.float64) / counts)
    return np.asarray(np.exp(-0.5 * (distance / width) ** 2))


def euclidean_kernel(ones: np.ndarray, counts: np.ndarray, width: float | None = None) -> np.ndarray:
    """Returns LIME's weight exp(-d²/2σ²) of a 0/1 row, d its distance √(counts - ones) to the row of ones.

    Args:
        ones: How many entries are 1.
        counts: How many entries there are; at least 1.
        width: σ; None is LIME's for tabular data, 0.75 √counts.
    """
    whole = np.asarray(counts, np.float64)
    spread = 0.5625 * whole if width is None else width**2
    return np.asarray(np.exp(-0.5 * (whole - ones) / spread))


def shapley_kernel(sizes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns KernelSHAP's weight (K - 1) / (C(K, s) s (K - s)) of a coalition of s among K, correctly rounded.

    It is 0 for the empty and the full coalition, whose infinite weight ``shapley`` meets as constraints, and where the
    value is below float64's range: in the middle sizes from K = 1073 on.
    """
    pairs = np.stack(np.broadcast_arrays(np.asarray(sizes, np.int64), np.asarray(counts, np.int64)))
    unique, where = np.unique(pairs.reshape(2, -1), axis=1, return_inverse=True)
    # Python divides integers of any length with one rounding.
    weights = [(k - 1) / (math.comb(k, s) * s * (k - s)) if 0 < s < k else 0.0 for s, k in unique.T.tolist()]
    return np.array(weights)[where].reshape(pairs.shape[1:])
