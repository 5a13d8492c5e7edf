"""Which features are on: masks as packed bits, drawn at random or counted through."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np

from xgraph.kernels.reference.philox import uniforms, words


def bernoulli(
    seed: int,
    stream: int,
    rows: np.ndarray,
    draws: np.ndarray,
    counts: np.ndarray,
    probability: float,
    width: int,
) -> np.ndarray:
    """Returns masks in which every feature is on with one probability, independently.

    For a probability of 1/2, feature f is bit f % 64 of random word f // 64. For others it takes a word of its own:
    it is on where (word_f >> 11) * 2**-53 < probability.

    Args:
        seed: see ``words``.
        stream: see ``words``.
        rows: int64[pairs]
        draws: int64[pairs]
        counts: int64[pairs], features of each pair.
        probability: of a feature being on.
        width: bytes of a mask.

    Returns:
        uint8[pairs, width]

    Raises:
        ValueError: A mask has fewer bits than features.
    """
    check_counts(counts, width)
    bits = np.full((len(counts), width), 255, np.uint8)
    for own, row, draw, count in zip(bits, rows, draws, counts.tolist(), strict=True):
        pair = np.array([row]), np.array([draw])
        if probability == 0.5:
            raw = words(seed, stream, *pair, -(-count // 64))[0]
            on: np.ndarray = np.unpackbits(raw.astype("<u8").view(np.uint8), bitorder="little")[:count]
        else:
            on = uniforms(words(seed, stream, *pair, count)[0]) < probability
        own[:] = _packed(np.flatnonzero(on), count, width)
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
    """Returns masks with a given number of features on, every such subset equally likely.

    They are what Fisher-Yates shuffles to the front: step i swaps item i with item i + floor(u_i (count - i)), where
    u_i = (word_i >> 11) * 2**-53. Subsets of one (row, draw) are therefore prefixes of one permutation.

    Args:
        seed: see ``words``.
        stream: see ``words``.
        rows: int64[pairs]
        draws: int64[pairs]
        counts: int64[pairs], features of each pair.
        sizes: int64[pairs], features that are on; 0 to counts.
        width: bytes of a mask.

    Returns:
        uint8[pairs, width]

    Raises:
        ValueError: A mask has fewer bits than features, or a subset more items than there are.
    """
    check_counts(counts, width)
    check_sizes(sizes, counts)
    bits = np.empty((len(counts), width), np.uint8)
    for own, row, draw, count, size in zip(bits, rows, draws, counts.tolist(), sizes.tolist(), strict=True):
        own[:] = _packed(_shuffled(seed, stream, row, draw, count, size)[:size], count, width)
    return bits


def permutations(
    seed: int, stream: int, rows: np.ndarray, draws: np.ndarray, counts: np.ndarray, longest: int
) -> np.ndarray:
    """Returns random orders of the features, those that ``subsets`` of the same stream are prefixes of.

    Args:
        seed: see ``words``.
        stream: see ``words``.
        rows: int64[pairs]
        draws: int64[pairs]
        counts: int64[pairs], features of each pair.
        longest: columns of the result.

    Returns:
        int32[pairs, longest], -1 behind the last feature.

    Raises:
        ValueError: A pair has more features than the result has columns.
    """
    check_counts(counts, longest, 1)
    orders = np.full((len(counts), longest), -1, np.int32)
    for own, row, draw, count in zip(orders, rows, draws, counts.tolist(), strict=True):
        own[:count] = _shuffled(seed, stream, row, draw, count, count)
    return orders


def combinations(ranks: np.ndarray, counts: np.ndarray, sizes: np.ndarray, width: int) -> np.ndarray:
    """Returns masks by their number among all with so many features on, in the order of ``itertools.combinations``.

    Args:
        ranks: int64[pairs], from 0.
        counts: int64[pairs], features of each pair.
        sizes: int64[pairs], features that are on; 0 to counts.
        width: bytes of a mask.

    Returns:
        uint8[pairs, width]

    Raises:
        ValueError: A mask has fewer bits than features, a subset more items than there are, or a rank is too high.
    """
    check_counts(counts, width)
    check_sizes(sizes, counts)
    bits = np.empty((len(counts), width), np.uint8)
    for own, rank, count, size in zip(bits, ranks.tolist(), counts.tolist(), sizes.tolist(), strict=True):
        if not 0 <= rank < comb(count, size):
            raise ValueError(f"there is no subset number {rank} of size {size} of {count} features")
        on: list[int] = []
        for feature in range(count):
            # Of those that begin as chosen so far, the ones with this feature come first.
            ahead = comb(count - feature - 1, size - len(on) - 1) if len(on) < size else 0
            if rank < ahead:
                on.append(feature)
            else:
                rank -= ahead
        own[:] = _packed(on, count, width)
    return bits


def complement(bits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns masks with every feature switched over; the bits behind the last feature are 1.

    Args:
        bits: uint8[pairs, width]
        counts: int64[pairs], features of each pair.

    Returns:
        uint8[pairs, width]

    Raises:
        ValueError: A mask has fewer bits than features.
    """
    check_counts(counts, bits.shape[1])
    feature = np.arange(8 * bits.shape[1])
    on = np.unpackbits(bits, axis=1, bitorder="little")
    return np.packbits(np.where(feature < counts[:, None], 1 - on, 1), axis=1, bitorder="little")


