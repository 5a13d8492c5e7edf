"""Random draws that depend on (seed, sample row, draw) alone.

Philox is counter-based (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011,
doi:10.1145/2063384.2063405): every pair has its own stream, so batch size, order and thread count do not matter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xgraph.errors import InputError

_PURPOSES = {"noise": 1, "alpha": 2, "baseline": 3, "choice": 4, "tabular": 8}
"""Streams of one pair that must not repeat each other."""


def checked_seed(seed: int) -> int:
    """Returns the seed as a plain number.

    Raises:
        InputError: It is no whole number that the generator takes.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**128:
        raise InputError(f"seed={seed!r} should be a whole number from 0 to 2**128 - 1")
    return int(seed)


def generator(purpose: str, seed: int, row: int, draw: int, part: int = 0) -> np.random.Generator:
    """Returns the generator of one pair; ``part`` tells several values of one pair apart.

    Raises:
        InputError: The seed is no whole number that the generator takes.
    """
    seed = checked_seed(seed)
    counter = [0, _PURPOSES[purpose] << 32 | part, int(draw), int(row)]
    return np.random.Generator(np.random.Philox(key=seed, counter=counter))


def normals(
    purpose: str, seed: int, rows: np.ndarray, draws: np.ndarray, shape: Sequence[int], part: int = 0
) -> np.ndarray:
    """Returns standard normal float32 values of ``(pairs, *shape)``."""
    values = np.empty((len(rows), *shape), np.float32)
    for i, (row, draw) in enumerate(zip(rows, draws, strict=True)):
        values[i] = generator(purpose, seed, row, draw, part).standard_normal(tuple(shape), dtype=np.float32)
    return values


def uniforms(
    purpose: str, seed: int, rows: np.ndarray, draws: np.ndarray, shape: Sequence[int] = (), part: int = 0
) -> np.ndarray:
    """Returns float32 values of ``(pairs, *shape)``, uniform on [0, 1)."""
    values = np.empty((len(rows), *shape), np.float32)
    for i, (row, draw) in enumerate(zip(rows, draws, strict=True)):
        values[i] = generator(purpose, seed, row, draw, part).random(tuple(shape), dtype=np.float32)
    return values
