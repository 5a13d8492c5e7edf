"""Masked samples: what is fed to a graph that masks. Samples, label maps and baselines go in once per batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xgraph.errors import MethodError
from xgraph.feeds import BITS, ROW
from xgraph.kernels import backend
from xgraph.plan import Batch, Feeds, Samples, feed_name
from xgraph.sampling.baseline import baseline, described
from xgraph.sampling.designs import Design
from xgraph.sampling.features import FeatureMap, Features, Part

Codes = Callable[[np.ndarray, np.ndarray], Feeds]
"""Returns the codes of the masks of pairs (rows, draws), by feed name."""


@dataclass(eq=False)
class Rows:
    """The samples of a call with what shows where they are masked, fed once for each row of a batch."""

    samples: Samples
    parts: tuple[Part, ...]
    baselines: tuple[Any, ...]
    """One spec per part."""
    always: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Feeds with one entry per sample row, beside the samples."""
    constant: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Feeds that have nothing to do with rows."""
    means: Callable[[int, int, bool], np.ndarray] | None = None
    """Returns the mean of every superpixel of (part, row), in whole grey levels or not."""
    _made: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)

    def batch(self, rows: np.ndarray, draws: np.ndarray, weights: np.ndarray, codes: Feeds) -> Batch:
        """Returns the feeds of pairs whose masks have these codes."""
        sources, pointed = np.unique(rows, return_inverse=True)
        feeds = {ROW: pointed.astype(np.int64), **codes}
        shared = {name: array[sources] for name, array in {**self.samples.inputs, **self.always}.items()}
        shared.update(self.constant)
        for part in range(len(self.parts)):
            made = [self._baseline(part, int(row)) for row in sources]
            shared[feed_name("baseline", part, len(self.parts))] = np.concatenate(made)
        return Batch(rows, draws, feeds, weights, sources, shared)

    def _baseline(self, part: int, row: int) -> np.ndarray:
        """Returns the baseline of a row with a first axis of size 1; made once while its row is being run."""
        if (part, row) not in self._made:
            for old in [key for key in self._made if key[1] < row]:
                del self._made[old]
            self._made[part, row] = self._make(part, row)
        return self._made[part, row]

    def _make(self, part: int, row: int) -> np.ndarray:
        own, spec, samples = self.parts[part], self.baselines[part], self.samples
        shape = samples.shapes[part]
        if isinstance(spec, np.ndarray):
            spec = samples.own(spec, shape)
        x = samples.inputs[own.wrt.name] if own.wrt.kind == "input" else None
        if isinstance(spec, str) and spec in ("segment_mean", "segment_grey"):
            if self.means is None or own.role != "image":
                raise MethodError(
                    "baseline='segment_mean' is for superpixels of pictures; use 'zero', 'mean' or 'blur'"
                )
            return self.means(part, row, spec == "segment_grey")
        if x is not None and x.dtype.kind in "iu" and own.role != "image":
            return _whole_numbers(spec, x, shape)
        one = slice(row, row + 1)
        if isinstance(spec, np.ndarray) and spec.shape == (samples.rows, *shape):
            spec = spec[one]
        made = baseline(
            spec,
            None if x is None else x[one],
            shape,
            np.zeros(1, np.int64),
            np.zeros(1, np.int64),
            samples=1,
            seed=samples.seed,
            part=part,
            channel_axis=own.channel_axis or 1,
            first_row=samples.first_row + row,
        )
        if not np.isfinite(made).all():
            raise MethodError(f"baseline={described(spec)} holds numbers that are not finite")
        if x is None or x.dtype.kind == "f":
            return made
        limits = np.iinfo(x.dtype)
        if made.min() < limits.min or made.max() > limits.max:
            raise MethodError(
                f"baseline={described(spec)} does not fit {x.dtype}, which holds {limits.min} to {limits.max}"
            )
        return np.asarray(np.rint(made), x.dtype)


@dataclass(eq=False)
class MaskedDraws:
    """Draws of masks over features."""

    rows: Rows
    design: Design
    features: Features
    counts: np.ndarray

    @property
    def samples(self) -> Samples:
        """What is explained."""
        return self.rows.samples

    def batch(self, rows: np.ndarray, draws: np.ndarray) -> Batch:
        """Returns the feeds of the pairs."""
        counts = self.features.counts[rows]
        numbers = self.samples.first_row + rows
        bits = self.design.bits(self.samples.seed, numbers, draws, counts, self.features.width)
        return self.rows.batch(rows, draws, self.design.weights(draws, counts), {BITS: bits})


@dataclass(frozen=True, slots=True, eq=False)
class MaskedFeatures:
    """Features on and off, as a design says."""

    features: FeatureMap
    design: Design
    baselines: tuple[Any, ...]
    draws: int = 0

    @property
    def in_graph(self) -> None:
        """Masks are drawn outside."""

    def open(self, samples: Samples) -> MaskedDraws:
        """Returns the draws of these samples."""
        features = self.features(samples)
        labels = {feed_name("labels", part, len(features.labels)): array for part, array in enumerate(features.labels)}

        def means(part: int, row: int, grey: bool) -> np.ndarray:
            own, name = features.labels[part][row], self.features.parts[part].wrt.name
            if not grey:
                x = samples.inputs[name]
                filled = segment_means(x[row], own, features.kept)[None]
                return filled if x.dtype.kind == "f" else filled.astype(x.dtype)
            assert samples.pictures is not None
            assert samples.feed is not None
            picture = samples.pictures(name)[row]
            flat = own.reshape(*picture.shape[:2], 1)
            return samples.feed(name, segment_means(picture, flat, features.kept).astype(np.uint8)[None])

        rows = Rows(samples, self.features.parts, self.baselines, labels, means=means)
        return MaskedDraws(rows, self.design, features, self.design.counts(features.counts))


def segment_means(x: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Returns float32 of the shape of ``x``: every entry is the mean of its feature, channel by channel.

    Args:
        x: one sample.
        labels: of the rank of ``x``, with size 1 along the axis of channels; ``count`` where entries are kept.
        count: of features.
    """
    axis = labels.shape.index(1)
    moved = np.moveaxis(x, axis, 0).astype(np.float32)
    flat, own = moved.reshape(len(moved), -1), np.moveaxis(labels, axis, 0).reshape(-1).astype(np.int32)
    sums = backend().segment_sums(np.ascontiguousarray(flat), own, count + 1)
    table = sums / np.maximum(backend().segment_sizes(own, count + 1), 1)
    return np.ascontiguousarray(np.moveaxis(table[:, own].reshape(moved.shape), 0, axis), np.float32)


