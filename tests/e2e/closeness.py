"""When a gradient is right: not further from the float64 reference than float32 explains."""

from __future__ import annotations

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
    return WHOLE_MODEL * distance(single, double) + FLOOR


def assert_as_good(actual: np.ndarray, single: np.ndarray, double: np.ndarray, what: str = "") -> None:
    """Asserts that ``actual`` is as near to ``double`` as float32 allows."""
    assert actual.dtype == np.float32
    found, most = distance(actual, double), allowed(single, double)
    assert found <= most, f"{what}: off by {found:.2e} of the largest entry, {most:.2e} is allowed"