def popcounts(bits: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns how many features are on; the bits behind the last feature do not count.

    Args:
        bits: uint8[pairs, width]
        counts: int64[pairs], features of each pair.

    Returns:
        int64[pairs]

    Raises:
        ValueError: A mask has fewer bits than features.
    """
    check_counts(counts, bits.shape[1])
    feature = np.arange(8 * bits.shape[1])
    on = np.unpackbits(bits, axis=1, bitorder="little")
    found: np.ndarray = (on * (feature < counts[:, None])).sum(axis=1, dtype=np.int64)
    return found


def unpack(bits: np.ndarray, count: int) -> np.ndarray:
    """Returns masks with a byte for each feature.

    Args:
        bits: uint8[pairs, width]
        count: features of every pair.

    Returns:
        uint8[pairs, count], of 0 and 1.

    Raises:
        ValueError: A mask has fewer bits than features.
    """
    check_counts(np.array([count]), bits.shape[1])
    return np.unpackbits(bits, axis=1, count=count, bitorder="little")


def check_counts(counts: np.ndarray, width: int, bits: int = 8) -> None:
    """Refuses more features than ``width`` columns of so many bits hold.

    Raises:
        ValueError: One of the counts is higher, or below 0.
    """
    if len(counts) and not 0 <= counts.min() <= counts.max() <= bits * width:
        raise ValueError(f"counts from {counts.min()} to {counts.max()} should be from 0 to {bits * width}")


def check_sizes(sizes: np.ndarray, counts: np.ndarray) -> None:
    """Refuses subsets of more items than there are.

    Raises:
        ValueError: One of the sizes is higher than its count, or below 0.
    """
    if ((sizes < 0) | (sizes > counts)).any():
        raise ValueError("sizes should be from 0 to the count of features")


def _packed(on: Sequence[int] | np.ndarray, count: int, width: int) -> np.ndarray:
    """Returns uint8[width] with these features on, and the bits behind the last feature."""
    flags = np.zeros(8 * width, np.uint8)
    flags[count:] = 1
    flags[np.asarray(on, np.int64)] = 1
    return np.packbits(flags, bitorder="little")


def _shuffled(seed: int, stream: int, row: int, draw: int, count: int, size: int) -> list[int]:
    """Returns the features after the first steps of Fisher-Yates."""
    items = list(range(count))
    drawn = uniforms(words(seed, stream, np.array([row]), np.array([draw]), size)[0]).tolist()
    for i, u in enumerate(drawn):
        j = i + int(u * (count - i))
        items[i], items[j] = items[j], items[i]
    return items
