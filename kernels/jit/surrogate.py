"""Weighted least squares on masks: sums over pairs of d d^T and d y^T, d = (1, z)."""

from __future__ import annotations

import numpy as np

from xgraph.kernels.jit.compiled import compiled, plain
from xgraph.kernels.reference.masks import check_counts

_TILE = 64
"""Pairs whose masks lie unpacked at a time: 150 kB for 300 features, which fits a core's cache."""


def normal_equations(
    bits: np.ndarray,
    count: int,
    weights: np.ndarray,
    responses: np.ndarray,
    gram: np.ndarray,
    moments: np.ndarray,
) -> None:
    """As the twin; without products, because a mask is 0 or 1: to row i of the matrix go the pairs with i on.

    Every entry is added up in the order of the pairs, so that the matrix is symmetric to the bit, and the same however
    pairs are grouped. Four pairs are added at a time, because a row is read and written again for each. One thread,
    unlike BLAS, which waits tens of milliseconds for its second one where ONNX Runtime's threads hold the cores.
    """
    check_counts(np.array([count]), bits.shape[1])
    if gram.shape != (count + 1, count + 1) or moments.shape != (count + 1, responses.shape[1]):
        raise ValueError(f"sums of shape {gram.shape} and {moments.shape} are not of {count} features")
    pairs = plain(bits, np.uint8), plain(weights, np.float64), plain(responses, np.float64)
    _add(*pairs, np.empty((_TILE + 1, count + 1)), np.empty(_TILE + 3, np.int64), gram, moments)


@compiled
def _add(
    bits: np.ndarray,
    weights: np.ndarray,
    responses: np.ndarray,
    design: np.ndarray,
    on: np.ndarray,
    gram: np.ndarray,
    moments: np.ndarray,
) -> None:
    n = gram.shape[0]
    for j in range(n):
        design[_TILE, j] = 0.0
    for first in range(0, bits.shape[0], _TILE):
        pairs = min(_TILE, bits.shape[0] - first)
        for p in range(pairs):
            design[p, 0] = weights[first + p]
            for i in range(1, n):
                design[p, i] = weights[first + p] * (bits[first + p, (i - 1) // 8] >> (i - 1) % 8 & 1)
        for i in range(n):
            found = 0
            for p in range(pairs):
                if i == 0 or bits[first + p, (i - 1) // 8] >> (i - 1) % 8 & 1:
                    on[found] = p
                    found += 1
                    for k in range(responses.shape[1]):
                        moments[i, k] += weights[first + p] * responses[first + p, k]
            while found % 4:
                on[found] = _TILE
                found += 1
            for start in range(0, found, 4):
                a, b, c, d = on[start], on[start + 1], on[start + 2], on[start + 3]
                for j in range(n):
                    gram[i, j] = gram[i, j] + design[a, j] + design[b, j] + design[c, j] + design[d, j]
