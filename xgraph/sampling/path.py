"""Straight paths from a baseline to the sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xgraph.errors import MethodError
from xgraph.plan import ALPHA, Batch, Feeds, Samples, Shapes, Wrt, feed_name
from xgraph.sampling.baseline import baseline, described, misfit
from xgraph.sampling.drawn import Drawn
from xgraph.sampling.noise import noise_feeds
from xgraph.sampling.philox import uniforms


@dataclass(frozen=True, slots=True, eq=False)
class StraightPath:
    """Draw d of a row is node ``d mod steps`` of the path from baseline ``d // steps``."""

    at: tuple[Wrt, ...]
    baselines: tuple[Any, ...]
    nodes: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)
    channels: tuple[int, ...] = ()
    """The channel axis of each perturbed value; empty: 1 for all."""

    @property
    def draws(self) -> int:
        """Nodes of all paths."""
        return len(self.nodes) * len(self.baselines)

    @property
    def in_graph(self) -> StraightPath:
        """The path itself: a graph can hold its nodes and, where they are fixed, its baselines."""
        return self

    @property
    def positions(self) -> np.ndarray:
        """The node of every draw, float32."""
        return np.tile(self.nodes, len(self.baselines)).astype(np.float32)

    @property
    def draw_weights(self) -> np.ndarray:
        """The weight of every draw; they sum to 1."""
        return np.tile(self.weights, len(self.baselines)) / len(self.baselines)

    def fixed_baselines(self, shape: Sequence[int | str | None]) -> np.ndarray:
        """Returns the baseline of every draw as ``(draws, 1, ...)``, for values of ``shape`` with the batch axis.

        Raises:
            MethodError: A baseline is made from samples, or drawn, or does not fit.
        """
        rank, tables = len(shape), []
        for spec in self.baselines:
            array = np.asarray(0.0 if isinstance(spec, str) and spec == "zero" else spec)
            several = array.ndim == rank and len(array) > 1
            if array.dtype.kind not in "fiu" or several:
                raise MethodError(
                    f"baseline={described(spec)} is made outside the graph, so the method is no single ONNX file; use "
                    "a number or an array of one sample, or compile a bundle (-o NAME.xgraph)"
                )
            wanted = zip(reversed(array.shape), reversed(shape[1:]), strict=False)
            if array.ndim not in (0, rank - 1, rank) or any(
                isinstance(size, int) and size != have for have, size in wanted
            ):
                raise misfit(array, shape[1:])
            tables.append(array.astype(np.float32).reshape(1, *(array.shape[-(rank - 1) :] or [1] * (rank - 1))))
        return np.repeat(np.stack(np.broadcast_arrays(*tables)), len(self.nodes), axis=0)

    def open(self, samples: Samples) -> Drawn:
        """Returns the draws of these samples."""
        return Drawn(self, samples)

    def batch(
        self, inputs: Feeds, shapes: Shapes, rows: np.ndarray, draws: np.ndarray, seed: int, first_row: int = 0
    ) -> Batch:
        """Returns the samples, positions on the path, and baselines."""
        steps = len(self.nodes)
        feeds = {name: array[rows] for name, array in inputs.items()}
        feeds[ALPHA] = self.nodes[draws % steps].astype(np.float32)
        feeds.update(_baselines(self, draws // steps, draws // steps, inputs, shapes, rows, seed, first_row))
        return Batch(rows, draws, feeds, self.weights[draws % steps] / len(self.baselines))


@dataclass(frozen=True, slots=True, eq=False)
class RandomPath:
    """Each draw is one random point between a random baseline and the noisy sample (Gradient SHAP)."""

    draws: int
    at: tuple[Wrt, ...]
    baselines: tuple[Any, ...]
    level: float
    channels: tuple[int, ...] = ()
    """The channel axis of each perturbed value; empty: 1 for all."""
    shared: bool = False
    """The noise is one number for all entries of a sample."""

    @property
    def in_graph(self) -> None:
        """Points are drawn outside."""

    def open(self, samples: Samples) -> Drawn:
        """Returns the draws of these samples."""
        return Drawn(self, samples)

    def batch(
        self, inputs: Feeds, shapes: Shapes, rows: np.ndarray, draws: np.ndarray, seed: int, first_row: int = 0
    ) -> Batch:
        """Returns the samples, noise, positions on the path, and baselines."""
        feeds = {name: array[rows] for name, array in inputs.items()}
        feeds.update(noise_feeds(self.level, seed, first_row + rows, draws, shapes, shared=self.shared))
        feeds[ALPHA] = uniforms("alpha", seed, first_row + rows, draws)
        feeds.update(self.drawn_baselines(inputs, shapes, rows, draws, seed, first_row))
        return Batch(rows, draws, feeds, np.full(len(rows), 1.0 / self.draws))

    def drawn_baselines(
        self, inputs: Feeds, shapes: Shapes, rows: np.ndarray, draws: np.ndarray, seed: int, first_row: int = 0
    ) -> dict[str, np.ndarray]:
        """Returns the baselines of the pairs: one of ``baselines`` is drawn for each, and so are random ones."""
        which = (uniforms("choice", seed, first_row + rows, draws) * len(self.baselines)).astype(np.int64)
        return _baselines(self, which, draws, inputs, shapes, rows, seed, first_row)


@dataclass(frozen=True, slots=True, eq=False)
class RandomStart:
    """Where the draws of a RandomPath begin: the same baselines, and no step away from them."""

    path: RandomPath

    @property
    def draws(self) -> int:
        """Those of the path."""
        return self.path.draws

    @property
    def in_graph(self) -> None:
        """Points are drawn outside."""

    def open(self, samples: Samples) -> Drawn:
        """Returns the draws of these samples."""
        return Drawn(self, samples)

    def batch(
        self, inputs: Feeds, shapes: Shapes, rows: np.ndarray, draws: np.ndarray, seed: int, first_row: int = 0
    ) -> Batch:
        """Returns the samples, positions of 0, and the path's baselines."""
        feeds = {name: array[rows] for name, array in inputs.items()}
        feeds[ALPHA] = np.zeros(len(rows), np.float32)
        feeds.update(self.path.drawn_baselines(inputs, shapes, rows, draws, seed, first_row))
        return Batch(rows, draws, feeds, np.full(len(rows), 1.0 / self.draws))


def _baselines(
    path: StraightPath | RandomPath,
    which: np.ndarray,
    draws: np.ndarray,
    inputs: Feeds,
    shapes: Shapes,
    rows: np.ndarray,
    seed: int,
    first_row: int,
) -> dict[str, np.ndarray]:
    """Returns one baseline array per perturbed value; pair i begins at baseline ``which[i]``, drawn as ``draws[i]``."""
    samples = len(next(iter(inputs.values())))
    feeds = {}
    for part, (wrt, shape) in enumerate(zip(path.at, shapes, strict=True)):
        x = inputs[wrt.name] if wrt.kind == "input" else None
        axis = path.channels[part] if path.channels else 1
        groups = [np.flatnonzero(which == number) for number in range(len(path.baselines))]
        made = [
            baseline(
                spec,
                x,
                shape,
                rows[group],
                draws[group],
                samples=samples,
                seed=seed,
                part=part,
                channel_axis=axis,
                first_row=first_row,
            )
            for spec, group in zip(path.baselines, groups, strict=True)
        ]
        chosen = np.empty((len(rows), *np.broadcast_shapes(*(array.shape[1:] for array in made))), np.float32)
        for group, array in zip(groups, made, strict=True):
            chosen[group] = array
        feeds[feed_name("baseline", part, len(path.at))] = chosen
    return feeds
