"""Reading ONNX files.

Weights kept in external data files are memory-mapped: nothing is loaded until a pass asks for the numbers.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError
from onnx_ir.passes import common

from xgraph.errors import ExportError, GraphError
from xgraph.graph.aside import keep_tensors
from xgraph.graph.structure import brief, check_structure, storage, tensors

_DIGITS = 19
"""Of offsets and lengths: more do not fit 64 bits."""

CANONICAL = 18
"""The opset that older models are converted to, and that a model without a standard operator counts as."""


def read(path: str | os.PathLike[str]) -> ir.Model:
    """Returns the model in the ONNX file ``path``, external data memory-mapped.

    Raises:
        ExportError: The file is missing, is not an ONNX model, does not hold together, or its external data are
            missing, too short or outside its folder.
    """
    path = Path(path).absolute()
    try:
        proto = onnx.load(path, "protobuf", load_external_data=False)
    except FileNotFoundError as error:
        raise ExportError(f"{path}: no such file") from error
    except (OSError, DecodeError) as error:
        raise ExportError(f"{path}: not a readable ONNX file ({_first_line(error)})") from error
    if not proto.graph.output:
        # Protobuf accepts an empty file, and some texts, as a message without fields.
        raise ExportError(f"{path}: not an ONNX model (it has no graph outputs)")
    for value in (*proto.graph.output, *proto.graph.value_info):
        # "Undefined" says no more than nothing, and libraries take it for a type.
        if value.type.HasField("tensor_type") and not value.type.tensor_type.elem_type:
            value.ClearField("type")
    try:
        check_structure(proto)
        keep_tensors(proto)
        for tensor in tensors(proto):
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                place(tensor, path)
        model = ir.from_proto(proto)
    except GraphError as error:
        raise ExportError(f"{path}: {error}") from error
    except (ir.serde.SerdeError, ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise ExportError(f"{path}: not a readable ONNX file ({_first_line(error)})") from error
    # Runtimes take nodes in any order; a copy needs theirs.
    common.TopologicalSortPass()(model)
    _refuse_bfloat16(model, path)
    return model


def opset(model: ir.Model) -> int:
    """Returns the version of the default operator set that the model imports; ``CANONICAL`` where it uses none of it.

    Raises:
        GraphError: The model imports none, but has nodes of it.
    """
    version = model.opset_imports.get("", model.opset_imports.get("ai.onnx"))
    if version is None:
        if all(node.domain for node in model.graph.all_nodes()):
            return CANONICAL
        raise GraphError(
            "the model imports no default operator set (domain 'ai.onnx'), so its operators have no meaning"
        )
    return version


def _refuse_bfloat16(model: ir.Model, path: Path) -> None:
    """Refuses what ONNX Runtime's CPU provider has no kernels for, and NumPy no arrays to feed it with."""
    values = [*model.graph.inputs, *(value for graph in model.graphs() for value in graph.initializers.values())]
    for value in values:
        dtype = value.const_value.dtype if value.const_value is not None else value.dtype
        if dtype == ir.DataType.BFLOAT16:
            raise ExportError(
                f"{path}: computes in bfloat16 ('{value.name}'), which the CPU provider does not run; "
                "export the model in float32 or float16"
            )


def place(tensor: onnx.TensorProto, path: Path) -> None:
    """Writes into an external tensor where its bytes lie, once they are known to be there, in the folder of ``path``.

    Nothing has opened the file by then, and nothing looks at the location in the model again.

    Raises:
        GraphError: They are not, or they lie elsewhere.
    """
    what = f"weight {brief(tensor.name)}"
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    file = _inside(path.parent, location)
    if file is None:
        raise GraphError(f"{what} is kept in {location!r}, outside the model's folder; this is refused")
    if not file.is_file():
        raise GraphError(f"external data file {file} of {what} is missing")
    if file.stat().st_nlink > 1:
        raise GraphError(f"external data file {file} of {what} has another name elsewhere (a hard link); copy the file")
    needed = storage(tensor)
    places = [entries.get("offset") or "0", entries.get("length") or str(needed)]
    if not all(place.isascii() and place.isdigit() and len(place) < _DIGITS for place in places):
        raise GraphError(f"{what} is kept at offset {places[0][:40]!r} with length {places[1][:40]!r}; not two numbers")
    offset, length = map(int, places)
    if length != needed:
        raise GraphError(f"{what} of shape {list(tensor.dims)} needs {needed} bytes; its length is given as {length}")
    if file.stat().st_size < offset + length:
        raise GraphError(f"external data file {file} ends before {what} ({offset + length} bytes)")
    del tensor.external_data[:]
    for key, value in (("location", str(file)), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)


def _inside(folder: Path, location: str) -> Path | None:
    """Returns the file at ``location``, links followed, or None where that is not below ``folder``."""
    parts = (*PurePosixPath(location).parts, *PureWindowsPath(location).parts)
    if not location or "\0" in location or ".." in parts or PureWindowsPath(location).anchor or location[0] == "/":
        return None
    file = (folder / location).resolve()
    return file if file.is_relative_to(folder.resolve()) else None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
