"""Linear layer: ``y = x W + b`` with a constant W.

``Gemm(x, W, b)``; ``MatMul(x, W) -> Add(b)`` in either order with a constant bias; ``MatMul(x, W)`` alone. The anchor
is the MatMul or Gemm.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from xgraph.graph.patterns.match import NearMiss, made_by, orders, users


@dataclass(frozen=True, slots=True)
class Linear:
    """A matrix product with a constant weight, and its bias."""

    node: ir.Node
    """The MatMul or Gemm."""
    input: ir.Value
    weight: ir.Value
    transposed: bool
    """Whether the weight is stored as (out, in)."""
    bias: ir.Value | None
    output: ir.Value
    """The value after the bias."""


def match_linear(node: ir.Node) -> Linear | NearMiss | None:
    """Returns the linear layer that the MatMul or Gemm ``node`` belongs to."""
    if node.domain or node.op_type not in ("MatMul", "Gemm"):
        return None
    x, weight = node.inputs[0], node.inputs[1]
    if x is None or weight is None:
        return None
    if not weight.is_initializer():
        return NearMiss(node, "its weight is computed")
    if x.is_initializer():
        return NearMiss(node, "both operands are constant")
    output = node.outputs[0]
    if node.op_type == "Gemm":
        if node.attributes.get_int("transA", 0):
            return NearMiss(node, "Gemm transposes its input")
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        if bias is not None and not bias.is_initializer():
            return NearMiss(node, "its bias is computed")
        transposed = bool(node.attributes.get_int("transB", 0))
        return (
            Linear(node, x, weight, transposed, bias, output)
            if bias is not None
            else _with_bias(node, x, weight, transposed)
        )
    if weight.shape is None or len(weight.shape) != 2:
        return NearMiss(node, "its weight is not a matrix")
    return _with_bias(node, x, weight, False)


def linear_that_returns(value: ir.Value) -> Linear | None:
    """Returns the linear layer whose output, bias included, ``value`` is; None where it is something else."""
    add = made_by(value, "Add")
    candidates = [value.producer()] if add is None else [made_by(operand, "MatMul", "Gemm") for operand in add.inputs]
    for node in candidates:
        found = None if node is None else match_linear(node)
        if isinstance(found, Linear) and found.output is value:
            return found
    return None


def _with_bias(node: ir.Node, x: ir.Value, weight: ir.Value, transposed: bool) -> Linear:
    output = node.outputs[0]
    adds = users(output)
    if len(adds) == 1 and adds[0].op_type == "Add" and not adds[0].domain and not output.is_graph_output():
        for product, bias in orders(adds[0]):
            if product is output and bias is not None and bias.is_initializer() and _is_vector(bias):
                return Linear(node, x, weight, transposed, bias, adds[0].outputs[0])
    return Linear(node, x, weight, transposed, None, output)


def _is_vector(bias: ir.Value) -> bool:
    shape = bias.shape
    return shape is not None and all(dim == 1 for dim in list(shape)[:-1])
