"""Site: one forward node as a rule sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from xgraph.errors import GraphError
from xgraph.graph.operands import operands


class Site:
    """A forward node, read-only.

    Attributes:
        op: operator name at the model's opset, with its domain in front unless it is the default one.
        x: inputs; None stands for an omitted optional input. Behind them, what the node's bodies capture.
        y: outputs.
        wants: per input, whether it lies on a path to what is asked for.
    """

    def __init__(self, node: ir.Node, wants: Sequence[bool] | None = None) -> None:
        self.node = node
        self.op = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
        self.x: tuple[ir.Value | None, ...] = operands(node)
        self.y: tuple[ir.Value, ...] = tuple(node.outputs)
        self.wants: tuple[bool, ...] = tuple(wants) if wants is not None else (True,) * len(self.x)

    def input(self, i: int) -> ir.Value:
        """Returns input ``i``.

        Raises:
            GraphError: It is omitted.
        """
        value = self.x[i] if i < len(self.x) else None
        if value is None:
            raise GraphError(f"{self.op} '{self.node.name}' has no input {i}; the model is not valid ONNX")
        return value

    def has(self, i: int) -> bool:
        """Tells whether input ``i`` is there."""
        return i < len(self.x) and self.x[i] is not None

    def const(self, i: int) -> np.ndarray | None:
        """Returns the compile-time value of input ``i``, or None if it is computed or omitted."""
        value = self.x[i] if i < len(self.x) else None
        tensor = None if value is None else ir.convenience.get_const_tensor(value)
        return None if tensor is None else tensor.numpy()

    def attr(self, name: str, default: Any = None) -> Any:
        """Returns the value of an attribute (lists for list types), or ``default`` where it is not given."""
        attribute = self.node.attributes.get(name)
        if attribute is None:
            return default
        return list(attribute.value) if isinstance(attribute.value, tuple) else attribute.value

    def ints(self, name: str, default: Sequence[int]) -> list[int]:
        """Returns an attribute that is a list of integers."""
        return [int(item) for item in self.attr(name, default)]

    def attributes(self) -> dict[str, Any]:
        """Returns all attributes by name."""
        return {name: self.attr(name) for name in self.node.attributes}

    def __repr__(self) -> str:
        return f"Site({self.op} '{self.node.name}')"
