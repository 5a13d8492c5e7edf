"""What recognisers share: near misses, and walking one step."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A node that looks like a pattern's anchor, and why it is not one."""

    node: ir.Node
    reason: str


def unquantised(value: ir.Value) -> ir.Value:
    """Returns what ``value`` was before it was rounded to the grid of a quantised model; else ``value``."""
    while (node := value.producer()) is not None and node.op_type == "DequantizeLinear" and not node.domain:
        before = None if node.inputs[0] is None else node.inputs[0].producer()
        if before is None or before.op_type != "QuantizeLinear" or before.domain or not _same_grid(before, node):
            break
        value = before.inputs[0]  # type: ignore[assignment]
    return value


def _same_grid(a: ir.Node, b: ir.Node) -> bool:
    """Tells whether two nodes have the same scale; sums of integers are dequantised in steps of 1."""
    left, right = constant(a.inputs[1]), constant(b.inputs[1])
    return a.inputs[1] is b.inputs[1] or (left is not None and right is not None and np.array_equal(left, right))


def made_by(value: ir.Value | None, *ops: str) -> ir.Node | None:
    """Returns the node that computes ``value``, up to rounding, if it is one of the default domain's ``ops``."""
    node = None if value is None else unquantised(value).producer()
    return node if node is not None and not node.domain and node.op_type in ops else None


def users(value: ir.Value, *ops: str) -> list[ir.Node]:
    """Returns the nodes of the given ops (all, if none is given) that read ``value``, each once."""
    found = dict.fromkeys(node for node, _ in value.uses())
    return [node for node in found if not ops or (not node.domain and node.op_type in ops)]


def constant(value: ir.Value | None) -> np.ndarray | None:
    """Returns the numbers of an initializer, or None."""
    if value is None or not value.is_initializer() or value.const_value is None:
        return None
    return value.const_value.numpy()


def scalar(value: ir.Value | None) -> float | None:
    """Returns the number in an initializer of one element, or None."""
    if value is None or not value.is_initializer() or value.const_value is None or value.const_value.size != 1:
        return None
    return float(value.const_value.numpy().reshape(-1)[0])


def is_number(value: ir.Value | None, number: float, tolerance: float = 1e-3) -> bool:
    """Tells whether ``value`` is a one-element initializer close to ``number`` (exporters round to float16)."""
    found = scalar(value)
    return found is not None and math.isclose(found, number, rel_tol=tolerance, abs_tol=1e-12)


def orders(node: ir.Node) -> Iterator[tuple[ir.Value | None, ir.Value | None]]:
    """Yields the operands of a commutative node of two inputs in both orders."""
    a, b = node.inputs[0], node.inputs[1]
    yield a, b
    yield b, a


def times_constant(value: ir.Value | None) -> tuple[ir.Value, float] | None:
    """Returns ``(x, c)`` where ``value`` is ``x * c`` or ``x / (1/c)`` with a one-element constant."""
    node = made_by(value, "Mul", "Div")
    if node is None:
        return None
    if node.op_type == "Div":
        divisor = scalar(node.inputs[1])
        return None if divisor in (None, 0.0) or node.inputs[0] is None else (node.inputs[0], 1 / divisor)
    for x, factor in orders(node):
        number = scalar(factor)
        if number is not None and x is not None:
            return x, number
    return None


def factors(value: ir.Value | None, atoms: Collection[ir.Value] = ()) -> tuple[list[ir.Value], float]:
    """Returns the operands of a product of Mul and Div nodes: those that vary, and the constant factor.

    ``atoms`` are never taken apart, even where they are products themselves.
    """
    if value is None:
        return [], 1.0
    node = None if any(value is atom for atom in atoms) else made_by(value, "Mul", "Div")
    if node is None:
        number = scalar(value)
        return ([value], 1.0) if number is None else ([], number)
    if node.op_type == "Div":
        divisor = scalar(node.inputs[1])
        if not divisor:
            return [value], 1.0
        rest, number = factors(node.inputs[0], atoms)
        return rest, number / divisor
    left, a = factors(node.inputs[0], atoms)
    right, b = factors(node.inputs[1], atoms)
    return left + right, a * b
