"""What ``explain`` writes: pictures, raw values, a gallery, and one ``run.json``."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xgraph import __version__
from xgraph.cli.sources import Source
from xgraph.errors import XGraphError
from xgraph.files import atomic_write
from xgraph.model import Model
from xgraph.result import Attribution


class Report:
    """What one run writes into its folder: the files of each input, and ``run.json`` at the end."""

    def __init__(self, model: Model, folder: Path) -> None:
        self.entries: list[dict[str, Any]] = []
        """One per sample, as ``run.json`` has them."""
        self._model = model
        self._folder = folder
        self._methods: list[dict[str, Any]] = []
        self._versions: dict[str, str] = {}
        self._taken: set[str] = set()

    def add(self, source: Source, attributions: Sequence[Attribution]) -> None:
        """Writes the files of one input.

        Args:
            source: the input file.
            attributions: one per method, with the rows of this file.
        """
        for row in range(source.rows):
            number = source.first + row
            stem = _unique(source.path.stem if source.total == 1 else f"{source.path.stem}_{number}", self._taken)
            results = [_write_row(source, attribution.rows([row]), stem, self._folder) for attribution in attributions]
            entry: dict[str, Any] = {"input": _text(source.path), "row": number, "results": results}
            if len(attributions) > 1 and _drawable(attributions[0]):
                entry["gallery"] = _write_gallery(source, attributions, row, stem, self._folder)
            self.entries.append(entry)
        described = [_described(attribution) for attribution in attributions]
        # Under a tolerance every input takes as many samples as it needs.
        for method, before in zip(described, self._methods, strict=False):
            method["samples"] = max(method["samples"], before["samples"])
        self._methods, self._versions = described, dict(attributions[0].provenance.versions)

    def write(self) -> dict[str, Any]:
        """Writes ``run.json`` and returns its content.

        Raises:
            XGraphError: It cannot be written.
        """
        document = {
            "xgraph": __version__,
            "model": {
                "path": _text(self._model.path),
                "digest": self._model.digest,
                "source": self._model.source,
                "opset": self._model.opset,
            },
            "methods": self._methods,
            "versions": self._versions,
            "inputs": self.entries,
        }
        path = self._folder / "run.json"
        try:
            with atomic_write(path) as file:
                file.write(json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n")
        except OSError as error:
            raise XGraphError(f"{path} cannot be written: {error.strerror or error}") from error
        return document


def previews(attributions: Sequence[Attribution]) -> list[list[str]]:
    """Returns what a terminal can show, coloured tokens or bars, of each sample and method; empty for pictures."""
    from xgraph.render import terminal

    return [[terminal(attribution, row) for attribution in attributions] for row in range(len(attributions[0]))]


def _described(attribution: Attribution) -> dict[str, Any]:
    """Returns what ``run.json`` says about a method."""
    return {
        "method": attribution.method,
        "parameters": {name: _plain(value) for name, value in attribution.parameters.items()},
        "of": attribution.target.of,
        "output": attribution.target.output,
        "provider": attribution.provenance.provider,
        "seed": attribution.provenance.seed,
        "samples": attribution.provenance.samples,
    }


def _plain(value: Any) -> Any:
    """Returns a parameter as JSON data; an array by its shape, since the .npz has it whole."""
    if isinstance(value, np.ndarray):
        return {"dtype": str(value.dtype), "shape": list(value.shape)}
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return value


def _write_row(source: Source, attribution: Attribution, stem: str, folder: Path) -> dict[str, Any]:
    from xgraph.render import draw, save_png

    label = attribution.target.labels[0]
    name = f"{stem}_{attribution.method}_{_slug(label)}"
    files = [attribution.save(folder / f"{name}.npz").name]
    if _drawable(attribution):
        files.append(save_png(draw(attribution, 0, source.picture), folder / f"{name}.png").name)
    classes = attribution.target.classes
    return {
        "method": attribution.method,
        "label": label,
        "class": None if classes is None else int(classes[0]),
        "score": float(attribution.scores[0]),
        # JSON has no NaN, which stands for a check that is not defined for a row.
        "checks": {key: None if math.isnan(value[0]) else float(value[0]) for key, value in attribution.checks.items()},
        "files": files,
    }


def _write_gallery(source: Source, attributions: Sequence[Attribution], row: int, stem: str, folder: Path) -> str:
    from xgraph.render import gallery, save_png

    return save_png(gallery(attributions, row, source.picture), folder / f"{stem}_gallery.png").name


def _unique(stem: str, taken: set[str]) -> str:
    """Inputs of one name lie in different folders; on some systems files that differ in case are one."""
    candidate, number = stem, 1
    while candidate.lower() in taken:
        number += 1
        candidate = f"{stem}-{number}"
    taken.add(candidate.lower())
    return candidate


def _text(path: Path) -> str:
    """File names are bytes, and not all of them are text."""
    return os.fsencode(path).decode(errors="replace")


def _drawable(attribution: Attribution) -> bool:
    """Maps and vectors have a picture; whatever else is raw values only."""
    return all(1 < np.ndim(value) <= 4 for value in attribution.values.values())


def _slug(label: str) -> str:
    return re.sub(r"[^\w.-]+", "-", label).strip("-")[:60] or "target"
