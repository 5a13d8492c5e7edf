"""Features: what is switched on and off together. A label map numbers them over the entries of what is masked.

A label of -1 marks entries that are never switched off: special tokens, padding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from xgraph.errors import InputError, MethodError
from xgraph.plan import Samples, Wrt
from xgraph.sampling.superpixels import check_segments, superpixels

_PIECES = 64
"""Most pieces that a signal is cut into."""


@dataclass(frozen=True, slots=True)
class Part:
    """One value that is masked."""

    wrt: Wrt
    role: str
    """Of the input: ``image``, ``tokens``, ``features``, ``signal`` or ``data``."""
    channel_axis: int | None = None
    """Of an image, counted with the batch axis."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """The features of every sample row, over all parts."""

    labels: tuple[np.ndarray, ...]
    """Per part int32 (rows, ...), of the rank of what is masked; axes of size 1 are shared. Kept entries have the
    number ``kept``."""
    counts: np.ndarray
    """int64[rows]: features 0 to count - 1 exist."""
    shapes: tuple[tuple[int, ...], ...]
    """Of each part, without the axis of rows."""
    channels: int | None = None
    """The axis of the only part along which labels are shared, the axis of rows counted; None: there is none."""

    @property
    def kept(self) -> int:
        """The number of what is never switched off."""
        return int(self.counts.max(initial=0))

    @property
    def width(self) -> int:
        """Bytes that hold a bit for every feature, and one that is always on."""
        return self.kept // 8 + 1

    def paint(self, numbers: list[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Returns per part float32 (rows, *shape): at every entry its feature's number, 0 where entries are kept.

        Args:
            numbers: per row, one for each of its features.
        """
        painted = []
        for labels, shape in zip(self.labels, self.shapes, strict=True):
            values = np.empty((len(labels), *shape), np.float32)
            for row, own in enumerate(numbers):
                table = np.zeros(self.kept + 1, np.float32)
                table[: len(own)] = own
                values[row] = table[labels[row]]
            painted.append(values)
        return tuple(painted)

    def maps(self) -> np.ndarray | None:
        """Returns the label maps of the only part, int32 (rows, ...) without channels; None for several parts."""
        if len(self.labels) != 1:
            return None
        labels = self.labels[0]
        squeezed = labels if self.channels is None else labels.squeeze(self.channels)
        return np.where(squeezed == self.kept, -1, squeezed).astype(np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMap:
    """How the features of samples are found."""

    parts: tuple[Part, ...]
    segments: Any = None
    """A way to cut pictures (``superpixels``), a label map for all rows or one per row, or a function that returns one
    for a picture (h, w, 3) or for token numbers; None: by the role of the input."""
    special: tuple[int, ...] = ()
    """Token numbers that are never switched off."""
    padding: str | None = None
    """Name of the input that is 0 where tokens are padding."""
    words: Callable[[np.ndarray], np.ndarray] | None = None
    """Numbers the words of a row of tokens, -1 for special ones; None: every token is a feature of its own."""
    default: str = "slic"
    """How pictures are cut unless the caller says."""

    def __call__(self, samples: Samples) -> Features:
        """Returns the features of every row.

        Raises:
            MethodError: The segments do not fit.
            InputError: A sample has no feature that could be switched off.
        """
        if self.segments is not None and len(self.parts) > 1:
            raise MethodError(
                f"segments={_shown(self.segments)} are of one input, but {len(self.parts)} are explained; choose one "
                "with wrt='input:NAME'"
            )
        found = [self._labels(part, shape, samples) for part, shape in zip(self.parts, samples.shapes, strict=True)]
        counts = np.zeros(samples.rows, np.int64)
        numbered = []
        for labels in found:
            shifted = labels + counts.reshape(-1, *[1] * (labels.ndim - 1))
            numbered.append(np.where(labels < 0, -1, shifted))
            counts = counts + np.maximum(labels.reshape(len(labels), -1).max(axis=1) + 1, 0)
        if (counts == 0).any():
            raise InputError(
                f"sample {int(np.flatnonzero(counts == 0)[0])} has no feature to switch off: everything in it is "
                "padding or a special token"
            )
        kept = int(counts.max())
        return Features(
            tuple(np.where(labels < 0, kept, labels).astype(np.int32) for labels in numbered),
            counts,
            tuple(tuple(shape) for shape in samples.shapes),
            self.parts[0].channel_axis if len(self.parts) == 1 else None,
        )

    def _labels(self, part: Part, shape: tuple[int, ...], samples: Samples) -> np.ndarray:
        """Returns int labels (rows, ...) of the rank of the part's values, -1 where entries are kept."""
        rows = samples.rows
        if part.role == "image":
            return self._of_pictures(part, shape, samples)
        if part.role == "tokens":
            return self._of_tokens(part, samples)
        if isinstance(self.segments, np.ndarray):
            given = self.segments
            sizes = shape if given.shape in (shape, (rows, *shape)) else shape[-1:]
            if sizes == shape and given.shape == shape == (rows, *shape[-1:]):
                raise MethodError(
                    f"segments of shape {list(given.shape)} may be one map of {list(shape)} or {list(shape[-1:])} "
                    f"for each of the {rows} samples; give one for each, {[rows, *shape]}"
                )
            labels = _without_gaps(check_segments(given, sizes, rows).astype(np.int64))
            return labels.reshape(rows, *[1] * (len(shape) - len(sizes)), *sizes)
        if self.segments is not None:
            raise MethodError(
                f"segments={_shown(self.segments)}: the input '{part.wrt.name}' is no picture; give a label map of "
                f"shape {list(shape)}, or leave segments out"
            )
        if part.role == "signal" and len(shape) == 2:
            pieces = np.arange(shape[1]) * min(_PIECES, shape[1]) // shape[1]
            return np.broadcast_to(pieces, (rows, 1, shape[1]))
        return np.broadcast_to(np.arange(int(np.prod(shape))).reshape(shape), (rows, *shape))

    def _of_pictures(self, part: Part, shape: tuple[int, ...], samples: Samples) -> np.ndarray:
        axis = (part.channel_axis or 1) - 1
        sizes = tuple(size for i, size in enumerate(shape) if i != axis)
        if isinstance(self.segments, np.ndarray):
            labels = _without_gaps(check_segments(self.segments, sizes, samples.rows).astype(np.int64))
        else:
            if samples.pictures is None:
                raise MethodError(f"'{part.wrt.name}' cannot be shown as pictures; give segments as a label map")
            pictures = samples.pictures(part.wrt.name)
            labels = np.stack([self._cut(picture, sizes) for picture in pictures])
        return np.expand_dims(labels, axis + 1)

    def _cut(self, picture: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
        if not callable(self.segments):
            return superpixels(picture, self.segments or self.default)
        labels = check_segments(np.asarray(self.segments(picture)), sizes, 1).astype(np.int64)
        return np.asarray(_without_gaps(labels)[0])

    def _of_tokens(self, part: Part, samples: Samples) -> np.ndarray:
        ids = samples.inputs[part.wrt.name]
        if isinstance(self.segments, np.ndarray):
            labels = check_segments(self.segments, ids.shape[1:], samples.rows).astype(np.int64)
        elif callable(self.segments) or self.words is not None:
            number = self.segments if callable(self.segments) else self.words
            assert number is not None
            labels = np.stack([np.asarray(number(row), np.int64) for row in ids])
        elif self.segments is None:
            labels = np.broadcast_to(np.arange(ids.shape[1]), ids.shape).copy()
        else:
            raise MethodError(f"segments={_shown(self.segments)}: tokens are no picture; leave segments out")
        kept = np.isin(ids, self.special)
        if self.padding is not None:
            kept |= samples.inputs[self.padding].reshape(ids.shape) == 0
        return _without_gaps(np.where(kept, -1, labels))


def _without_gaps(labels: np.ndarray) -> np.ndarray:
    """Numbers the features of each row 0, 1, 2 ... in their order; -1 stays."""
    dense = np.full_like(labels, -1)
    for row, own in enumerate(labels):
        on = own >= 0
        dense[row][on] = np.unique(own[on], return_inverse=True)[1]
    return dense


def _shown(segments: Any) -> str:
    return f"an array of shape {list(segments.shape)}" if isinstance(segments, np.ndarray) else repr(segments)
