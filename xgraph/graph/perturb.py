"""Perturbing a value inside the graph: noise is added to it, or it is moved along a path from a baseline.

Whatever used the value uses the perturbed one, so that inputs, layers and embeddings are perturbed alike, and no
perturbed sample is ever built on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit
from xgraph.graph.shapes import dims, dtype_of, is_float
from xgraph.graph.splice import add_input


@dataclass(frozen=True, slots=True)
class Names:
    """What the graph inputs are called that say how one value is perturbed."""

    noise: str
    alpha: str
    baseline: str


@dataclass(frozen=True, slots=True)
class Perturbed:
    """A value after its perturbation."""

    value: ir.Value
    difference: ir.Value | None
    """What the path covers: the (noisy) value minus the baseline; None without a path."""
    start: ir.Value | None = None
    """The baseline; None without a path."""
    fixed: tuple[ir.Node, ...] = ()
    """Nodes whose results are constants by definition, though computed from the value: the scale of the noise."""


def perturb(b: Emit, value: ir.Value, kinds: Sequence[str], names: Names) -> Perturbed:
    """Perturbs ``value`` for all its users, in the order of ``kinds``.

    ``noise`` adds the input ``names.noise``; ``relative_noise`` first multiplies it by the sample's range, max - min;
    ``mean_noise`` multiplies one number per row by the sample's mean and adds it to every entry; ``path`` gives
    baseline + α (value - baseline) with one α per row. A baseline may have axes of size 1.

    Raises:
        GraphError: The value is no float, or has no range.
    """
    if not is_float(value):
        raise GraphError(f"'{value.name}' is no float, so it cannot be perturbed")
    users = [(use.node, use.idx) for use in value.uses()]
    current, difference, start = value, None, None
    fixed: list[ir.Node] = []
    for kind in kinds:
        if kind == "path":
            current, difference, start = _on_path(b, current, names)
        else:
            current, scale = _noisy(b, current, names.noise, kind)
            fixed += scale
    for node, index in users:
        node.replace_input_with(index, current)
    b.graph.sort()
    return Perturbed(current, difference, start, tuple(fixed))


def _noisy(b: Emit, value: ir.Value, name: str, kind: str) -> tuple[ir.Value, list[ir.Node]]:
    """Returns the noisy value, and the nodes that scale the noise."""
    shape = dims(value) or ()
    axes = list(range(1, len(shape)))
    if kind != "noise" and not axes:
        raise GraphError(f"'{value.name}' is one number per row, which has no range for noise to be a share of")
    fed = [shape[0], *[1] * len(axes)] if kind == "mean_noise" else shape
    noise = _typed(b, add_input(b.model, name, np.float32, fed), value)
    if kind == "noise":
        return _like(b.Add(value, noise), value), []
    if kind == "mean_noise":
        scale = b.ReduceMean(value, axes, keepdims=1)
    else:
        scale = b.Sub(b.ReduceMax(value, axes, keepdims=1), b.ReduceMin(value, axes, keepdims=1))
    noise = b.Mul(noise, scale)
    return _like(b.Add(value, noise), value), [node for node in (noise.producer(),) if node is not None]


def _on_path(b: Emit, value: ir.Value, names: Names) -> tuple[ir.Value, ir.Value, ir.Value]:
    shape = dims(value) or ()
    # Sizes other than the batch stay open, so that a constant baseline need not be blown up to the value's size.
    open_shape = [shape[0], *(f"{names.baseline}_dim{axis}" for axis in range(1, len(shape)))]
    start = _typed(b, add_input(b.model, names.baseline, np.float32, open_shape), value)
    known = {item.name: item for item in b.graph.inputs}
    alpha = known.get(names.alpha) or add_input(b.model, names.alpha, np.float32, [shape[0]])
    alpha = _typed(b, alpha, value)
    difference = _like(b.Sub(value, start), value)
    along = _like(b.Mul(b.Unsqueeze(alpha, list(range(1, len(shape)))), difference), value)
    return _like(b.Add(start, along), value), difference, start


def _typed(b: Emit, value: ir.Value, like: ir.Value) -> ir.Value:
    return value if dtype_of(value) == dtype_of(like) else b.cast(value, dtype_of(like))


def _like(value: ir.Value, like: ir.Value) -> ir.Value:
    """Gives ``value`` the shape that broadcasting against an open shape hides."""
    value.shape = like.shape
    return value
