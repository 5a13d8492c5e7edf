"""Reading ONNX files.

Weights kept in external data files are memory-mapped: nothing is loaded until a pass asks for the numbers.
"""

from __future__ import annotations

import os
from pathlib import Path

import onnx_ir as ir
from google.protobuf.message import DecodeError

from xgraph.errors import ExportError, GraphError

CANONICAL = 18
"""The opset that older models are converted to, and that a model without a standard operator counts as."""


def read(path: str | os.PathLike[str]) -> ir.Model:
    """Returns the model in the ONNX file ``path``, external data memory-mapped.

    Raises:
        ExportError: The file is missing, is not an ONNX model, or its external data are missing, too short
            or outside its folder.
    """
    path = Path(path)
    try:
        model = ir.load(path)
    except FileNotFoundError as error:
        raise ExportError(f"{path}: no such file") from error
    except (OSError, DecodeError, ir.serde.SerdeError, ValueError, TypeError, KeyError) as error:
        raise ExportError(f"{path}: not a readable ONNX file ({_first_line(error)})") from error
    if not model.graph.outputs:
        # Protobuf accepts an empty file, and some texts, as a message without fields.
        raise ExportError(f"{path}: not an ONNX model (it has no graph outputs)")
    _check_external_data(model, path)
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


def _check_external_data(model: ir.Model, path: Path) -> None:
    folder = path.parent.resolve()
    for graph in model.graphs():
        for name, value in graph.initializers.items():
            tensor = value.const_value
            if not isinstance(tensor, ir.ExternalTensor):
                continue
            file = Path(tensor.path)
            if not file.resolve().is_relative_to(folder):
                raise ExportError(f"{path}: weight '{name}' is kept in {file}, outside the model's folder")
            needed = (tensor.offset or 0) + (tensor.length or tensor.nbytes)
            if not file.is_file():
                raise ExportError(f"{path}: external data file {file} of weight '{name}' is missing")
            if file.stat().st_size < needed:
                raise ExportError(f"{path}: external data file {file} ends before weight '{name}' ({needed} bytes)")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
