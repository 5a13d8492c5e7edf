"""Weighted least squares of what a model answers on which features are on.

sum_p w_p (y_p - d_p . beta)^2 is least where (sum_p w_p d_p d_p^T) beta = sum_p w_p d_p y_p, with d = (1, z_1 ... z_n).
Both sums are added up batch by batch, so that no draw is kept.
"""

from __future__ import annotations

import numpy as np

from xgraph.kernels.reference.masks import unpack


def normal_equations(
    bits: np.ndarray,
    count: int,
    weights: np.ndarray,
    responses: np.ndarray,
    gram: np.ndarray,
    moments: np.ndarray,
) -> None:
    """Adds pairs to both sides of the normal equations, in place.

    Args:
        bits: uint8[pairs, width], masks z.
        count: features of every pair.
        weights: float64[pairs], w.
        responses: float64[pairs, targets], y.
        gram: float64[count + 1, count + 1], to which sum_p w_p d_p d_p^T is added.
        moments: float64[count + 1, targets], to which sum_p w_p d_p y_p^T is added.

    Raises:
        ValueError: A mask has fewer bits than features, or the shapes do not fit.
    """
    design = np.hstack([np.ones((len(bits), 1)), unpack(bits, count)])
    weighted = design * weights[:, None]
    gram += weighted.T @ design
    moments += weighted.T @ responses