def specs_for(spec: Any, parts: Sequence[Part], tokens: int | None) -> tuple[Any, ...]:
    """Returns the baseline of each part: the given one, or by default a token number for tokens, and 0 else.

    Raises:
        MethodError: A token input has no number to put where tokens are off.
    """
    found = []
    for part in parts:
        if part.role != "tokens" or spec is not None:
            found.append("zero" if spec is None else spec)
        elif tokens is None:
            raise MethodError(
                f"no token is known to put where tokens of '{part.wrt.name}' are off; give its number as "
                "baseline=ID (a mask, unknown or padding token), or lay the model's vocab.txt beside it"
            )
        else:
            found.append(tokens)
    return tuple(found)


def _whole_numbers(spec: Any, x: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Returns the baseline of tokens and other whole numbers: one number, or an array of the sample's shape."""
    if isinstance(spec, str) and spec == "zero":
        spec = 0
    array, most = np.asarray(spec), np.iinfo(x.dtype).max
    fits = array.dtype.kind in "iuf" and array.shape in ((), tuple(shape)) and (array == np.rint(array)).all()
    if not fits or (array < 0).any() or (array > most).any():
        raise MethodError(
            f"baseline={described(spec)} does not fit whole numbers such as tokens; give one, or one per position"
        )
    return np.broadcast_to(array, array.shape or [1] * len(shape)).astype(x.dtype)[None]
