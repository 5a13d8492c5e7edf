"""GELU: ``x Phi(x)``, exactly or by tanh.

* erf form: ``0.5 x (1 + erf(x / sqrt 2))``, the three factors in any order, 1/sqrt 2 as Div or Mul;
* tanh form: ``0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))``, the cube as Pow or two Mul;
* the operator ``Gelu`` itself.

The anchor is Erf or Tanh (or Gelu).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from xgraph.graph.patterns.match import NearMiss, factors, is_number, made_by, orders, times_constant, users


@dataclass(frozen=True, slots=True)
class Gelu:
    """The input and output of a GELU."""

    node: ir.Node
    """The anchor."""
    input: ir.Value
    output: ir.Value
    approximate: bool


def match_gelu(node: ir.Node) -> Gelu | NearMiss | None:
    """Returns the GELU that the Erf, Tanh or Gelu ``node`` belongs to."""
    if node.domain or node.op_type not in ("Erf", "Tanh", "Gelu") or node.inputs[0] is None:
        return None
    if node.op_type == "Gelu":
        tanh = node.attributes.get_string("approximate", "none") == "tanh"
        return Gelu(node, node.inputs[0], node.outputs[0], tanh)
    if node.op_type == "Erf":
        scaled = times_constant(node.inputs[0])
        if scaled is None or not math.isclose(scaled[1], math.sqrt(0.5), rel_tol=1e-3):
            return NearMiss(node, "the argument of Erf is not x / sqrt(2)")
        x = scaled[0]
    else:
        cubic = _cubic_argument(node.inputs[0])
        if cubic is None:
            return None  # Tanh is an activation of its own
        x = cubic
    one_plus = next((u for u in users(node.outputs[0], "Add") if any(is_number(i, 1.0) for i in u.inputs)), None)
    if one_plus is None:
        return NearMiss(node, f"1 is not added to {node.op_type}")
    output = _product(one_plus.outputs[0], x)
    if output is None:
        return NearMiss(node, "no product 0.5 x (1 + ...) follows")
    return Gelu(node, x, output, node.op_type == "Tanh")


def _product(gate: ir.Value, x: ir.Value) -> ir.Value | None:
    """The value ``0.5 x gate`` with the three factors in any order."""
    frontier = [gate]
    for _ in range(2):
        frontier = [user.outputs[0] for value in frontier for user in users(value, "Mul", "Div")]
        for value in frontier:
            rest, number = factors(value, (gate, x))
            if math.isclose(number, 0.5, rel_tol=1e-3) and sorted(map(id, rest)) == sorted((id(gate), id(x))):
                return value
    return None


def _cubic_argument(value: ir.Value | None) -> ir.Value | None:
    """Returns x where ``value`` is ``sqrt(2/pi) (x + 0.044715 x^3)``."""
    scaled = times_constant(value)
    if scaled is None or not math.isclose(scaled[1], math.sqrt(2 / math.pi), rel_tol=1e-3):
        return None
    add = made_by(scaled[0], "Add")
    if add is None:
        return None
    for x, term in orders(add):
        if x is None or term is None:
            continue
        rest, number = factors(term, (x,))
        if math.isclose(number, 0.044715, rel_tol=1e-2) and (
            (len(rest) == 3 and all(r is x for r in rest)) or (len(rest) == 1 and _is_cube(rest[0], x))
        ):
            return x
    return None


def _is_cube(value: ir.Value, x: ir.Value) -> bool:
    power = made_by(value, "Pow")
    return power is not None and power.inputs[0] is x and is_number(power.inputs[1], 3.0)
