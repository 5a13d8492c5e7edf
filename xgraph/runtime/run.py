"""The plan runner: samples times draws in batches of one fixed size, through a session, into a reducer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from xgraph.graph.artifact import Artifact
from xgraph.plan import Feeds, Reducer, Sampler
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
    """The batch size that is baked into the model, if one is."""
    progress: Progress | None = None


def run(
    artifact: Artifact,
    sampler: Sampler,
    reducer: Reducer,
    inputs: Feeds,
    extra: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    settings: Settings,
) -> dict[str, np.ndarray]:
    """Runs one stage.

    Args:
        artifact: the graph.
        sampler: makes the model's inputs.
        reducer: folds the outputs.
        inputs: the samples, first axis = rows.
        extra: per-row inputs of the graph that are not the model's (``xg_target``, ``xg_seed``).
        outputs: the graph outputs that the reducer wants.
        settings: device, threads, batch size, progress.

    Returns:
        What the reducer makes of it, by output name.
    """
    rows = len(next(iter(inputs.values())))
    pairs = rows * sampler.draws
    size = settings.fixed_batch or batch_size(pairs, artifact.sample_bytes, asked=settings.batch)
    session = open_session(
        artifact, settings.provider, threads=settings.threads, batch=None if settings.fixed_batch else size
    )
    state = reducer.start(rows)
    for start in range(0, pairs, size):
        pair = np.arange(start, min(start + size, pairs))
        batch = sampler.batch(inputs, pair // sampler.draws, pair % sampler.draws)
        feeds = {**batch.feeds, **{name: array[batch.rows] for name, array in extra.items()}}
        results = session.run({name: _padded(array, size) for name, array in feeds.items()}, outputs)
        done = reducer.update(state, {name: array[: len(pair)] for name, array in results.items()}, batch)
        if settings.progress:
            settings.progress(int(pair[-1]) + 1, pairs)
        if done:
            break
    return reducer.finish(state)


def _padded(array: np.ndarray, size: int) -> np.ndarray:
    """Repeats the last row until there are ``size``; what the copies give is thrown away."""
    short = size - len(array)
    return array if short == 0 else np.concatenate([array, np.repeat(array[-1:], short, axis=0)])
