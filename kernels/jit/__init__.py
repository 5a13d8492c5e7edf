"""Kernels of perturbation methods compiled by Numba: the functions of ``xgraph.kernels.reference``, faster.

No loop runs on several threads. The longest of them takes a millisecond on one, ONNX Runtime owns the cores, and
Numba's thread pools end the process when it forks or when two threads start loops at once.
"""

from xgraph.kernels.jit.masks import (
    bernoulli,
    combinations,
    complement,
    permutations,
    popcounts,
    subsets,
    unpack,
)
from xgraph.kernels.jit.painting import (
    accumulate_grids,
    cover_windows,
    paint_windows,
    segment_sizes,
    segment_sums,
    windows,
)
from xgraph.kernels.jit.philox import words
from xgraph.kernels.jit.surrogate import normal_equations

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
