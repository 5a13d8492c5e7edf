"""What an exporter is, and what it hands over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class Check:
    """The source model's own answer on seeded feeds, to compare the ONNX graph with."""

    feeds: Mapping[str, np.ndarray]
    """One array per model input, by the name the ONNX input has."""
    outputs: tuple[np.ndarray, ...]
    """What the source framework computed from them, in the order of the ONNX outputs."""


@dataclass(frozen=True, slots=True)
class Exported:
    """An ONNX file, and what only the source model knew."""

    path: Path
    """The ONNX file. For an ONNX source it is the source itself, otherwise a file below ``out``."""
    source: str
    """``"onnx"``, ``"paddle"`` (PIR, ``.json``) or ``"paddle-legacy"`` (``.pdmodel``)."""
    files: tuple[Path, ...]
    """Every source file that the model consists of: their bytes make its digest."""
    inputs: tuple[str, ...] = ()
    """Input names in the order of the source model; empty: the order of the ONNX file."""
    scopes: Mapping[str, str] = field(default_factory=dict)
    """ONNX value name -> layer path of the source framework, where it could be recovered.

    Several values may have one path; the last of them in graph order is the layer's output.
    """
    check: Check | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of what took part in the conversion."""


class Exporter(Protocol):
    """One model format."""

    def recognises(self, path: Path) -> bool:
        """Tells whether the existing file ``path`` is a model file of this format.

        Goes by the suffix and a few bytes at most: a folder's ``.json`` files may be anything.
        """

    def files(self, path: Path) -> tuple[Path, ...] | None:
        """Returns the files of the model at ``path``, or None when the path is not of this format.

        Raises:
            ExportError: The path is of this format, but a file is missing.
        """

    def export(self, files: tuple[Path, ...], out: Path, *, verify: bool = True) -> Exported:
        """Writes the model as ONNX below the folder ``out``.

        Raises:
            ExportError: The file is damaged, the converter failed, or the framework is not installed.
        """
