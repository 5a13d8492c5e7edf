"""Samples that are fed once and repeated in the graph: ``xg_row`` says which sample each run is of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from xgraph.errors import GraphError
from xgraph.feeds import ROW
from xgraph.graph.emit import Emit
from xgraph.graph.shapes import dims
from xgraph.graph.splice import add_input

SAMPLES = "xg_samples"
"""Name of the axis of samples, where there are fewer of them than runs."""


def repeat_rows(b: Emit, values: Sequence[ir.Value]) -> tuple[ir.Value, list[ir.Value]]:
    """Repeats samples by ``xg_row`` as late as ``values`` allow.

    Where a layer is masked, what leads to it runs once for each sample, not for each mask; where that cannot be told
    apart safely, and for inputs, the samples themselves are repeated.

    Returns:
        ``xg_row``, and ``values`` with one row for each run.
    """
    inputs = list(b.graph.inputs)
    shapes = [dims(value) for value in inputs]
    if any(not shape for shape in shapes):
        raise GraphError("an input of the model has no axis of samples, so its samples cannot be masked")
    batch = (shapes[0] or ())[0]
    border = inputs if any(value in inputs for value in values) else _border(b.graph, values, batch)
    # What leads to a layer runs for other numbers of samples than a fixed batch allows.
    if border is None or (isinstance(batch, int) and batch > 1):
        border = inputs
    row = add_input(b.model, ROW, np.int64, [batch])
    repeated = {value: _repeat(b, value, row) for value in border}
    before = [*inputs, *(value for node in _leading(b.graph, border) for value in node.outputs)]
    for value in before:
        shape = dims(value)
        if shape and shape[0] == batch:
            value.shape = ir.Shape([SAMPLES, *shape[1:]])
    b.graph.sort()
    return row, [repeated.get(value, value) for value in values]


def gather(b: Emit, value: ir.Value, row: ir.Value) -> ir.Value:
    """Returns for each run its sample's row of ``value``."""
    return b.Gather(value, row, axis=0)


def _repeat(b: Emit, value: ir.Value, row: ir.Value) -> ir.Value:
    shape = value.shape
    users = [(use.node, use.idx) for use in value.uses()]
    repeated = b.Gather(value, row, axis=0)
    repeated.shape = shape
    for node, index in users:
        node.replace_input_with(index, repeated)
    return repeated


def _border(graph: ir.Graph, values: Sequence[ir.Value], batch: int | str | None) -> list[ir.Value] | None:
    """Returns the values that lead from before ``values`` to behind them; None where one of them has no samples."""
    behind: set[ir.Value] = set(values)
    users: list[ir.Node] = []
    for node in graph:
        if any(value in behind for value in node.inputs) or any(value in behind for value in _captured(node)):
            behind.update(node.outputs)
            users.append(node)
    border = list(values)
    for node in users:
        for value in (*node.inputs, *_captured(node)):
            if value is None or value in behind or value.is_initializer() or value in border:
                continue
            producer = value.producer()
            if producer is not None and producer.op_type == "Constant":
                continue
            shape = dims(value)
            if not shape or shape[0] != batch or value in _captured(node):
                return None
            border.append(value)
    return border


def _captured(node: ir.Node) -> list[ir.Value]:
    """Returns what the bodies of a node read from around it."""
    found = []
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            for inner in attribute.as_graph().all_nodes():
                found += [value for value in inner.inputs if value is not None and value.graph is not inner.graph]
    return found


def _leading(graph: ir.Graph, border: Sequence[ir.Value]) -> list[ir.Node]:
    """Returns the nodes that ``border`` is computed by."""
    wanted = {value.producer() for value in border} - {None}
    for node in reversed(list(graph)):
        if node in wanted:
            wanted.update(value.producer() for value in node.inputs if value is not None)
    return [node for node in graph if node in wanted]
