"""The plan runner: samples times draws in batches of one fixed size, through a session, into a reducer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TypeAlias

import numpy as np

from xgraph.errors import InputError
from xgraph.graph.artifact import Artifact
from xgraph.plan import Feeds, Reducer, Sampler, Shapes
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
    inputs: Feeds,
    extra: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    settings: Settings,
    shapes: Shapes = (),
    seed: int = 0,
    only: np.ndarray | None = None,
    first_row: int = 0,
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
        shapes: of the values that the sampler perturbs, without the batch axis.
        seed: of random draws.
        only: the rows to run, in rising order; default: all. Rows keep their numbers, and hence their draws.
        first_row: number of row 0 among all rows that share the seed.

    Returns:
        What the reducer makes of it, by output name.
    """
    rows = len(next(iter(inputs.values())))
    chosen = np.arange(rows) if only is None else only
    pairs = len(chosen) * sampler.draws
    size = settings.fixed_batch or batch_size(pairs, _sample_bytes(artifact, inputs), asked=settings.batch)
    session = open_session(
        artifact, settings.provider, threads=settings.threads, batch=None if settings.fixed_batch else size
    )
    state = reducer.start(rows)
    for start in range(0, pairs, size):
        pair = np.arange(start, min(start + size, pairs))
        rows_of, draws_of = chosen[pair // sampler.draws], pair % sampler.draws
        batch = sampler.batch(inputs, shapes, rows_of, draws_of, seed, first_row)
        feeds = {**batch.feeds, **{name: array[batch.rows] for name, array in extra.items()}}
        results = session.run({name: _padded(array, size) for name, array in feeds.items()}, outputs)
        done = reducer.update(state, {name: array[: len(pair)] for name, array in results.items()}, batch)
        if settings.progress:
            settings.progress(int(pair[-1]) + 1, pairs)
        if done:
            break
    return reducer.finish(state)


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
