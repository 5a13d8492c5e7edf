"""Layer normalisation: ``(x - mean) / sqrt(var + eps) * scale + bias`` over the last axes.

The operator ``LayerNormalization``, or ``m = ReduceMean(x); d = Sub(x, m); v = ReduceMean(Pow(d, 2) | Mul(d, d));
Div(d, Sqrt(Add(v, eps))) [-> Mul(scale)] [-> Add(bias)]`` (also ``Mul(d, Reciprocal(Sqrt(...)))``). The anchor is
LayerNormalization or Sqrt.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from xgraph.graph.patterns.match import NearMiss, constant, is_number, made_by, orders, scalar, users


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """The operands of a layer normalisation."""

    node: ir.Node
    input: ir.Value
    scale: ir.Value | None
    bias: ir.Value | None
    epsilon: float
    output: ir.Value
    axes: tuple[int, ...]
    """Normalised axes, negative."""


def match_layer_norm(node: ir.Node) -> LayerNorm | NearMiss | None:
    """Returns the layer normalisation that the LayerNormalization or Sqrt ``node`` belongs to."""
    if node.domain or node.op_type not in ("LayerNormalization", "Sqrt") or node.inputs[0] is None:
        return None
    if node.op_type == "LayerNormalization":
        return _operator(node, node.inputs[0])
    add = made_by(node.inputs[0], "Add")
    if add is None:
        return None
    variance, epsilon = next(((v, scalar(e)) for v, e in orders(add) if scalar(e) is not None), (None, None))
    mean_of_squares = made_by(variance, "ReduceMean")
    if mean_of_squares is None or epsilon is None:
        return None
    centred = _squared(mean_of_squares.inputs[0])
    subtract = made_by(centred, "Sub")
    if centred is None or subtract is None:
        return NearMiss(node, "the variance is not the mean of (x - mean) squared")
    x = subtract.inputs[0]
    mean = made_by(subtract.inputs[1], "ReduceMean")
    if x is None or mean is None or mean.inputs[0] is not x:
        return NearMiss(node, "what is squared is not x - mean(x)")
    axes = _axes(mean_of_squares, x)
    if axes is None or axes != _axes(mean, x):
        return NearMiss(node, "mean and variance are not taken over the same last axes")
    normalised = _divided(node, centred)
    if normalised is None:
        return NearMiss(node, "x - mean is not divided by the standard deviation")
    scaled, scale = _affine(normalised, "Mul")
    output, bias = _affine(scaled, "Add")
    return LayerNorm(node, x, scale, bias, epsilon, output, axes)


def _operator(node: ir.Node, x: ir.Value) -> LayerNorm:
    rank = len(x.shape) if x.shape is not None else 1
    axis = node.attributes.get_int("axis", -1) or 0
    first = axis - rank if axis >= 0 else axis
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    epsilon = node.attributes.get_float("epsilon", 1e-5) or 0.0
    return LayerNorm(node, x, node.inputs[1], bias, epsilon, node.outputs[0], tuple(range(first, 0)))


def _squared(value: ir.Value | None) -> ir.Value | None:
    node = made_by(value, "Pow", "Mul")
    if node is None or node.inputs[0] is None:
        return None
    if node.op_type == "Pow":
        return node.inputs[0] if is_number(node.inputs[1], 2.0) else None
    return node.inputs[0] if node.inputs[0] is node.inputs[1] else None


def _axes(node: ir.Node, x: ir.Value) -> tuple[int, ...] | None:
    axes = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if axes is None or x.shape is None or not node.attributes.get_int("keepdims", 1):
        return None
    rank = len(x.shape)
    negative = tuple(sorted(int(a) % rank - rank for a in axes.reshape(-1)))
    return negative if negative == tuple(range(-len(negative), 0)) else None


def _divided(root: ir.Node, centred: ir.Value) -> ir.Value | None:
    deviation = root.outputs[0]
    for user in users(deviation, "Div"):
        if user.inputs[0] is centred and user.inputs[1] is deviation:
            return user.outputs[0]
        if is_number(user.inputs[0], 1.0):
            deviation_inverse = user.outputs[0]
            for product in users(deviation_inverse, "Mul"):
                if any(a is centred for a, _ in orders(product)):
                    return product.outputs[0]
    for inverse in users(deviation, "Reciprocal"):
        for product in users(inverse.outputs[0], "Mul"):
            if any(a is centred for a, _ in orders(product)):
                return product.outputs[0]
    return None


def _affine(value: ir.Value, op: str) -> tuple[ir.Value, ir.Value | None]:
    following = users(value)
    if len(following) == 1 and following[0].op_type == op and not following[0].domain and not value.is_graph_output():
        for operand, parameter in orders(following[0]):
            if operand is value and parameter is not None and parameter.is_initializer():
                return following[0].outputs[0], parameter
    return value, None
