"""Functions become plain nodes: those of the model, and those that define the standard's preview operators."""

from __future__ import annotations

from typing import Any

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from xgraph.graph.io import opset

_PREVIEW = "ai.onnx.preview"
"""Its operators are composites, which an onnx that knows them can write out."""


def inline_functions(model: ir.Model) -> None:
    """Replaces every call of a model-local function by the function's body, in place.

    Acts on all functions, torch's ``pkg.onnxscript`` ones included, and on preview operators whose operands have known
    types. A node whose domain has no function here (``com.microsoft`` ...) is left alone.
    """
    for number, node in enumerate(model.graph):
        if node.domain == _PREVIEW:
            _define(model, node, f"call_{number}")
    if not model.functions:
        return
    common.InlinePass()(model)
    common.RemoveUnusedFunctionsPass()(model)  # type: ignore[no-untyped-call]


def _define(model: ir.Model, node: ir.Node, overload: str) -> None:
    """Adds the function that a preview operator stands for, with the attributes and types of this call."""
    version = model.opset_imports.get(node.domain, 1)
    if not onnx.defs.has(node.op_type, version, node.domain):
        return
    # The stubs of onnx lack what is used of it here.
    schema: Any = onnx.defs.get_schema(node.op_type, version, node.domain)
    versions = schema.context_dependent_function_opset_versions
    types = [b"" if value is None else _type(value) for value in node.inputs]
    if not versions or None in types:
        return
    body = schema.get_context_dependent_function_with_opset_version(
        versions[-1], ir.to_proto(node).SerializeToString(), types
    )
    function = onnx.FunctionProto.FromString(body)
    # What modifies scores is written into the body already.
    for name in [name for name, attribute in node.attributes.items() if attribute.type == ir.AttributeType.GRAPH]:
        del node.attributes[name]
        function.attribute.remove(name)
    function.overload = node.overload = overload
    del function.opset_import[:]
    function.opset_import.add(domain="", version=opset(model))
    model.functions[node.op_identifier()] = ir.serde.deserialize_function(function)


def _type(value: ir.Value) -> bytes | None:
    """Returns the type of a value as protobuf has it, or None where it is not known."""
    if value.dtype is None or value.shape is None:
        return None
    sizes = [dim if isinstance(dim, int) else dim.value for dim in value.shape]
    serialized: bytes = onnx.helper.make_tensor_type_proto(int(value.dtype), sizes).SerializeToString()
    return serialized
