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
def cotangent(b: Emit, value: Value, g: Value, *, reduce: str | None = None) -> Value:
    """What arrived: ∂f/∂value, in the shape of the value; ``reduce="sum"`` sums the last axis."""
    return _reduced(b, g, reduce)


@readout
def product(b: Emit, value: Value, g: Value, *, reduce: str | None = None) -> Value:
    """Value ⊙ ∂f/∂value, in the shape of the value; ``reduce="sum"`` sums the last axis."""
    return _reduced(b, b.Mul(value, g), reduce)


@readout
def cam(b: Emit, value: Value, g: Value, *, relu: bool = True) -> Value:
    """ReLU(Σ_k mean_yx(∂f/∂A_k) A_k) over channels k of A (N, K, spatial ...): (N, spatial ...)."""
    if rank(value) < 4:
        raise MethodError(
            f"'{value.name}' has the shape {list(named_dims(value))}, without spatial axes; "
            "choose a layer of shape (N, channels, height, width): `xgraph inspect --layers` lists them"
        )
    weights = b.ReduceMean(g, list(range(2, rank(value))), keepdims=1)
    total = b.ReduceSum(b.Mul(weights, value), [1], keepdims=0)
    return b.Relu(total) if relu else total


def _reduced(b: Emit, value: Value, reduce: str | None) -> Value:
    if reduce is None:
        return value
    if reduce != "sum":
        raise MethodError(f"reduce='{reduce}' is not known; it is 'sum' or None")
    return b.ReduceSum(value, [-1], keepdims=0)


def apply(b: Emit, name: str, value: Value, g: Value, options: dict[str, Any]) -> Value:
    """Emits the readout ``name``."""
    return READOUTS[name](b, value, g, **options)
