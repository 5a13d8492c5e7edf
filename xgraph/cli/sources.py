"""INPUT arguments: which files they stand for, and the arrays in them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from xgraph.errors import InputError
from xgraph.inputs import prepare
from xgraph.model import Model
from xgraph.preprocess import is_image, load_image

_MAPPED = 1 << 26
"""Array files above this size are mapped, not read: samples are taken from them group by group."""


@dataclass(frozen=True, slots=True)
class Source:
    """Some samples of one input file, ready for the model."""

    path: Path
    feeds: dict[str, np.ndarray]
    """Model input -> array of ``rows`` samples."""
    picture: np.ndarray | None = None
    """What to draw on, uint8 (h, w, 3); None for arrays."""
    first: int = 0
    """Which sample of the file the first one is."""
    total: int = 1
    """Samples in the file."""

    @property
    def rows(self) -> int:
        """Samples held here."""
        return len(next(iter(self.feeds.values())))


def expand(inputs: Sequence[str]) -> list[Path]:
    """Returns the files that the arguments name.

    A folder stands for the pictures in it, or where there is none, for its ``.npy`` and ``.npz`` files: beside
    pictures, those are masks and results of earlier runs.

    Raises:
        InputError: A file does not exist, or a folder holds none.
    """
    files: list[Path] = []
    for text in inputs:
        path = Path(text)
        try:
            files += _files(path)
        except OSError as error:
            raise InputError(f"input {path} cannot be read: {error.strerror or error}") from error
    return files


def read(model: Model, path: Path, most: int) -> Iterator[Source]:
    """Yields what is in one file, at most so many samples at once.

    Raises:
        InputError: It cannot be read, or does not fit the model.
    """
    if is_image(path):
        picture = load_image(path)
        feeds = prepare(model, [path])
        assert model.preprocess is not None
        yield Source(path, feeds, model.preprocess.view(picture))
        return
    try:
        arrays = _arrays(model, path)
        total = _samples(model, arrays)
        for first in range(0, total, most):
            chunk = arrays if total <= most else {name: array[first : first + most] for name, array in arrays.items()}
            yield Source(path, prepare(model, chunk), first=first, total=total)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def count(model: Model, files: Sequence[Path]) -> int:
    """Returns how many samples the files hold in all.

    Raises:
        InputError: A file cannot be read.
    """
    return sum(1 if is_image(path) else _samples(model, _arrays(model, path)) for path in files)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        inside = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
        chosen = [p for p in inside if is_image(p)] or [p for p in inside if _is_array(p)]
        if not chosen:
            raise InputError(f"the folder {path} holds no pictures, .npy or .npz files")
        return chosen
    if not path.is_file():
        raise InputError(f"input file {path} does not exist")
    if not is_image(path) and not _is_array(path):
        raise InputError(f"input file {path} is no picture, .npy or .npz file")
    return [path]


def _arrays(model: Model, path: Path) -> Mapping[str, np.ndarray]:
    try:
        # Opened here, because NumPy leaves a damaged file open.
        with path.open("rb") as file:
            if path.suffix.lower() == ".npz":
                with np.load(file, allow_pickle=False) as stored:
                    return {name: stored[name] for name in stored.files}
            large = path.stat().st_size > _MAPPED
            array = np.load(path, mmap_mode="r") if large else np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error, NotImplementedError) as error:
        raise InputError(f"not a readable NumPy file of plain arrays ({path.suffix.lower()})") from error
    if len(model.inputs) > 1:
        names = ", ".join(f"'{port.name}'" for port in model.inputs)
        raise InputError(f"one array for a model with the inputs {names}; give an .npz with an array for each")
    return {model.inputs[0].name: array}


def _samples(model: Model, arrays: Mapping[str, np.ndarray]) -> int:
    """Returns the number of samples; 1 where the arrays do not fit, which ``prepare`` then explains."""
    ranks = {port.name: len(port.shape) for port in model.inputs}
    fit = all(array.ndim > 0 and array.ndim == ranks.get(name) for name, array in arrays.items())
    counts = {len(array) for array in arrays.values()} if fit else set()
    return max(counts.pop(), 1) if len(counts) == 1 else 1


def _is_array(path: Path) -> bool:
    return path.suffix.lower() in (".npy", ".npz")
