"""Ports: a model's inputs and outputs, with the role that an input plays."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from xgraph.errors import GraphError
from xgraph.graph.shapes import named_dims

_CHANNELS = (1, 3, 4)


@dataclass(frozen=True, slots=True)
class Port:
    """A graph input or output."""

    name: str
    dtype: str
    """NumPy name, such as ``"float32"``."""
    shape: tuple[int | str, ...]
    """Static sizes, and names of dynamic ones."""
    role: str
    """``image``, ``tokens``, ``mask``, ``features``, ``signal`` or ``data``; of outputs ``output``."""

    @property
    def is_float(self) -> bool:
        """Whether it can carry a gradient."""
        return self.dtype.startswith(("float", "bfloat"))

    @property
    def channel_axis(self) -> int | None:
        """The channel axis of an image input: 1 (NCHW) or 3 (NHWC)."""
        if self.role != "image":
            return None
        return 1 if self.shape[1] in _CHANNELS or self.shape[3] not in _CHANNELS else 3

    def to_json(self) -> dict[str, Any]:
        """Returns the port as JSON data."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape), "role": self.role}


def ports(
    model: ir.Model, tokens: Collection[str], order: tuple[str, ...] = ()
) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Returns inputs and outputs.

    Args:
        model: the normalised model.
        tokens: names of the inputs that hold token ids.
        order: input names in the order of the source model.

    Raises:
        GraphError: The model has no input, or one that is not a tensor.
    """
    if not model.graph.inputs:
        raise GraphError("the model has no inputs, so there is nothing to explain it with")
    inputs = [_port(value, _role(value, tokens)) for value in model.graph.inputs]
    position = {name: i for i, name in enumerate(order)}
    inputs.sort(key=lambda port: position.get(port.name, len(position)))
    return tuple(inputs), tuple(_port(value, "output") for value in model.graph.outputs)


def _port(value: ir.Value, role: str) -> Port:
    if value.dtype is None or value.shape is None:
        raise GraphError(f"'{value.name}' is not a tensor of known type and rank; export the model with typed inputs")
    dtype = "str" if value.dtype == ir.DataType.STRING else np.dtype(value.dtype.numpy()).name
    return Port(value.name or "", dtype, named_dims(value), role)


def _role(value: ir.Value, tokens: Collection[str]) -> str:
    shape, dtype = named_dims(value), value.dtype
    if value.name in tokens:
        return "tokens"
    called_mask = "mask" in (value.name or "").lower()
    if dtype is not None and not dtype.is_floating_point():
        if dtype == ir.DataType.UINT8 and len(shape) == 4 and (shape[1] in _CHANNELS or shape[3] in _CHANNELS):
            return "image"
        # Beside tokens stand their masks, types and positions.
        return "mask" if len(shape) == 2 and (called_mask or tokens or dtype == ir.DataType.BOOL) else "data"
    if called_mask:
        return "mask"
    if len(shape) == 4:
        return "image"
    return {2: "features", 3: "signal"}.get(len(shape), "data")
