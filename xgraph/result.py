"""What an explanation returns: raw arrays with all that is needed to read, check, store and redo them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xgraph.errors import InputError
from xgraph.files import atomic_write

if TYPE_CHECKING:
    from PIL.Image import Image

Array = NDArray[Any]
PathLike = str | os.PathLike[str]
Kind: TypeAlias = Literal["sensitivity", "attribution", "cam"]
"""How maps are meant to be read, and hence drawn, as in ExplainableAI.jl: a *sensitivity* (a gradient; its sign says
little about importance), an *attribution* (signed parts of a score; zero means nothing), a *cam* (a coarse map of
amounts)."""

_FORMAT = "xgraph.attribution"
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResolvedTarget:
    """What was explained in each row, after the model was asked where the target left it the choice."""

    kind: str
    """How it was asked for: ``index``, ``top``, ``contrast``, ``per_row``, ``region`` ..."""
    labels: tuple[str, ...]
    """One text per row: the class name where names are known, else the class number or a description."""
    classes: Array | None = None
    """int64[N], or None where the target is not one class per row."""
    of: str = "logit"
    """``logit``, ``probability`` or ``loss``."""
    output: str = ""
    """Name of the model output."""

    def __post_init__(self) -> None:
        _set(self, "labels", tuple(map(str, self.labels)))
        if self.classes is not None:
            classes = _column("target.classes", self.classes, np.int64)
            if len(classes) != len(self.labels):
                raise InputError(f"target: {len(classes)} classes for {len(self.labels)} labels; give one per row")
            _set(self, "classes", classes)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Provenance:
    """What the numbers were computed with, enough to compute them again."""

    model_digest: str
    """Digest of the model file, as ``Model.digest`` gives it."""
    opset: int
    """ONNX opset of the explained graph."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Version by distribution name: xgraph, onnxruntime, numpy ..."""
    provider: str = ""
    """The execution provider that ran the graphs."""
    seed: int | None = None
    """Seed of the random draws; None for a method that draws nothing."""
    samples: int = 1
    """Model evaluations per row: steps, masks, perturbations."""

    def __post_init__(self) -> None:
        versions = {str(name): str(version) for name, version in self.versions.items()}
        _set(self, "versions", MappingProxyType(versions))

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _rebuild, (Provenance, _fields(self))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attribution:
    """An explanation of N rows. Immutable: arrays are private read-only copies.

    ``len`` is N, indexing and iteration give single-row attributions, ``rows`` any selection.

    Raises:
        InputError: arrays disagree about N, or a value or score is not finite; the message names the entry.
    """

    values: Mapping[str, Array]
    """Raw float32 arrays by the name of what is explained: ``image``, ``layer4.1``, ``ids``; first axis N."""
    target: ResolvedTarget
    """What was explained."""
    scores: Array
    """float32[N]: the explained score of each row."""
    checks: Mapping[str, Array] = field(default_factory=dict)
    """float32[N] by name: completeness gap, R^2 ...; NaN where a check is not defined for a row."""
    method: str = ""
    """Name of the method."""
    kind: Kind = "attribution"
    """How ``values`` are to be read."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The method's parameters, defaults included: numbers, texts, arrays, sequences and mappings of them."""
    provenance: Provenance
    """What it was computed with."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What is known beyond maps: ``probability`` of the class (float32[N], where the model's head defines one),
    ``token_ids``, ``steps`` under a tolerance ... Arrays and sequences hold one entry per row (segments, tokens);
    what all rows share is a number, a text or a mapping: ``{"grid": {"height": 7, "width": 7}}``."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError(f"kind '{self.kind}' is not one of {', '.join(get_args(Kind))}")
        scores = _column("scores", self.scores, np.float32)
        count = len(scores)
        _finite("scores", scores)
        if not self.values:
            raise InputError("an attribution needs at least one array in values")
        values = {str(name): _copy(f"values['{name}']", value, np.float32) for name, value in self.values.items()}
        checks = {name: _column(f"checks['{name}']", check, np.float32) for name, check in self.checks.items()}
        for name, value in values.items():
            _counted(f"values['{name}']", value.shape[0] if value.ndim else None, count)
            _finite(f"values['{name}']", value)
        for name, check in checks.items():
            _counted(f"checks['{name}']", len(check), count)
        _counted("target", len(self.target), count)
        details = _freeze("details", self.details)
        for name, detail in details.items():
            if isinstance(detail, tuple):
                _counted(f"details['{name}']", len(detail), count)
            elif isinstance(detail, np.ndarray):
                _counted(f"details['{name}']", detail.shape[0] if detail.ndim else None, count)
        _set(self, "scores", scores)
        _set(self, "values", MappingProxyType(values))
        _set(self, "checks", MappingProxyType(checks))
        _set(self, "parameters", _freeze("parameters", self.parameters))
        _set(self, "details", details)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, row: int) -> Attribution:
        count = len(self)
        if not -count <= row < count:
            raise IndexError(f"row {row} of {count}")
        return self.rows([row])

    def __iter__(self) -> Iterator[Attribution]:
        return (self[row] for row in range(len(self)))

    def rows(self, which: slice | Sequence[int] | Array) -> Attribution:
        """Returns the attribution of some rows, in the given order.

        Raises:
            InputError: a row that does not exist.
        """
        try:
            index = np.arange(len(self))[which if isinstance(which, slice) else np.asarray(which, dtype=np.int64)]
        except IndexError as error:
            raise InputError(f"rows {which}: there are {len(self)} rows") from error

        def pick(entry: Any) -> Any:
            if isinstance(entry, np.ndarray):
                return entry[index]
            return tuple(entry[i] for i in index) if isinstance(entry, tuple) else entry

        target = ResolvedTarget(**{name: pick(value) for name, value in _fields(self.target).items()})
        return Attribution(
            values={name: value[index] for name, value in self.values.items()},
            target=target,
            scores=self.scores[index],
            checks={name: check[index] for name, check in self.checks.items()},
            method=self.method,
            kind=self.kind,
            parameters=self.parameters,
            provenance=self.provenance,
            details={name: pick(detail) for name, detail in self.details.items()},
        )

    def save(self, path: PathLike) -> Path:
        """Writes one ``.npz``: the arrays, and the rest as JSON in the entry ``header``. Returns the path.

        NumPy alone reads it: ``numpy.load(path)["values/image"]``. The file appears whole or not at all.

        Raises:
            InputError: the file cannot be written.
        """
        arrays: list[Array] = []
        header = {
            "format": _FORMAT,
            "version": _VERSION,
            "method": self.method,
            "kind": self.kind,
            "values": list(self.values),
            "checks": list(self.checks),
            "target": {name: v for name, v in _fields(self.target).items() if name != "classes"},
            "provenance": _encode(_fields(self.provenance), arrays),
            "parameters": _encode(self.parameters, arrays),
            "details": _encode(self.details, arrays),
        }
        entries: dict[str, Array] = {
            "header": np.frombuffer(json.dumps(header, ensure_ascii=False).encode(), dtype=np.uint8),
            "scores": self.scores,
            **{f"values/{name}": value for name, value in self.values.items()},
            **{f"checks/{name}": check for name, check in self.checks.items()},
            **{f"arrays/{i}": array for i, array in enumerate(arrays)},
        }
        if self.target.classes is not None:
            entries["classes"] = self.target.classes
        try:
            with atomic_write(path) as file:
                np.savez(file, **entries)  # type: ignore[arg-type]
        except OSError as error:
            raise InputError(f"{path}: cannot write it ({error.strerror or error})") from error
        return Path(path)

    @classmethod
    def load(cls, path: PathLike) -> Attribution:
        """Reads what ``save`` wrote. Nothing in the file is executed (no pickle).

        Raises:
            InputError: the file is missing, damaged, or not an attribution.
        """
        try:
            # Opened here, because numpy leaves a damaged file open.
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as stored:
                entries = {name: stored[name] for name in stored.files}
            header = json.loads(entries["header"].tobytes())
            if header["format"] != _FORMAT:
                raise KeyError("header")
        except FileNotFoundError as error:
            raise InputError(f"{path}: no such file") from error
        except (OSError, BadZipFile, ValueError, EOFError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: not an attribution that xgraph saved, or damaged") from error
        if header["version"] != _VERSION:
            raise InputError(
                f"{path}: attribution format {header['version']}, but {_VERSION} is read here; explain again"
            )
        try:
            decoded = {
                name: _decode(header[name], entries) for name in ("target", "provenance", "parameters", "details")
            }
            return cls(
                values={name: entries[f"values/{name}"] for name in header["values"]},
                target=ResolvedTarget(**decoded["target"], classes=entries.get("classes")),
                scores=entries["scores"],
                checks={name: entries[f"checks/{name}"] for name in header["checks"]},
                method=header["method"],
                kind=header.get("kind", "attribution"),  # files of earlier builds have none
                parameters=decoded["parameters"],
                provenance=Provenance(**decoded["provenance"]),
                details=decoded["details"],
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}: the attribution's header does not fit its arrays; it is damaged") from error

    def plot(
        self,
        path: PathLike | None = None,
        *,
        image: Array | None = None,
        row: int = 0,
        name: str | None = None,
        style: str | None = None,
        beside: bool | None = None,
    ) -> Image:
        """Returns a picture of one row, and writes it as PNG where a path is given.

        Args:
            path: where to write it.
            image: uint8 (h, w, 3), the picture that the model saw (``Preprocess.view``), to draw on.
            row: which row.
            name: which entry of ``values``; by default the first.
            style: draw it like a ``sensitivity``, ``attribution`` or ``cam``; by default as what it is.
            beside: show the bare image on the left; by default only where the style does not draw over it.

        Raises:
            InputError: no such row, name or style, or an image of another shape or dtype.
        """
        from xgraph import render

        picture = render.draw(self, row, image, name, style=style, beside=beside)
        if path is not None:
            render.save_png(picture, path)
        return picture

    def _repr_html_(self) -> str:
        from xgraph import render

        return render.html(self)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}: {list(value.shape)}" for name, value in self.values.items())
        return f"Attribution({self.method}, {len(self)} rows, {shapes})"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _rebuild, (Attribution, {name: _thaw(value) for name, value in _fields(self).items()})


def _rebuild(kind: type[Any], arguments: dict[str, Any]) -> Any:
    """Unpickles and copies: read-only mappings cannot be pickled themselves."""
    return kind(**arguments)


def _set(instance: object, name: str, value: object) -> None:
    object.__setattr__(instance, name, value)


def _fields(instance: Any) -> dict[str, Any]:
    found = {entry.name: getattr(instance, entry.name) for entry in fields(instance)}
    return {name: dict(v) if isinstance(v, MappingProxyType) else v for name, v in found.items()}


def _copy(name: str, value: ArrayLike, dtype: type[np.generic]) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} holds {array.dtype}, not numbers")
    with np.errstate(over="ignore"):  # too large for float32 becomes inf, which _finite reports by name
        array = np.array(array, dtype=dtype, order="C")
    array.flags.writeable = False
    return array


def _column(name: str, value: ArrayLike, dtype: type[np.generic]) -> Array:
    array = _copy(name, value, dtype)
    if array.ndim != 1:
        raise InputError(f"{name} has the shape {array.shape}; it must be one number per row")
    return array


def _counted(name: str, found: int | None, count: int) -> None:
    if found != count:
        has = "no rows" if found is None else f"{found} rows"
        raise InputError(f"{name} has {has}, but there are {count} scores; give one entry per row")


def _finite(name: str, array: Array) -> None:
    bad = int(array.size - np.count_nonzero(np.isfinite(array)))
    if bad:
        raise InputError(
            f"{name}: {bad} of {array.size} numbers are not finite; look for overflow in the model, or a bad input"
        )


def _freeze(name: str, value: Any) -> Any:
    """Returns an immutable copy made of mappings, tuples, read-only arrays and plain values."""
    if isinstance(value, Mapping):
        return MappingProxyType({str(key): _freeze(f"{name}['{key}']", entry) for key, entry in value.items()})
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise InputError(f"{name} is an array of Python objects; use a list")
        array = value.copy()
        array.flags.writeable = False
        return array
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return tuple(_freeze(f"{name}[{i}]", entry) for i, entry in enumerate(value))
    if value is None or isinstance(value, str | int | float):
        return value
    raise InputError(f"{name} is of type {type(value).__name__}; use numbers, texts, arrays, lists and mappings")


def _thaw(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _thaw(entry) for key, entry in value.items()}
    return tuple(map(_thaw, value)) if isinstance(value, tuple) else value


def _encode(value: Any, arrays: list[Array]) -> Any:
    """Returns JSON data in which arrays are references into ``arrays``."""
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"__array__": len(arrays) - 1}
    if isinstance(value, Mapping):
        return {key: _encode(entry, arrays) for key, entry in value.items()}
    return [_encode(entry, arrays) for entry in value] if isinstance(value, tuple) else value


def _decode(value: Any, entries: Mapping[str, Array]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"__array__"}:
            return entries[f"arrays/{value['__array__']}"]
        return {key: _decode(entry, entries) for key, entry in value.items()}
    return [_decode(entry, entries) for entry in value] if isinstance(value, list) else value
