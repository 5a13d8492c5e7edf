"""Which features are on, pair by pair in one loop, with the random words made on the way."""

from __future__ import annotations

import numpy as np

from xgraph.kernels.jit.compiled import compiled, plain
from xgraph.kernels.jit.philox import fill, key, uniform
from xgraph.kernels.reference.masks import check_counts, check_sizes, unpack

# ``unpack`` is NumPy's: a compiled loop takes as long (64 pairs of 200 features: ratio 1.0).
__all__ = ["bernoulli", "combinations", "complement", "permutations", "popcounts", "subsets", "unpack"]

_LARGEST = np.int64(2**63 - 1)
_BYTE = np.uint64(255)


def bernoulli(
    seed: int,
    stream: int,
    rows: np.ndarray,
    draws: np.ndarray,
    counts: np.ndarray,
    probability: float,
    width: int,
) -> np.ndarray:
    """As the twin; for a probability of 1/2 the random words are copied byte by byte, which is what packing them is."""
    check_counts(counts, width)
    bits = np.empty((len(counts), width), np.uint8)
    pairs = plain(rows, np.uint64), plain(draws, np.uint64), plain(counts, np.int64)
    _bernoulli(bits, *key(seed, stream), *pairs, float(probability), _room(counts))
    return bits


def subsets(
    seed: int,
    stream: int,
    rows: np.ndarray,
    draws: np.ndarray,
    counts: np.ndarray,
    sizes: np.ndarray,
    width: int,
) -> np.ndarray:
    """As the twin; one list of items serves all pairs, and bits are set where a swap ends."""
    check_counts(counts, width)
    check_sizes(sizes, counts)
    bits = np.empty((len(counts), width), np.uint8)
    pairs = plain(rows, np.uint64), plain(draws, np.uint64), plain(counts, np.int64), plain(sizes, np.int64)
    _subsets(bits, *key(seed, stream), *pairs, np.empty(width * 8, np.int64), _room(counts))
    return bits


def permutations(
    seed: int, stream: int, rows: np.ndarray, draws: np.ndarray, counts: np.ndarray, longest: int
) -> np.ndarray:
    """As the twin; items are swapped in the row of the result."""
    check_counts(counts, longest, 1)
    orders = np.full((len(counts), longest), -1, np.int32)
    pairs = plain(rows, np.uint64), plain(draws, np.uint64), plain(counts, np.int64)
    _permutations(orders, *key(seed, stream), *pairs, _room(counts))
    return orders


def combinations(ranks: np.ndarray, counts: np.ndarray, sizes: np.ndarray, width: int) -> np.ndarray:
    """As the twin; numbers of subsets come from Pascal's triangle, whose sums stop at 2**63 - 1, past all ranks."""
    check_counts(counts, width)
    check_sizes(sizes, counts)
    bits = np.empty((len(counts), width), np.uint8)
    pairs = plain(ranks, np.int64), plain(counts, np.int64), plain(sizes, np.int64)
    # n over k is n over n - k, and of what is still to be chosen one of the two is never larger than at the start.
    narrow = int(np.minimum(pairs[2], pairs[1] - pairs[2]).max(initial=0))
    triangle = np.zeros((int(pairs[1].max(initial=0)) + 1, narrow + 1), np.int64)
    wrong = _combinations(bits, *pairs, triangle)
    if wrong >= 0:
        rank, count, size = (int(own[wrong]) for own in pairs)
        raise ValueError(f"there is no subset number {rank} of size {size} of {count} features")
    return bits


