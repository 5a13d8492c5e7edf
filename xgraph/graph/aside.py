"""Outputs that are no tensors of numbers are left aside when a file is read: nobody can differentiate them.

Converters of scikit-learn write a classifier's probabilities as a list of dictionaries (``ZipMap``) beside its labels,
which may be strings. The dictionaries become the tensor that they were made of, under the same name; strings, and
what else is no tensor, are dropped where other outputs are left.
"""

from __future__ import annotations

import json

import onnx
import onnx_ir as ir

ASIDE = "xgraph.aside"
"""Model metadata key: what was left aside, a JSON list of sentences."""
ZIP = "ZipMap"
"""The operator of ``ai.onnx.ml`` that makes dictionaries."""


def keep_tensors(proto: onnx.ModelProto) -> None:
    """Turns dictionaries into tensors and drops what is no tensor of numbers among the outputs, in place."""
    graph = proto.graph
    notes = [_unzipped(graph, node) for node in graph.node if _is_zip(graph, node)]
    numbers = [output for output in graph.output if _is_numbers(output)]
    if numbers and len(numbers) < len(graph.output):
        dropped = [output for output in graph.output if not _is_numbers(output)]
        notes += [f"output {output.name}, which holds {_kind(output)}" for output in dropped]
        del graph.output[:]
        graph.output.extend(numbers)
    if notes:
        proto.metadata_props.add(key=ASIDE, value=json.dumps(notes))


def left_aside(model: ir.Model) -> tuple[str, ...]:
    """Returns what was left aside when the model was read, in words."""
    return tuple(json.loads(model.metadata_props.get(ASIDE, "[]")))


def _is_zip(graph: onnx.GraphProto, node: onnx.NodeProto) -> bool:
    """Tells whether a node makes dictionaries that leave the model, and that nothing inside reads."""
    if node.op_type != ZIP or node.domain != "ai.onnx.ml":
        return False
    name = node.output[0]
    return any(output.name == name for output in graph.output) and not any(name in other.input for other in graph.node)


def _unzipped(graph: onnx.GraphProto, node: onnx.NodeProto) -> str:
    name = node.output[0]
    node.op_type, node.domain = "Identity", ""
    del node.attribute[:]
    for output in graph.output:
        if output.name == name:
            output.ClearField("type")
            output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return f"the dictionaries of output {name}, which is the tensor that they are made of"


def _is_numbers(output: onnx.ValueInfoProto) -> bool:
    kind = output.type.WhichOneof("value")
    # Some files leave the types of outputs to inference.
    return kind is None or (kind == "tensor_type" and output.type.tensor_type.elem_type != onnx.TensorProto.STRING)


def _kind(output: onnx.ValueInfoProto) -> str:
    kind = str(output.type.WhichOneof("value"))
    return "strings" if kind == "tensor_type" else f"a {kind.removesuffix('_type')}"
