"""How many samples run at once."""

from __future__ import annotations

from math import ceil

import psutil

_MOST = 64
"""More samples at once never paid on a CPU, and cost latency until the first result."""


def batch_size(pairs: int, sample_bytes: int, *, asked: int | None = None, budget: int | None = None) -> int:
    """Returns the batch size for ``pairs`` runs of a graph.

    Args:
        pairs: runs in all.
        sample_bytes: peak activation memory of one.
        asked: a batch size that the user wants.
        budget: bytes to stay within; default a quarter of the free memory.
    """
    if asked is not None:
        limit = asked
    else:
        budget = budget or psutil.virtual_memory().available // 4
        limit = min(_MOST, max(1, int(budget // max(1, sample_bytes))))
    # Equal batches: the last one would otherwise be padded, or need a session of its own.
    return ceil(pairs / ceil(pairs / limit)) if pairs else 1