def complement(bits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """As the twin; on packed bytes."""
    check_counts(counts, bits.shape[1])
    switched = np.empty(bits.shape, np.uint8)
    _complement(switched, plain(bits, np.uint8), plain(counts, np.int64))
    return switched


def popcounts(bits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """As the twin; on packed bytes."""
    check_counts(counts, bits.shape[1])
    found = np.empty(len(bits), np.int64)
    _popcounts(found, plain(bits, np.uint8), plain(counts, np.int64))
    return found


def _room(counts: np.ndarray) -> np.ndarray:
    """Returns room for the random words of the pair with the most features, in whole blocks of four."""
    return np.empty(int(counts.max(initial=0)) + 3, np.uint64)


@compiled
def _bernoulli(
    bits: np.ndarray,
    low: np.uint64,
    high: np.uint64,
    stream: np.uint64,
    rows: np.ndarray,
    draws: np.ndarray,
    counts: np.ndarray,
    probability: float,
    words: np.ndarray,
) -> None:
    for p in range(bits.shape[0]):
        count = counts[p]
        whole, rest = count // 8, count % 8
        if probability == 0.5:
            fill(words, (count + 63) // 64, low, high, stream, rows[p], draws[p])
            for byte in range(whole + (rest > 0)):
                bits[p, byte] = words[byte // 8] >> np.uint64(8 * (byte % 8)) & _BYTE
        else:
            fill(words, count, low, high, stream, rows[p], draws[p])
            for byte in range(whole + (rest > 0)):
                packed = 0
                for feature in range(8 * byte, min(8 * byte + 8, count)):
                    packed |= (uniform(words[feature]) < probability) << feature % 8
                bits[p, byte] = packed
        _ones_behind(bits, p, count)


@compiled
def _subsets(
    bits: np.ndarray,
    low: np.uint64,
    high: np.uint64,
    stream: np.uint64,
    rows: np.ndarray,
    draws: np.ndarray,
    counts: np.ndarray,
    sizes: np.ndarray,
    items: np.ndarray,
    words: np.ndarray,
) -> None:
    for p in range(bits.shape[0]):
        count, size = counts[p], sizes[p]
        for byte in range(bits.shape[1]):
            bits[p, byte] = 0
        for i in range(count):
            items[i] = i
        fill(words, size, low, high, stream, rows[p], draws[p])
        for i in range(size):
            j = i + int(uniform(words[i]) * (count - i))
            on = items[j]
            items[j] = items[i]
            bits[p, on // 8] |= 1 << on % 8
        _ones_behind(bits, p, count)


@compiled
def _permutations(
    orders: np.ndarray,
    low: np.uint64,
    high: np.uint64,
    stream: np.uint64,
    rows: np.ndarray,
    draws: np.ndarray,
    counts: np.ndarray,
    words: np.ndarray,
) -> None:
    for p in range(orders.shape[0]):
        count = counts[p]
        for i in range(count):
            orders[p, i] = i
        fill(words, count, low, high, stream, rows[p], draws[p])
        for i in range(count):
            j = i + int(uniform(words[i]) * (count - i))
            item = orders[p, j]
            orders[p, j] = orders[p, i]
            orders[p, i] = item


@compiled
def _combinations(
    bits: np.ndarray, ranks: np.ndarray, counts: np.ndarray, sizes: np.ndarray, triangle: np.ndarray
) -> int:
    """Returns the first pair without such a subset, or -1; ``triangle[n, k]`` becomes n over k, k <= n - k or not."""
    for n in range(triangle.shape[0]):
        triangle[n, 0] = 1
        for k in range(1, min(n + 1, triangle.shape[1])):
            without, with_it = triangle[n - 1, k] if k < n else 0, triangle[n - 1, k - 1]
            triangle[n, k] = without + with_it if without <= _LARGEST - with_it else _LARGEST
    for p in range(bits.shape[0]):
        rank, count, left = ranks[p], counts[p], sizes[p]
        if rank < 0:
            return p
        for byte in range(bits.shape[1]):
            bits[p, byte] = 0
        for feature in range(count):
            if left == 0:
                break
            n, k = count - feature - 1, left - 1
            ahead = triangle[n, min(k, n - k)] if k <= n else 0
            if rank < ahead or ahead == _LARGEST:
                bits[p, feature // 8] |= 1 << feature % 8
                left -= 1
            else:
                rank -= ahead
        if left > 0 or rank > 0:
            return p
        _ones_behind(bits, p, count)
    return -1


@compiled
def _complement(switched: np.ndarray, bits: np.ndarray, counts: np.ndarray) -> None:
    for p in range(bits.shape[0]):
        for byte in range((counts[p] + 7) // 8):
            switched[p, byte] = 255 ^ bits[p, byte]
        _ones_behind(switched, p, counts[p])


@compiled
def _popcounts(found: np.ndarray, bits: np.ndarray, counts: np.ndarray) -> None:
    for p in range(bits.shape[0]):
        whole, rest = counts[p] // 8, counts[p] % 8
        total = np.int64(0)
        for byte in range(whole + (rest > 0)):
            own = np.int64(bits[p, byte])
            if byte == whole:
                own &= (1 << rest) - 1
            # Sums of two, four, eight bits side by side.
            own = (own & 0x55) + (own >> 1 & 0x55)
            own = (own & 0x33) + (own >> 2 & 0x33)
            total += (own & 0x0F) + (own >> 4)
        found[p] = total


@compiled
def _ones_behind(bits: np.ndarray, p: int, count: int) -> None:
    """Sets the bits behind the last feature of a pair."""
    whole, rest = count // 8, count % 8
    if rest:
        bits[p, whole] |= 255 << rest & 255
        whole += 1
    for byte in range(whole, bits.shape[1]):
        bits[p, byte] = 255
