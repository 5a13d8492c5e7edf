"""INPUT arguments: which files they stand for, and the arrays in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from xgraph.errors import InputError
from xgraph.inputs import prepare
from xgraph.model import Model
from xgraph.preprocess import is_image, load_image


@dataclass(frozen=True, slots=True)
class Source:
    """One input file, ready for the model."""

    path: Path
    feeds: dict[str, np.ndarray]
    """Model input -> array of ``rows`` samples."""
    picture: np.ndarray | None
    """What to draw on, uint8 (h, w, 3); None for arrays."""

    @property
    def rows(self) -> int:
        """Samples in this file."""
        return len(next(iter(self.feeds.values())))


def expand(inputs: Sequence[str]) -> list[Path]:
    """Returns the files that the arguments name; a folder stands for the pictures and arrays in it.

    Raises:
        InputError: A file does not exist, or a folder holds none.
    """
    files: list[Path] = []
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.is_file() and _readable(p))
            if not inside:
                raise InputError(f"the folder {path} holds no pictures, .npy or .npz files")
            files += inside
        elif not path.is_file():
            raise InputError(f"input file {path} does not exist")
        elif not _readable(path):
            raise InputError(f"input file {path} is no picture, .npy or .npz file")
        else:
            files.append(path)
    return files


def read(model: Model, path: Path) -> Source:
    """Returns what is in one file.

    Raises:
        InputError: It cannot be read, or does not fit the model.
    """
    if is_image(path):
        picture = load_image(path)
        feeds = prepare(model, [path])
        assert model.preprocess is not None
        return Source(path, feeds, model.preprocess.view(picture))
    try:
        return Source(path, prepare(model, _arrays(path)), None)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _arrays(path: Path) -> Any:
    try:
        stored = np.load(path, allow_pickle=False)
        return stored if isinstance(stored, np.ndarray) else {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise InputError("not a readable NumPy file of plain arrays") from error


def _readable(path: Path) -> bool:
    return is_image(path) or path.suffix.lower() in (".npy", ".npz")
