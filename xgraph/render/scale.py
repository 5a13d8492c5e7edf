"""From raw values to the numbers in [0, 1] that a palette colours. Raw arrays are never written to.

A handful of outliers would leave the rest of a map without contrast, so the ends of the range are
percentiles, and what lies beyond takes the end colours. The range keeps raw units: the colour bar shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Reduction = Literal["sum", "max_abs", "norm"]
Scaling = Literal["signed", "positive", "spread"]


@dataclass(frozen=True, slots=True)
class Range:
    """The raw values that get the first and the last colour."""

    low: float
    high: float

    def unit(self, values: Array) -> Array:
        """Returns float32 ``(values - low) / (high - low)``, clipped to [0, 1]."""
        # In float64, so that the midpoint of a symmetric range is exactly 0.5 for tiny and huge values alike.
        share = (values.astype(np.float64) - self.low) / (self.high - self.low)
        return np.clip(share, 0.0, 1.0).astype(np.float32)


def reduce_channels(values: Array, how: Reduction) -> Array:
    """Returns (h, w) for (..., h, w).

    ``sum`` keeps the sign and, for attributions, the total (a pixel's relevance is the sum over its
    channels); ``max_abs`` is the largest magnitude (Simonyan et al. 2014, arXiv:1312.6034); ``norm`` is the
    Euclidean norm.
    """
    values = values.reshape(-1, *values.shape[-2:])
    if how == "sum":
        return np.asarray(values.sum(axis=0, dtype=np.float32))
    if how == "max_abs":
        return np.asarray(np.abs(values).max(axis=0))
    return np.asarray(np.linalg.norm(values, axis=0))


def find_range(values: Array, scaling: Scaling, percentile: float = 99.5) -> Range:
    """Returns the range of finite ``values`` of any shape.

    ``signed``: symmetric about zero. ``positive``: from zero up. ``spread``: from the lowest to the highest.
    The ends are percentiles. Where a percentile says nothing because nearly all values are equal, the extreme
    is taken; where even that is zero wide (a constant map), the range is one unit.
    """
    if values.size == 0:
        return Range(-1.0, 1.0) if scaling == "signed" else Range(0.0, 1.0)
    if scaling == "spread":
        low, high = (float(end) for end in np.percentile(values, (100.0 - percentile, percentile)))
        if high <= low:
            low, high = float(values.min()), float(values.max())
        return Range(low, high) if high > low else Range(low, low + 1.0)
    amounts = np.abs(values) if scaling == "signed" else np.maximum(values, 0.0)
    high = float(np.percentile(amounts, percentile)) or float(amounts.max()) or 1.0
    return Range(-high, high) if scaling == "signed" else Range(0.0, high)
