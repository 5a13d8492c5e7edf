"""Target: what is explained. One meaning per constructor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from xgraph.errors import TargetError
from xgraph.of import OF, Of
from xgraph.plan import Seed


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """The number that an explanation explains: an entry (or a weighted sum of entries) of a model output.

    Build one with ``index``, ``top``, ``contrast``, ``per_row``, ``pixel``, ``region`` or ``box``. ``of`` says
    whether the ``logit``, the ``probability`` or the ``loss`` -log p is explained; ``output`` names the model
    output, by default the first one.
    """

    kind: Literal["index", "top", "contrast", "per_row", "region"]
    value: Any
    output: str | None = None
    of: Of = "logit"

    def __post_init__(self) -> None:
        if self.of not in OF:
            raise TargetError(f"of='{self.of}' is not one of {', '.join(OF)}")

    def __eq__(self, other: object) -> bool:
        """Compares what is explained; masks entry by entry."""
        return self._key() == other._key() if isinstance(other, Target) else NotImplemented

    def __hash__(self) -> int:
        """Equal targets have equal hashes."""
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        value = self.value
        if self.kind == "region":
            class_index, mask = value
            # Adding 0 makes 0 of -0, which is equal to it.
            value = (class_index, mask.shape, (mask + np.float32(0)).tobytes())
        return (self.kind, value, self.output, self.of)

    @classmethod
    def index(cls, i: int | tuple[int, ...], output: str | None = None, of: Of = "logit") -> Target:
        """Class ``i``, or the entry at a tuple of indices over all axes but the first."""
        return cls("index", _entry(i), output, of)

    @classmethod
    def top(cls, rank: int = 1, output: str | None = None, of: Of = "logit") -> Target:
        """The class that the model ranks ``rank``-th for each row; 1 is the predicted class."""
        if _whole(rank) < 1:
            raise TargetError(f"rank={rank}: ranks count from 1, the predicted class")
        return cls("top", int(rank), output, of)

    @classmethod
    def contrast(
        cls, a: int | tuple[int, ...], b: int | tuple[int, ...], output: str | None = None, of: Of = "logit"
    ) -> Target:
        """Class ``a`` minus class ``b``, or one entry minus another: why the one rather than the other."""
        return cls("contrast", (_entry(a), _entry(b)), output, of)

    @classmethod
    def per_row(cls, classes: Sequence[int], output: str | None = None, of: Of = "logit") -> Target:
        """One class for each row of the input."""
        return cls("per_row", tuple(_class(c) for c in classes), output, of)

    @classmethod
    def pixel(cls, class_index: int, y: int, x: int, output: str | None = None, of: Of = "logit") -> Target:
        """Class ``class_index`` at one pixel of a segmentation output (N, classes, height, width)."""
        return cls("index", (_class(class_index), _whole(y), _whole(x)), output, of)

    @classmethod
    def region(cls, class_index: int, mask: np.ndarray, output: str | None = None, of: Of = "logit") -> Target:
        """The sum of class ``class_index`` over a mask (height, width) of a segmentation output.

        An output (N, height, width), such as a depth map, counts as one with the single class 0.
        """
        try:
            weights = np.array(mask, np.float32)
        except (TypeError, ValueError) as error:
            raise TargetError("the mask of a region must be numbers or booleans of shape (height, width)") from error
        if weights.ndim != 2 or not np.isfinite(weights).all() or not weights.any():
            raise TargetError(
                "the mask of a region must be finite, not all 0, and of shape (height, width); "
                f"its shape is {list(weights.shape)}"
            )
        weights.setflags(write=False)
        return cls("region", (_class(class_index), weights), output, of)

    @classmethod
    def box(cls, box: int, class_index: int, output: str | None = None, of: Of = "logit") -> Target:
        """The score of ``class_index`` for box number ``box`` of a detection output (N, boxes, classes).

        Of an output (N, classes, boxes) the same entry is ``index((class_index, box))``.
        """
        return cls("index", (_whole(box), _class(class_index)), output, of)

    @classmethod
    def parse(cls, given: Any, of: Of | None = None) -> Target:
        """Returns a Target from what the API takes: None, an int, a list of ints, or a Target.

        Raises:
            TargetError: It is something else.
        """
        if isinstance(given, cls):
            return given if of is None else replace(given, of=of)
        chosen = of or "logit"
        if given is None:
            return cls.top(of=chosen)
        if isinstance(given, int | np.integer) and not isinstance(given, bool):
            return cls.index(int(given), of=chosen)
        if isinstance(given, np.ndarray) and given.ndim == 0:
            return cls.parse(given.item(), of)
        if _is_classes(given):
            return cls.per_row([int(c) for c in given], of=chosen)
        raise TargetError(
            f"target={given!r} is not understood; give a class number, one number per row, or an xgraph.Target"
        )

    @property
    def seed(self) -> Seed:
        """``index`` where one class per row is explained, ``given`` where a seed array is needed."""
        return (
            "given"
            if self.kind in ("contrast", "region") or (isinstance(self.value, tuple) and self.kind == "index")
            else "index"
        )

    def classes(self, rows: int, count: int) -> np.ndarray:
        """Returns the classes of all rows as int64[rows] for ``seed == "index"``; -1: the predicted one.

        Args:
            rows: number of samples.
            count: number of classes of the output.

        Raises:
            TargetError: A class does not exist, or there are not as many classes as rows.
        """
        if self.kind == "top":
            if self.value > count:
                raise TargetError(f"rank {self.value} does not exist: the output has {count} classes")
            return np.full(rows, -1, np.int64)
        chosen = np.asarray(self.value, np.int64).reshape(-1)
        if self.kind == "per_row" and len(chosen) != rows:
            raise TargetError(f"{len(chosen)} targets were given for {rows} rows; give one for each row")
        _check_classes(chosen, count)
        return np.broadcast_to(chosen, (rows,)).astype(np.int64)

    def seeds(self, shape: Sequence[int]) -> np.ndarray:
        """Returns the float32 seed array of ``shape`` (rows first) for ``seed == "given"``.

        Raises:
            TargetError: The output has no such entry.
        """
        seed = np.zeros(tuple(shape), np.float32)
        if self.kind == "contrast":
            for entry, sign in zip(self.value, (1, -1), strict=True):
                if seed.ndim != 2 and isinstance(entry, int):
                    raise TargetError(
                        f"a contrast of classes needs one number per class; the output has the shape {list(shape)}: "
                        "give the two entries: Target.contrast((i, j ...), (k, l ...))"
                    )
                if isinstance(entry, int):
                    _check_classes(np.asarray([entry]), shape[1])
                seed[_position(entry, shape)] += sign
        elif self.kind == "region":
            class_index, mask = self.value
            maps = seed[:, None] if seed.ndim == 3 else seed
            if maps.ndim != 4 or mask.shape != maps.shape[2:]:
                raise TargetError(
                    f"a region mask of shape {list(mask.shape)} does not fit an output of shape {list(shape)}; "
                    "it must have the output's height and width"
                )
            _check_classes(np.asarray([class_index]), maps.shape[1])
            maps[:, class_index] = mask
        else:
            position = self.value
            if not position and seed.ndim == 2:
                # An output [rows] comes as [rows, 1], so its shape is not named.
                rows, count = shape
                raise TargetError(
                    f"the output has {'one number' if count == 1 else f'{count} numbers'} for each of the {rows} rows: "
                    f"say which with Target.index(0){'' if count == 1 else f' to Target.index({count - 1})'}"
                )
            if not position:
                raise TargetError(
                    f"the output has the shape {list(shape)}, so there is no predicted class: say what to explain with "
                    "Target.index((i, j ...)), Target.pixel, Target.region or Target.box"
                )
            seed[_position(position, shape)] = 1
        return seed

    def __str__(self) -> str:
        """Returns a short text for reports and file names."""
        if self.kind == "top":
            return "predicted" if self.value == 1 else f"top {self.value}"
        if self.kind == "contrast":
            return " rather than ".join(_text(entry) for entry in self.value)
        if self.kind == "region":
            return f"class {self.value[0]} over a region"
        if self.kind == "per_row":
            return "one class per row"
        return _text(self.value)


def _text(entry: int | tuple[int, ...]) -> str:
    return str(entry) if isinstance(entry, int) else f"entry {','.join(map(str, entry))}"


def _entry(i: int | tuple[int, ...]) -> int | tuple[int, ...]:
    return tuple(_whole(j) for j in i) if isinstance(i, tuple) else _class(i)


def _position(entry: int | tuple[int, ...], shape: Sequence[int]) -> tuple[slice | int, ...]:
    """Returns where an entry is in all rows.

    Raises:
        TargetError: The output has no such entry.
    """
    position = (entry,) if isinstance(entry, int) else entry
    inside = all(0 <= i < size for i, size in zip(position, shape[1:], strict=False))
    if len(position) != len(shape) - 1 or not inside:
        raise TargetError(f"there is no entry {list(position)} in an output of shape {list(shape)}")
    return (slice(None), *position)


def _class(number: int) -> int:
    if _whole(number) < 0:
        raise TargetError(f"class {number}: classes count from 0; leave the target out for the predicted class")
    return int(number)


def _whole(number: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int | np.integer):
        raise TargetError(f"{number!r} is not a whole number; classes and positions are counted from 0")
    return int(number)


def _is_classes(given: Any) -> bool:
    if isinstance(given, np.ndarray):
        return given.ndim == 1 and given.dtype.kind in "iu"
    return isinstance(given, list | tuple) and all(
        isinstance(c, int | np.integer) and not isinstance(c, bool) for c in given
    )


def _check_classes(classes: np.ndarray, count: int) -> None:
    bad = [int(c) for c in classes if not 0 <= c < count]
    if bad:
        raise TargetError(f"target {bad[0]} does not exist: the output has {count} classes, 0 to {count - 1}")
