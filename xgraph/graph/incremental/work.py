"""How much work a node does for one sample: multiply-adds, and numbers that it reads and writes."""

from __future__ import annotations

from math import prod

import onnx_ir as ir

from xgraph.graph.shapes import dims
from xgraph.graph.site import Site


def multiply_adds(node: ir.Node) -> int:
    """Returns the multiply-adds of convolutions and matrix products; open sizes count as 1, other nodes as 0."""
    if node.domain or node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return 0
    output, weight = _sizes(node.outputs[0]), _sizes(node.inputs[1])
    if node.op_type == "Conv":
        return prod(output) * prod(weight[1:])
    if node.op_type == "ConvTranspose":
        return prod(_sizes(node.inputs[0])) * prod(weight[1:])
    inner = _sizes(node.inputs[0])
    transposed = node.op_type == "Gemm" and bool(Site(node).attr("transA", 0))
    return prod(output) * ((inner[0] if transposed else inner[-1]) if inner else 1)


def numbers(node: ir.Node) -> int:
    """Returns the count of the numbers of a node's outputs and first input."""
    values = [*node.outputs, *node.inputs[:1]]
    return sum(prod(_sizes(value)) for value in values if value is not None and value.name)


def _sizes(value: ir.Value | None) -> list[int]:
    known = None if value is None else dims(value)
    return [size if isinstance(size, int) else 1 for size in known or ()]
