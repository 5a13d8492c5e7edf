"""Hard-swish: ``x max(0, min(1, x/6 + 1/2))``.

The operator ``HardSwish``; ``Mul(x, HardSigmoid(x, alpha=1/6))`` in either order; ``x * Clip(x + 3, 0, 6) / 6`` with
the division on any factor. The anchor is HardSwish, HardSigmoid or Clip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from xgraph.graph.patterns.match import NearMiss, factors, is_number, made_by, orders, scalar, users


@dataclass(frozen=True, slots=True)
class HardSwish:
    """The input and output of a hard-swish."""

    node: ir.Node
    input: ir.Value
    output: ir.Value


def match_hard_swish(node: ir.Node) -> HardSwish | NearMiss | None:
    """Returns the hard-swish that ``node`` belongs to."""
    if node.domain or node.inputs[0] is None:
        return None
    if node.op_type == "HardSwish":
        return HardSwish(node, node.inputs[0], node.outputs[0])
    if node.op_type == "HardSigmoid":
        return _from_hard_sigmoid(node, node.inputs[0])
    if node.op_type == "Clip":
        return _from_clip(node)
    return None


def _from_hard_sigmoid(node: ir.Node, x: ir.Value) -> HardSwish | NearMiss | None:
    for product in users(node.outputs[0], "Mul"):
        if any(gate is node.outputs[0] and other is x for gate, other in orders(product)):
            alpha, beta = node.attributes.get_float("alpha", 0.2), node.attributes.get_float("beta", 0.5)
            if math.isclose(alpha or 0.0, 1 / 6, rel_tol=1e-3) and beta == 0.5:
                return HardSwish(node, x, product.outputs[0])
            return NearMiss(node, f"HardSigmoid has alpha {alpha:g} and beta {beta:g}, not 1/6 and 1/2")
    return None


def _from_clip(node: ir.Node) -> HardSwish | NearMiss | None:
    add = made_by(node.inputs[0], "Add")
    low = scalar(node.inputs[1]) if len(node.inputs) > 1 else None
    high = scalar(node.inputs[2]) if len(node.inputs) > 2 else None
    if add is None or low != 0.0 or high != 6.0:
        return None  # ReLU6 and other clips
    x = next((a for a, b in orders(add) if is_number(b, 3.0)), None)
    if x is None:
        return None
    frontier = [node.outputs[0]]
    for _ in range(2):
        frontier = [user.outputs[0] for value in frontier for user in users(value, "Mul", "Div")]
        for value in frontier:
            rest, number = factors(value, (x, node.outputs[0]))
            if math.isclose(number, 1 / 6, rel_tol=1e-3) and {id(r) for r in rest} == {id(x), id(node.outputs[0])}:
                return HardSwish(node, x, value)
    return NearMiss(node, "Clip(x + 3, 0, 6) is not multiplied by x / 6")
