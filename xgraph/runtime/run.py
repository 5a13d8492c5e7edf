"""The plan runner: samples times draws in batches of one fixed size, through a session, into a reducer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, TypeAlias

import numpy as np

from xgraph.errors import InputError
from xgraph.graph.artifact import Artifact
from xgraph.plan import Feeds, Reducer, Sampler, Samples
from xgraph.runtime.batches import batch_size
from xgraph.runtime.providers import Provider
from xgraph.runtime.session import open_session

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (runs done, runs in all) after every batch."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to run, apart from what to run."""

    provider: Provider
    threads: int | None = None
    batch: int | None = None
    """Batch size asked for; None: from the memory budget."""
    fixed_batch: int | None = None
    """The batch size that is baked into the model, if one is; it goes before what was asked for."""
    progress: Progress | None = None

    def __post_init__(self) -> None:
        for name, number in (("batch", self.batch), ("threads", self.threads)):
            if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):
                raise InputError(f"{name}={number!r} should be a whole number from 1")


def run(
    artifact: Artifact,
    sampler: Sampler,
    reducer: Reducer,
    samples: Samples,
    extra: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    settings: Settings,
    only: np.ndarray | None = None,
) -> Mapping[str, Any]:
    """Runs one stage.

    Args:
        artifact: the graph.
        sampler: makes the model's inputs.
        reducer: folds the outputs.
        samples: what is explained.
        extra: per-row inputs of the graph that are not the model's (``xg_target``, ``xg_seed``).
        outputs: the graph outputs that the reducer wants.
        settings: device, threads, batch size, progress.
        only: the rows to run, in rising order; default: all. Rows keep their numbers, and hence their draws.

    Returns:
        What the reducer makes of it, by output name.
    """
    draws = sampler.open(samples)
    queue = _Queue(draws.counts, np.arange(samples.rows) if only is None else only)
    pairs = queue.waiting
    size = settings.fixed_batch or batch_size(pairs, _sample_bytes(artifact, samples.inputs), asked=settings.batch)
    session = open_session(
        artifact, settings.provider, threads=settings.threads, batch=None if settings.fixed_batch else size
    )
    state = reducer.start(draws)
    while queue.waiting:
        batch = draws.batch(*queue.take(size))
        feeds = dict(batch.feeds)
        if batch.sources is None:
            feeds.update({name: array[batch.rows] for name, array in extra.items()})
        feeds = {name: _padded(array, size) for name, array in feeds.items()}
        if batch.sources is not None:
            feeds.update({**batch.shared, **{name: array[batch.sources] for name, array in extra.items()}})
        results = session.run(feeds, outputs)
        if len(batch.rows) < size:
            results = {name: array[: len(batch.rows)] for name, array in results.items()}
        done = reducer.update(state, results, batch)
        if done is not None:
            queue.drop(done)
        if settings.progress:
            settings.progress(pairs - queue.waiting, pairs)
    return reducer.finish(state)


class _Queue:
    """The pairs that are still to be run: all draws of a row, then those of the next one."""

    def __init__(self, counts: np.ndarray, rows: np.ndarray) -> None:
        self._left = deque((int(row), 0, int(counts[row])) for row in rows if counts[row] > 0)
        """Row, its next draw, and where its draws end."""
        self.waiting = sum(end for _, _, end in self._left)

    def take(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Removes up to ``size`` pairs and returns their rows and draws."""
        rows, draws = [], []
        while size and self._left:
            row, start, last = self._left.popleft()
            end = min(start + size, last)
            rows.append(np.full(end - start, row))
            draws.append(np.arange(start, end))
            size -= end - start
            self.waiting -= end - start
            if end < last:
                self._left.appendleft((row, end, last))
        return np.concatenate(rows), np.concatenate(draws)

    def drop(self, done: Sequence[int] | np.ndarray) -> None:
        """Forgets what is left of rows. They are done because they ran, so they are in front."""
        while self._left and self._left[0][0] in done:
            _, start, end = self._left.popleft()
            self.waiting -= end - start


def _sample_bytes(artifact: Artifact, inputs: Feeds) -> int:
    """Scales the estimate, which took dynamic axes at a typical size, to the size of these samples."""
    if not artifact.input_bytes:
        return artifact.sample_bytes
    given = sum(array[:1].nbytes for array in inputs.values())
    return ceil(artifact.sample_bytes * given / artifact.input_bytes)


def _padded(array: np.ndarray, size: int) -> np.ndarray:
    """Repeats the last row until there are ``size``; what the copies give is thrown away."""
    short = size - len(array)
    return array if short == 0 else np.concatenate([array, np.repeat(array[-1:], short, axis=0)])
