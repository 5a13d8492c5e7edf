"""How much memory a graph's activations take at once, for one sample."""

from __future__ import annotations

from math import prod

import onnx_ir as ir

from xgraph.graph.shapes import dims

_TYPICAL = {"batch": 1, "sequence": 256, "height": 224, "width": 224}
"""What dynamic axes are taken for; others count as 1."""


def peak_bytes(model: ir.Model) -> int:
    """Returns the largest sum of bytes of values alive at once when the nodes run in order.

    Every output is alive from its node to its last use. Dynamic axes are taken at a typical size, so this is an
    estimate for choosing batch sizes, not a bound.
    """
    nodes = list(model.graph)
    last_use = {value: i for i, node in enumerate(nodes) for value in node.inputs if value is not None}
    kept = set(model.graph.outputs)
    alive = peak = sum(_bytes(value) for value in model.graph.inputs)
    for i, node in enumerate(nodes):
        alive += sum(_bytes(value) for value in node.outputs)
        peak = max(peak, alive)
        dying = {value for value in node.inputs if value is not None and last_use[value] == i}
        dying.update(value for value in node.outputs if value not in last_use)
        alive -= sum(_bytes(value) for value in dying - kept if not value.is_initializer())
    return max(peak, 1)


def input_bytes(model: ir.Model) -> int:
    """Returns the bytes of one sample of the source model's inputs, dynamic axes taken as in ``peak_bytes``."""
    return sum(_bytes(value) for value in model.graph.inputs if not (value.name or "").startswith("xg_"))


def _bytes(value: ir.Value) -> int:
    shape = dims(value)
    if shape is None or value.dtype is None or value.dtype == ir.DataType.STRING:
        return 0
    sizes = (dim if isinstance(dim, int) else _TYPICAL.get(dim or "", 1) for dim in shape)
    return int(prod(sizes) * value.dtype.itemsize)
