"""Cloning, adding inputs and outputs, and cleaning up a graph that was rewritten."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit
from xgraph.graph.prune import remove_unused


def values_by_name(model: ir.Model) -> dict[str, ir.Value]:
    """Returns inputs and node outputs by name."""
    values = {value.name: value for value in model.graph.inputs}
    values.update((value.name, value) for node in model.graph for value in node.outputs)
    return {name: value for name, value in values.items() if name}


def add_input(model: ir.Model, name: str, dtype: type[np.generic], shape: Sequence[int | str | None]) -> ir.Value:
    """Adds a graph input and returns it.

    Raises:
        GraphError: The model has a value of this name already.
    """
    if name in values_by_name(model) or name in model.graph.initializers:
        raise GraphError(f"the model has a value named '{name}', which xgraph needs for itself; rename it")
    value = ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.from_numpy(np.dtype(dtype))))
    model.graph.inputs.append(value)
    return value


def add_output(b: Emit, value: ir.Value, name: str) -> ir.Value:
    """Makes ``value`` a graph output called ``name`` and returns that output."""
    if value.producer() is None or value in b.graph.outputs or not (value.name or "").startswith("xg/"):
        value = b.Identity(value)
    value.name = name
    b.graph.outputs.append(value)
    return value


def clean(model: ir.Model) -> None:
    """Removes what no output needs, and sorts the graph."""
    remove_unused(model)
    model.graph.sort()
