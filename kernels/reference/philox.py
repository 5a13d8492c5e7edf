"""Random words that depend on (seed, stream, sample row, draw) alone.

Philox is counter-based (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011,
doi:10.1145/2063384.2063405): every pair has its own words, so batch size, order and thread count do not matter.
"""

from __future__ import annotations

import numpy as np


def words(seed: int, stream: int, rows: np.ndarray, draws: np.ndarray, n: int) -> np.ndarray:
    """Returns the first random words of each pair.

    Args:
        seed: from 0 to 2**128 - 1.
        stream: what the words are for, from 0 to 2**32 - 1; streams never repeat each other.
        rows: int64[pairs], not negative.
        draws: int64[pairs], not negative.
        n: words of one pair.

    Returns:
        uint64[pairs, n]
    """
    found = np.empty((len(rows), n), np.uint64)
    for own, row, draw in zip(found, rows, draws, strict=True):
        # As an array, because a list of numbers on both sides of 2**63 becomes one of floats.
        counter = np.array([0, stream << 32, int(draw), int(row)], np.uint64)
        own[:] = np.random.Philox(key=seed, counter=counter).random_raw(n)
    return found


def uniforms(raw: np.ndarray) -> np.ndarray:
    """Returns float64 on [0, 1) from the upper 53 bits of random words."""
    return (raw >> np.uint64(11)) * 2.0**-53
