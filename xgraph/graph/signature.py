"""Whether nodes fit what the standard says of their operators: how many operands, and attributes of which type."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import AttributeProto

from xgraph.errors import GraphError


def check_node(node: onnx.NodeProto, versions: Mapping[str, int], what: str, *, in_function: bool) -> None:
    """Makes sure that a node of a standard operator has the operands and attributes that the standard asks for.

    Operators of other domains, or too new for the installed onnx, are let through.

    Args:
        node: the node.
        versions: of the operator sets that the model imports.
        what: how the node is called in an error.
        in_function: attributes may refer to those of the function.

    Raises:
        GraphError: It has not.
    """
    for attribute in node.attribute:
        if attribute.ref_attr_name and not in_function:
            raise GraphError(
                f"{what} refers to the attribute '{attribute.ref_attr_name}' of a function, and is in none"
            )
    schema = _schema(node, versions)
    if schema is None:
        return
    if not schema.min_input <= len(node.input) <= schema.max_input:
        raise GraphError(
            f"{what} has {len(node.input)} inputs; it takes {_between(schema.min_input, schema.max_input)}"
        )
    if not schema.min_output <= len(node.output) <= schema.max_output:
        outputs = _between(schema.min_output, schema.max_output)
        raise GraphError(f"{what} has {len(node.output)} outputs; it returns {outputs}")
    given = {attribute.name: attribute for attribute in node.attribute}
    if node.op_type == "Constant" and (len(given) != 1 or not given.keys() <= schema.attributes.keys()):
        raise GraphError(f"{what} has the attributes {sorted(given)}; it holds one value")
    for name, known in schema.attributes.items():
        if name not in given and known.required:
            raise GraphError(f"{what} lacks the attribute '{name}'")
        if name not in given:
            continue
        wanted: int = known.type.value  # type: ignore[attr-defined]
        if given[name].type != wanted:
            has, wants = map(AttributeProto.AttributeType.Name, (given[name].type, wanted))
            raise GraphError(f"{what} has {has} as the attribute '{name}', which is {wants}")


def _schema(node: onnx.NodeProto, versions: Mapping[str, int]) -> onnx.defs.OpSchema | None:
    domain = "" if node.domain == "ai.onnx" else node.domain
    version = versions.get(domain)
    if domain or version is None or not 0 < version <= onnx.defs.onnx_opset_version():
        return None
    try:
        return onnx.defs.get_schema(node.op_type, version, "")
    except onnx.defs.SchemaError:
        return None


def _between(least: int, most: int) -> str:
    if least == most:
        return str(least)
    return f"{least} or more" if most > 1000 else f"{least} to {most}"
