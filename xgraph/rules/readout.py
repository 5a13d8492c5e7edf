"""Readouts: what a method makes of an activation and what arrived at it. In-graph, one emission each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from xgraph.errors import MethodError
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import named_dims, rank

Readout: TypeAlias = Callable[..., Value]

READOUTS: dict[str, Readout] = {}


def readout(function: Readout) -> Readout:
    """Registers a readout under its function's name."""
    READOUTS[function.__name__] = function
    return function


@readout
def cotangent(b: Emit, value: Value, g: Value) -> Value:
    """What arrived: ∂f/∂value, in the shape of the value."""
    return g


@readout
def product(b: Emit, value: Value, g: Value) -> Value:
    """Entry by entry: value ⊙ ∂f/∂value, in the shape of the value."""
    return b.Mul(value, g)


@readout
def cam(b: Emit, value: Value, g: Value, *, relu: bool = True, pool: str = "mean", channels: str = "sum") -> Value:
    """ReLU(Σ_k α_k A_k), α_k the spatial mean (or sum) of ∂f/∂A_k, over channels k of A: (N, spatial ...).

    ``channels="mean"`` divides by the number of channels, as InterpretDL does.
    """
    axes = _spatial(value)
    weights = b.ReduceSum(g, axes, keepdims=1) if pool == "sum" else b.ReduceMean(g, axes, keepdims=1)
    return _summed(b, b.Mul(weights, value), relu, channels)


@readout
def cam_plus_plus(b: Emit, value: Value, g: Value, *, relu: bool = True) -> Value:
    """Grad-CAM++: α_k = Σ_yx g² / (2 g² + g³ Σ_yx A_k) ReLU(g), with g = ∂f/∂A; 0 where the denominator is 0."""
    axes = _spatial(value)
    square = b.Mul(g, g)
    total = b.ReduceSum(value, axes, keepdims=1)
    denominator = b.Add(b.Mul(square, 2.0), b.Mul(b.Mul(square, g), total))
    defined = b.Not(b.Equal(denominator, 0.0))
    share = b.Where(defined, b.Div(square, b.Where(defined, denominator, 1.0)), 0.0)
    weights = b.ReduceSum(b.Mul(share, b.Relu(g)), axes, keepdims=1)
    return _summed(b, b.Mul(weights, value), relu, "sum")


@readout
def layer_cam(b: Emit, value: Value, g: Value, *, relu: bool = True) -> Value:
    """LayerCAM: ReLU(Σ_k ReLU(∂f/∂A_k) ⊙ A_k), every position weighted by its own gradient."""
    _spatial(value)
    return _summed(b, b.Mul(b.Relu(g), value), relu, "sum")


def _spatial(value: Value) -> list[int]:
    """Returns the spatial axes of a value (N, channels, spatial ...)."""
    if rank(value) < 4:
        raise MethodError(
            f"'{value.name}' has the shape {list(named_dims(value))}, without spatial axes; "
            "choose a layer of shape (N, channels, height, width): `xgraph inspect --layers` lists them"
        )
    return list(range(2, rank(value)))


def _summed(b: Emit, maps: Value, relu: bool, channels: str) -> Value:
    reduced = b.ReduceMean(maps, [1], keepdims=0) if channels == "mean" else b.ReduceSum(maps, [1], keepdims=0)
    return b.Relu(reduced) if relu else reduced


def apply(b: Emit, name: str, value: Value, g: Value, options: dict[str, Any]) -> Value:
    """Emits the readout ``name``."""
    return READOUTS[name](b, value, g, **options)
