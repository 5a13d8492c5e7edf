"""Which features a sparse surrogate keeps: the selections of LIME, from normal equations alone.

They follow ``lime.lime_base`` 0.2 (Ribeiro, Singh and Guestrin, "Why should I trust you?", 2016, arXiv:1602.04938) on
dense binary designs whose first row is all ones. LIME then fits ``ridge(..., alpha=1, among=indices)``.
"""

from __future__ import annotations

import warnings

import numpy as np

from xgraph.reducing.linear import ROUNDING, Normal, ridge


def highest_weights(normal: Normal, target: int, count: int, alpha: float = 0.01) -> np.ndarray:
    """Returns the ``count`` features with the largest coefficients of a ridge, largest first (int64)."""
    size = np.abs(ridge(normal, target, alpha).coefficients)
    return np.argsort(-size, kind="stable")[:count]


def forward_selection(normal: Normal, target: int, count: int) -> np.ndarray:
    """Returns ``count`` features, each the one that adds most to the weighted R² of those before it (int64).

    LIME fits all candidates anew in each step. Here the features chosen so far are swept out of the normal equations:
    of what is left, a_jj = |z_j|² and b_j = z_jᵀy, feature j explains b_j² / a_jj. A feature that depends linearly on
    the chosen ones explains nothing. Ties to rounding go to the first feature, so that the order in which the sums
    were added up does not show.
    """
    centred = normal.only(target).centred()
    gram, moments = centred.gram.copy(), centred.moments[:, 0].copy()
    free = np.ones(normal.count, bool)
    least = ROUNDING * np.diagonal(gram)
    chosen: list[int] = []
    for _ in range(min(count, normal.count)):
        diagonal = np.diagonal(gram)
        able = free & (diagonal > least)
        gains = np.where(able, moments**2 / np.where(able, diagonal, 1.0), np.where(free, 0.0, -1.0))
        best = int(np.argmax(gains >= (1 - ROUNDING) * gains.max()))
        chosen.append(best)
        free[best] = False
        if able[best]:
            column = gram[best] / gram[best, best]
            moments -= column * moments[best]
            gram -= np.outer(column, gram[best])
    return np.array(chosen, np.int64)


def lasso_path(normal: Normal, target: int, count: int, rows: int) -> np.ndarray:
    """Returns the features of the last point of the Lasso path with at most ``count`` of them, ascending (int64).

    As LIME has it: where the path has no step, as for a constant response, all features are returned, and the first
    step's one even for ``count`` = 0.

    Args:
        normal: The equations.
        target: Which response.
        count: How many features at most.
        rows: How many rows went into the equations. The path ends where the penalty of the loss *per row* falls below
            a fixed 1.2e-7, so their number matters.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import lars_path_gram

    centred = normal.only(target).centred()
    with warnings.catch_warnings():
        # Of a feature that depends on those before it: it is dropped, as it should be.
        warnings.simplefilter("ignore", ConvergenceWarning)
        path = lars_path_gram(centred.moments[:, 0], centred.gram, n_samples=rows, method="lasso")[2].T
    # A coefficient that has just reached zero may hold a rounding error.
    active = np.abs(path) > ROUNDING * np.abs(path).max(initial=0.0)
    for point in active[:0:-1]:
        if point.sum() <= count:
            return np.flatnonzero(point)
    return np.flatnonzero(active[1]) if len(active) > 1 else np.arange(normal.count)
