"""When a gradient is right: not further from the float64 reference than float32 explains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tolerances import FLOOR, WHOLE_MODEL


def distance(actual: np.ndarray, exact: np.ndarray) -> float:
    """Returns the largest difference, relative to the largest entry of ``exact``."""
    assert actual.shape == exact.shape, f"{actual.shape} is not {exact.shape}"
    scale = float(np.abs(exact).max())
    assert scale > 0, "the reference is zero, so it proves nothing"
    return float(np.abs(actual.astype(np.float64) - exact).max()) / scale


def allowed(single: np.ndarray, double: np.ndarray) -> float:
    """Returns how far from ``double`` a gradient may be that the reference computes as ``single`` in float32."""
    own = distance(single, double)
    assert own < STEADY, f"the reference is off by {own:.2e} itself: it was taken at a kink"
    return WHOLE_MODEL * own + FLOOR


NUDGE = 1e-6
"""Relative change of the weights that stands for float32 rounding, with something to spare."""
STEADY = 1e-3
"""A reference that is farther from itself in the other precision was taken at a kink, and would excuse anything."""
NUDGES = ((0.0, 0), (NUDGE, 0), (-NUDGE, 0), (NUDGE, 1), (-NUDGE, 1))
"""Size, and number of the random direction. Both signs: what is at a kink flips for one of them."""


def steadiest(gradient: np.ndarray, nudged: Sequence[np.ndarray], rows: int) -> list[int]:
    """Returns the rows whose float64 gradient changes least when the weights are nudged, in order.

    In such a row no ReLU or pool sits at its kink, so that rounding cannot flip it and any difference is an error.
    """
    axes = tuple(range(1, gradient.ndim))
    change = sum(np.abs(other - gradient).max(axes) for other in nudged) / np.abs(gradient).max(axes)
    return sorted(int(row) for row in np.argsort(change, kind="stable")[:rows])


def assert_as_good(actual: np.ndarray, single: np.ndarray, double: np.ndarray, what: str = "") -> None:
    """Asserts that ``actual`` is as near to ``double`` as float32 allows."""
    assert actual.dtype == np.float32
    found, most = distance(actual, double), allowed(single, double)
    assert found <= most, f"{what}: off by {found:.2e} of the largest entry, {most:.2e} is allowed"
