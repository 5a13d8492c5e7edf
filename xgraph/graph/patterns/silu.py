"""SiLU (Swish): ``x sigmoid(b x)``.

``Mul(x, Sigmoid(x))`` in either order, ``Mul(x, Sigmoid(b x))`` with a constant b, or the operator ``Swish``. The
anchor is the Sigmoid (or Swish).
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from xgraph.graph.patterns.match import orders, times_constant, users


@dataclass(frozen=True, slots=True)
class Silu:
    """The input and output of a SiLU."""

    node: ir.Node
    input: ir.Value
    output: ir.Value
    slope: float
    """The b of ``sigmoid(b x)``."""


def match_silu(node: ir.Node) -> Silu | None:
    """Returns the SiLU that the Sigmoid or Swish ``node`` belongs to; a Sigmoid alone is no near miss."""
    if node.domain or node.op_type not in ("Sigmoid", "Swish") or node.inputs[0] is None:
        return None
    if node.op_type == "Swish":
        return Silu(node, node.inputs[0], node.outputs[0], node.attributes.get_float("alpha", 1.0) or 1.0)
    scaled = times_constant(node.inputs[0])
    for product in users(node.outputs[0], "Mul"):
        for gate, x in orders(product):
            if gate is not node.outputs[0] or x is None:
                continue
            if x is node.inputs[0]:
                return Silu(node, x, product.outputs[0], 1.0)
            if scaled is not None and x is scaled[0]:
                return Silu(node, x, product.outputs[0], scaled[1])
    return None
