"""Model formats, and how a path on disk becomes one model.

A path may be the model file itself, its ``.pdiparams``, the prefix both share (``deploy/inference``) or a
folder that holds exactly one model. Where a prefix or a folder has both ``.json`` and ``.pdmodel`` of one
name, the ``.json`` is read: they share one ``.pdiparams``, and it is the one that carries layer names.
Naming the ``.pdmodel`` itself reads that.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import cast

from xgraph.errors import ExportError
from xgraph.exporters.base import Check, Exported, Exporter

__all__ = ["FORMATS", "Check", "Exported", "Exporter", "find"]

FORMATS: dict[str, str] = {
    ".onnx": "xgraph.exporters.onnx:ONNX",
    ".json": "xgraph.exporters.paddle:PADDLE",
    ".pdmodel": "xgraph.exporters.paddle:PADDLE_LEGACY",
}
"""Suffix of a model file -> its exporter, imported when first needed."""


def find(path: str | Path, params: str | Path | None = None) -> tuple[Exporter, tuple[Path, ...]]:
    """Returns the exporter of the model at ``path`` and the model's files, the model file first.

    Args:
        path: a model file, a prefix or a folder.
        params: Paddle's parameter file, where it does not share the prefix of the model file ``path``.

    Raises:
        ExportError: There is no model, there are several, or a file of it is missing or cannot be read.
    """
    try:
        return _find(Path(path)) if params is None else _with_params(Path(path), Path(params))
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror or error}") from error


def _find(path: Path) -> tuple[Exporter, tuple[Path, ...]]:
    if path.is_dir():
        return _one(_scan(sorted(path.iterdir())), f"folder {path}", _nothing_in(path))
    if path.suffix == ".pdiparams":
        prefix = path.with_suffix("")
        beside = [Path(f"{prefix}{suffix}") for suffix in FORMATS if suffix != ".onnx"]
        missing = f"{path} holds parameters only, and there is no model file ({_names(beside)}) beside it"
        return _one(_scan(beside), str(prefix), missing)
    if path.is_file():
        exporter = _exporter(path.suffix.lower())
        files = exporter.files(path) if exporter else None
        if exporter is None or files is None:
            raise ExportError(_not_a_model(path))
        return exporter, files
    if path.suffix.lower() in FORMATS:
        raise ExportError(f"model file {path} does not exist")
    named = [Path(f"{path}{suffix}") for suffix in FORMATS]
    return _one(_scan(named), str(path), f"{path} does not exist, and neither does {_names(named)}")


def _with_params(path: Path, params: Path) -> tuple[Exporter, tuple[Path, ...]]:
    exporter = _exporter(path.suffix.lower()) if path.is_file() else None
    if exporter is None or not exporter.recognises(path) or path.suffix.lower() == ".onnx":
        raise ExportError(f"{path} is no Paddle model file (.pdmodel or .json), so it has no parameter file {params}")
    if not params.is_file():
        raise ExportError(f"parameter file {params} does not exist")
    return exporter, (path, params)


def _one(found: dict[Path, Exporter], where: str, nothing: str) -> tuple[Exporter, tuple[Path, ...]]:
    for legacy in [model for model in found if model.suffix == ".pdmodel"]:
        if legacy.with_suffix(".json") in found:
            del found[legacy]
    if not found:
        raise ExportError(nothing)
    if len(found) > 1:
        raise ExportError(f"{where} holds several models: {_names(found)}; name one of them")
    ((model, exporter),) = found.items()
    files = exporter.files(model)
    if files is None:
        raise ExportError(_not_a_model(model))
    return exporter, files


def _scan(paths: list[Path]) -> dict[Path, Exporter]:
    """Returns the model files among ``paths``; a ``.json`` may be anything, and counts as what it holds."""
    found = {}
    for path in paths:
        exporter = _exporter(path.suffix.lower()) if path.is_file() else None
        if exporter is not None and exporter.recognises(path):
            found[path] = exporter
    return found


def _exporter(suffix: str) -> Exporter | None:
    if suffix not in FORMATS:
        return None
    module, _, name = FORMATS[suffix].partition(":")
    return cast("Exporter", getattr(import_module(module), name))


def _not_a_model(path: Path) -> str:
    if path.suffix.lower() == ".json":
        return f"{path} is not a Paddle program (a Paddle 3 .json begins with its base_code)"
    what = f"suffix '{path.suffix}'" if path.suffix else "no suffix"
    return f"{path} has {what}; models are read from {', '.join(FORMATS)}, a folder, or a prefix"


def _nothing_in(folder: Path) -> str:
    if (folder / "__model__").is_file():
        return f"{folder} holds a Paddle 1 model (__model__); save it again as .pdmodel with Paddle 2"
    return f"folder {folder} holds no model ({', '.join(FORMATS)})"


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(path.name for path in paths)
