"""Which values numbers flow through: from what to an output, and where what integers stand for becomes float."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from xgraph.graph.operands import operands
from xgraph.graph.shapes import is_float

_QUANTISED = ("DequantizeLinear",)
"""Here integers stand for numbers, and a gradient passes straight through."""


def carriers(model: ir.Model, output: str) -> set[str]:
    """Returns the names of the values from which a path of floats leads to ``output``, which is one of them.

    What is rounded to integers on its way, or only asked for its shape, has no gradient.
    """
    found = {output}
    for node in reversed(model.graph):
        if any(value.name in found for value in node.outputs):
            read = [value for value in operands(node) if value is not None]
            found.update(value.name or "" for value in read if _may_carry(value) or node.op_type in _QUANTISED)
    return found


def first_float(model: ir.Model, inputs: Collection[str]) -> str | None:
    """Returns the name of the first float value that is computed from one of ``inputs``, or None."""
    live = set(inputs)
    for node in model.graph:
        if not any(value is not None and value.name in live for value in operands(node)):
            continue
        if node.op_type not in ("Shape", "Size"):
            for value in node.outputs:
                if is_float(value):
                    return value.name
                live.add(value.name or "")
    return None


def _may_carry(value: ir.Value) -> bool:
    return value.dtype is None or is_float(value)
