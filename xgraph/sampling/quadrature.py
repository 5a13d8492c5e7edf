"""Nodes and weights of quadrature on [0, 1]."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

Rule: TypeAlias = Literal[
    "gauss_legendre", "riemann_left", "riemann_right", "riemann_middle", "trapezoid", "interpretdl"
]


def nodes(rule: Rule, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns ``steps`` nodes and their weights (float64); the weights sum to 1.

    ``gauss_legendre`` is exact for polynomials of degree ``2 steps - 1``. ``interpretdl`` is what InterpretDL 0.8.0
    computes: equal weights on ``k / (steps - 1)``, both ends included.
    """
    k = np.arange(steps, dtype=np.float64)
    equal = np.full(steps, 1.0 / steps)
    if rule == "gauss_legendre":
        x, w = np.polynomial.legendre.leggauss(steps)
        return (x + 1) / 2, w / 2
    if rule == "riemann_left":
        return k / steps, equal
    if rule == "riemann_right":
        return (k + 1) / steps, equal
    if rule == "riemann_middle":
        return (k + 0.5) / steps, equal
    if steps == 1:
        # One point: InterpretDL evaluates at the baseline, the trapezoid rule at the middle.
        return np.zeros(1) if rule == "interpretdl" else np.full(1, 0.5), equal
    if rule == "interpretdl":
        return k / (steps - 1), equal
    weights = np.full(steps, 1.0 / (steps - 1))
    weights[[0, -1]] /= 2
    return k / (steps - 1), weights
