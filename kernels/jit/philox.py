"""Philox4x64-10, to the bit as NumPy has it.

Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011, doi:10.1145/2063384.2063405. A block
of four words is ten rounds over a counter of four words and a key of two:

    (c0, c1, c2, c3) <- (high(M1 c2) ^ c1 ^ k0, low(M1 c2), high(M0 c0) ^ c3 ^ k1, low(M0 c0))
    (k0, k1) <- (k0 + W0, k1 + W1)

NumPy adds 1 to the counter before each block, the first included: block i has the counter (i + 1, stream << 32, draw,
row).
"""

from __future__ import annotations

import numpy as np

from xgraph.kernels.jit.compiled import compiled, plain

_M0, _M1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
_W0, _W1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
_LOWER, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_SPARE = np.uint64(11)


def words(seed: int, stream: int, rows: np.ndarray, draws: np.ndarray, n: int) -> np.ndarray:
    """As the twin; without a generator object per pair, which costs more than the words."""
    found = np.empty((len(rows), n), np.uint64)
    _words(found, *key(seed, stream), plain(rows, np.uint64), plain(draws, np.uint64))
    return found


def key(seed: int, stream: int) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Returns the two words of the seed, lower first, and the counter's word for the stream."""
    seed = int(seed)
    if not 0 <= seed < 2**128:
        raise ValueError(f"seed={seed} should be from 0 to 2**128 - 1")
    return np.uint64(seed & 0xFFFFFFFFFFFFFFFF), np.uint64(seed >> 64), np.uint64(stream << 32)


@compiled
def fill(words: np.ndarray, n: int, low: np.uint64, high: np.uint64, stream: np.uint64, row: int, draw: int) -> None:
    """Writes the first ``n`` words of a pair; ``words`` is as long as whole blocks of four, or longer."""
    for block in range((n + 3) // 4):
        c0, c1, c2, c3 = np.uint64(block + 1), stream, np.uint64(draw), np.uint64(row)
        k0, k1 = low, high
        for _ in range(10):
            h0, h1 = _high(_M0, c0), _high(_M1, c2)
            c0, c1, c2, c3 = h1 ^ c1 ^ k0, _M1 * c2, h0 ^ c3 ^ k1, _M0 * c0
            k0 += _W0
            k1 += _W1
        words[4 * block] = c0
        words[4 * block + 1] = c1
        words[4 * block + 2] = c2
        words[4 * block + 3] = c3


@compiled
def uniform(word: np.uint64) -> float:
    """Returns a number on [0, 1) from the upper 53 bits of a word."""
    return float(word >> _SPARE) * 2.0**-53


@compiled
def _high(a: np.uint64, b: np.uint64) -> np.uint64:
    """Returns the upper word of a product, from the four products of the halves."""
    a0, a1, b0, b1 = a & _LOWER, a >> _HALF, b & _LOWER, b >> _HALF
    middle = a1 * b0 + (a0 * b0 >> _HALF)
    other = a0 * b1 + (middle & _LOWER)
    return a1 * b1 + (middle >> _HALF) + (other >> _HALF)


@compiled
def _words(
    found: np.ndarray, low: np.uint64, high: np.uint64, stream: np.uint64, rows: np.ndarray, draws: np.ndarray
) -> None:
    n = found.shape[1]
    own = np.empty(n + 3, np.uint64)
    for p in range(found.shape[0]):
        fill(own, n, low, high, stream, rows[p], draws[p])
        for i in range(n):
            found[p, i] = own[i]
