"""ONNX files, as they are: checked, with their external-data files found.

Nothing is converted, and no external weight is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from google.protobuf.message import DecodeError

from xgraph.errors import ExportError
from xgraph.exporters.base import Exported

OLDEST_OPSET = 7
LARGEST = 2**31 - 1
"""Bytes of a protobuf message: a larger model keeps its weights in external data."""


@dataclass(frozen=True, slots=True)
class OnnxExporter:
    """Reads ``.onnx``, with or without external data."""

    def recognises(self, path: Path) -> bool:
        """Goes by the suffix: a protobuf has no magic number."""
        return path.suffix.lower() == ".onnx"

    def files(self, path: Path) -> tuple[Path, ...] | None:
        """Returns the model and its external-data files, in the order they are first used."""
        if not self.recognises(path):
            return None
        found = [path]
        for location in dict.fromkeys(_locations(_read(path))):
            external = _inside(path, location)
            if not external.is_file():
                raise ExportError(f"{path} keeps weights in '{location}', and {external} does not exist")
            found.append(external)
        return tuple(found)

    def export(self, files: tuple[Path, ...], out: Path, *, verify: bool = True) -> Exported:
        """Returns the file itself; there is nothing to verify it against."""
        return Exported(path=files[0], source="onnx", files=files)


def _read(path: Path) -> onnx.ModelProto:
    """Returns the model without its external data, or says in one line why it is none."""
    size = path.stat().st_size
    if not size:
        raise ExportError(f"{path} is empty")
    if size > LARGEST:
        raise ExportError(
            f"{path} has {size / 2**30:.1f} GiB, and an ONNX file holds 2 at most: save it with external data"
        )
    try:
        model = onnx.load(str(path), load_external_data=False)
    except DecodeError:
        raise ExportError(f"{path} is damaged or no ONNX model: it does not parse as one") from None
    if not model.graph.output or not model.opset_import:
        raise ExportError(f"{path} is damaged or no ONNX model: it has no graph outputs or no opset")
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), None)
    if opset is None:
        raise ExportError(f"{path} uses no standard ONNX operators (domains: {_domains(model)})")
    if opset < OLDEST_OPSET:
        raise ExportError(
            f"{path} has opset {opset}; {OLDEST_OPSET} is the oldest that can be read: export it again, "
            "or convert it with onnx.version_converter"
        )
    return model


def _domains(model: onnx.ModelProto) -> str:
    return ", ".join(sorted({entry.domain for entry in model.opset_import}))


def _locations(model: onnx.ModelProto) -> Iterator[str]:
    yield from _graph_locations(model.graph)
    for function in model.functions:
        yield from _node_locations(function.node)


def _graph_locations(graph: onnx.GraphProto) -> Iterator[str]:
    for tensor in graph.initializer:
        yield from _location(tensor)
    for sparse in graph.sparse_initializer:
        yield from _location(sparse.values)
        yield from _location(sparse.indices)
    yield from _node_locations(graph.node)


def _node_locations(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    for node in nodes:
        for attribute in node.attribute:
            for tensor in (attribute.t, *attribute.tensors):
                yield from _location(tensor)
            for graph in (attribute.g, *attribute.graphs):
                yield from _graph_locations(graph)


def _location(tensor: onnx.TensorProto) -> Iterator[str]:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        yield next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _inside(model: Path, location: str) -> Path:
    """Returns the file at ``location``, which must lie in the model's own folder, links followed."""
    folder = model.parent
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    leaves = (
        not location
        or "\0" in location
        or posix.is_absolute()
        or windows.drive
        or windows.root
        or ".." in posix.parts
        or ".." in windows.parts
    )
    path = folder / location
    if leaves or not path.resolve().is_relative_to(folder.resolve()):
        raise ExportError(f"{model} keeps weights in {location[:200]!r}, outside its own folder; this is refused")
    return path


ONNX = OnnxExporter()
