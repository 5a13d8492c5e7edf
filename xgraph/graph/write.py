"""Writing artifacts: as one self-contained file, or beside a weight store that several graphs share."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from xgraph.errors import BundleError, GraphError
from xgraph.files import atomic_write
from xgraph.graph.artifact import HIDDEN, INPUT_BYTES, SAMPLE_BYTES, Artifact
from xgraph.graph.io import place

_LARGEST = 2_000_000_000
"""A protobuf message holds 2 GiB."""
_ALIGNMENT = 4096
"""Memory pages: weights can be mapped instead of read."""


def write_file(artifact: Artifact, path: Path) -> Path:
    """Writes a self-contained ONNX file; it appears whole or not at all.

    Raises:
        BundleError: The model is too large for one file, or the path cannot be written.
    """
    if sum(array.nbytes for array in artifact.weights.values()) > _LARGEST:
        raise BundleError(f"{path}: an ONNX file holds 2 GB, the weights are larger; compile a bundle (-o NAME.xgraph)")
    proto = onnx.ModelProto.FromString(artifact.graph)
    for tensor in proto.graph.initializer:
        if tensor.name in artifact.weights:
            tensor.raw_data = np.ascontiguousarray(artifact.weights[tensor.name]).tobytes()
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]
    try:
        with atomic_write(path) as file:
            file.write(proto.SerializeToString())
    except OSError as error:
        raise BundleError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


@dataclass
class WeightStore:
    """One file of weights for several graphs; equal weights are stored once."""

    file: IO[bytes]
    name: str
    _places: dict[bytes, tuple[int, int]] = field(default_factory=dict)

    def attach(self, artifact: Artifact) -> bytes:
        """Stores the artifact's weights and returns its graph with references to them."""
        proto = onnx.ModelProto.FromString(artifact.graph)
        for tensor in proto.graph.initializer:
            if tensor.name in artifact.weights:
                offset, length = self._store(artifact.weights[tensor.name])
                del tensor.external_data[:]
                entries = {"location": self.name, "offset": str(offset), "length": str(length)}
                for key, value in entries.items():
                    tensor.external_data.add(key=key, value=value)
        return bytes(proto.SerializeToString())

    def _store(self, array: np.ndarray) -> tuple[int, int]:
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        key = sha256(data).digest()
        if key not in self._places:
            start = self.file.tell()
            start += -start % _ALIGNMENT
            self.file.seek(start)
            self.file.write(data)
            self._places[key] = (start, data.nbytes)
        return self._places[key]


def read_artifact(path: Path, identity: str, digest: str = "") -> Artifact:
    """Returns the artifact in a bundle's graph file, weights memory-mapped.

    Args:
        path: the file.
        identity: the digest of the model it was compiled from.
        digest: SHA-256 of the file, where it is known.

    Raises:
        BundleError: The file is missing or damaged.
    """
    try:
        graph = path.read_bytes()
        if digest and sha256(graph).hexdigest() != digest:
            raise ValueError("it is not the file that was written")
        proto = onnx.ModelProto.FromString(graph)
        if not proto.graph.output:
            # Protobuf accepts an empty file, and some texts, as a message without fields.
            raise ValueError("it is no ONNX model")
        weights = {t.name: _mapped(t, path) for t in proto.graph.initializer if t.data_location}
        properties = {item.key: item.value for item in proto.metadata_props}
        hidden = json.loads(properties.get(HIDDEN, "{}"))
        costs = [int(properties.get(key, default)) for key, default in ((SAMPLE_BYTES, 1), (INPUT_BYTES, 0))]
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}; compile the bundle again") from error
    except (ValueError, TypeError, DecodeError, GraphError) as error:
        raise BundleError(f"{path} is damaged ({error}); compile the bundle again") from error
    return Artifact(graph, weights, costs[0], sha256(identity.encode() + graph).hexdigest(), hidden, costs[1])


def _mapped(tensor: onnx.TensorProto, path: Path) -> np.ndarray:
    place(tensor, path)
    entries = {entry.key: entry.value for entry in tensor.external_data}
    # onnx itself answers float32 for bfloat16 and other types that NumPy lacks.
    dtype = ir.DataType(tensor.data_type).numpy()
    return np.memmap(entries["location"], dtype, "r", int(entries["offset"]), tuple(tensor.dims))
