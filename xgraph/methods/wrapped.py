"""Wrapping any method that is one backward pass: what it computes, at perturbed inputs, averaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from xgraph.errors import MethodError
from xgraph.methods.registry import create, method_class
from xgraph.plan import Plan, Wrt
from xgraph.sampling import Once

if TYPE_CHECKING:
    from xgraph.model import Model
    from xgraph.result import Kind
    from xgraph.target import Target


def base_plan(name: str, parameters: Mapping[str, Any], model: Model, target: Target) -> Plan:
    """Returns the plan of the method ``name`` with those ``parameters`` that were given.

    Raises:
        MethodError: The method has no such parameter, or is more than one backward pass.
    """
    known = {field.name for field in fields(method_class(name))}
    given = {key: value for key, value in parameters.items() if value is not None}
    for key in given:
        if key not in known:
            raise MethodError(
                f"{key}={given[key]!r} does not fit the base method '{name}', which has no such parameter"
            )
    plan = create(name, given).plan(model, target)
    stage = plan.stages[-1]
    if len(plan.stages) > 1 or not isinstance(stage.sampler, Once) or stage.recipe.book is None:
        raise MethodError(f"'{name}' is not one backward pass, so it cannot be the base of another method")
    return plan


def wrapped_kind(name: str) -> Kind:
    """Returns the kind of the method ``name`` as it is without parameters."""
    return create(name, {}).kind


def on_embeddings(at: tuple[Wrt, ...]) -> bool:
    """Tells whether what is perturbed are token embeddings, where InterpretDL computes something of its own."""
    return all(wrt.kind == "embedding" for wrt in at)


def channel_axes(model: Model, at: tuple[Wrt, ...]) -> tuple[int, ...]:
    """Returns the channel axis of each value: 1, but for images whose channels come last."""
    axes = {port.name: port.channel_axis for port in model.inputs}
    return tuple((axes.get(wrt.name) or 1) if wrt.kind == "input" else 1 for wrt in at)


def places(model: Model, at: str | None, output: str | None = None) -> tuple[Wrt, ...]:
    """Returns the values that are perturbed; by default what is explained of ``output`` by default."""
    return tuple(place.wrt for place in model.resolve_wrt(at, output))
