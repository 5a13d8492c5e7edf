"""Kernels of perturbation methods in NumPy, written as their definitions read: what the compiled ones are held to.

Masks are packed bits, ``uint8 [pairs, width]``: feature f of a pair is bit f % 8 of byte f // 8, and 1 is on. The
bits behind the last feature of a pair are 1. A pair is one masked copy of one sample: (row, draw).
"""

from xgraph.kernels.reference.masks import (
    bernoulli,
    combinations,
    complement,
    permutations,
    popcounts,
    subsets,
    unpack,
)
from xgraph.kernels.reference.painting import (
    accumulate_grids,
    cover_windows,
    paint_windows,
    segment_sizes,
    segment_sums,
    windows,
)
from xgraph.kernels.reference.philox import words
from xgraph.kernels.reference.surrogate import normal_equations

__all__ = [
    "accumulate_grids",
    "bernoulli",
    "combinations",
    "complement",
    "cover_windows",
    "normal_equations",
    "paint_windows",
    "permutations",
    "popcounts",
    "segment_sizes",
    "segment_sums",
    "subsets",
    "unpack",
    "windows",
    "words",
]
