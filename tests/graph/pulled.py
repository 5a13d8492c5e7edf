"""Gradients of small models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from xgraph.graph.emit import Emit
from xgraph.graph.lower import lower
from xgraph.graph.walk import pull
from xgraph.rules.vjp import vjp

Run = Callable[[ir.Model, Mapping[str, np.ndarray]], Sequence[np.ndarray]]


def gradients(
    model: ir.Model, run: Run, feeds: Mapping[str, np.ndarray], *names: str, seed: str = "g"
) -> Sequence[np.ndarray]:
    """Returns the gradients of the sum of the only output weighted by the feed ``seed``."""
    b = Emit(model)
    (y,) = model.graph.outputs
    weight = ir.Value(name=seed, shape=y.shape, type=y.type)
    model.graph.inputs.append(weight)
    values = {value.name: value for value in (*model.graph.inputs, *model.graph.initializers.values())}
    found = pull(b, list(model.graph), vjp.lookup, {y: weight}, [values[name] for name in names])
    model.graph.outputs.extend(b.Identity(value) for value in found)
    lower(model, "portable")
    return run(model, feeds)[1:]
