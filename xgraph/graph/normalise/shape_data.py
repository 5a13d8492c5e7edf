"""What integer values hold when they are computed from shapes, in terms of named dimensions.

A content is one entry per element: an int, or the text of a dimension (``"batch"``, ``"2*sequence"``). Named
dimensions are at least 1: no model is run on nothing.
"""

from __future__ import annotations

import json

import onnx_ir as ir
import onnx_shape_inference as inference

Entry = int | str
_LONGEST = 64


class ShapeData:
    """Contents of the integer values of one graph, found from shape inference's notes and a few rules more."""

    def __init__(self, symbols: frozenset[str]) -> None:
        """Args: ``symbols`` are the names of input dimensions, known to be positive."""
        self._symbols = symbols
        self._known: dict[ir.Value, tuple[Entry, ...] | None] = {}

    def of(self, value: ir.Value | None) -> tuple[Entry, ...] | None:
        """Returns the content of an integer or bool value of rank 0 or 1, or None."""
        if value is None or value.dtype is None or value.dtype.is_floating_point():
            return None
        if value not in self._known:
            self._known[value] = None  # a cycle cannot be, but a deep chain may ask again
            self._known[value] = self._find(value)
        return self._known[value]

    def _find(self, value: ir.Value) -> tuple[Entry, ...] | None:
        tensor = value.const_value
        if tensor is not None:
            if len(tensor.shape) > 1 or tensor.size > _LONGEST or tensor.dtype == ir.DataType.STRING:
                return None
            return tuple(int(item) for item in tensor.numpy().reshape(-1))
        node = value.producer()
        if node is None or node.domain or value.shape is None or len(value.shape) > 1:
            return None
        found = self._noted(value)
        if found is not None and not any(isinstance(e, str) and "_d" in e for e in found):
            return found
        return self._derived(node) or found

    def _noted(self, value: ir.Value) -> tuple[Entry, ...] | None:
        text = value.metadata_props.get(inference.SYM_DATA_KEY)
        if text is None:
            return None
        return tuple(_entry(item) for item in json.loads(text))

    def _derived(self, node: ir.Node) -> tuple[Entry, ...] | None:
        """Max, Min, Equal, Where and what merely passes contents on: what exporters compute shapes with."""
        if (
            node.op_type in ("Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape")
            and node.outputs[0].dtype is not None
        ):
            return self.of(node.inputs[0])
        if node.op_type == "Concat":
            parts = [self.of(i) for i in node.inputs]
            return None if any(p is None for p in parts) else tuple(e for p in parts for e in p or ())
        if node.op_type not in ("Max", "Min", "Equal", "Where"):
            return None
        operands = [self.of(i) for i in node.inputs]
        if any(o is None for o in operands):
            return None
        length = max(len(o or ()) for o in operands)
        if any(len(o or ()) not in (1, length) for o in operands):
            return None
        result: list[Entry] = []
        for i in range(length):
            entry = self._combine(node.op_type, [(o or ())[i if len(o or ()) == length else 0] for o in operands])
            if entry is None:
                return None
            result.append(entry)
        return tuple(result)

    def _combine(self, op: str, entries: list[Entry]) -> Entry | None:
        if op == "Where":
            return entries[1] if entries[0] == 1 else entries[2] if entries[0] == 0 else None
        distinct = list(dict.fromkeys(entries))
        numbers = [e for e in distinct if isinstance(e, int)]
        names = [e for e in distinct if isinstance(e, str)]
        if op == "Equal":
            if len(distinct) == 1:
                return 1
            if not names or (len(names) == 1 and names[0] in self._symbols and max(numbers) < 1):
                return 0
            return None
        if not names:
            return max(numbers) if op == "Max" else min(numbers)
        if len(names) > 1 or names[0] not in self._symbols or max(numbers, default=1) > 1:
            return None
        if op == "Max":
            return names[0]
        return min(numbers, default=names[0])


def _entry(item: int | str) -> Entry:
    try:
        return int(item)
    except ValueError:
        return str(item)
