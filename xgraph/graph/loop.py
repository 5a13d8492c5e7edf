"""Running a whole graph several times inside another one, and adding up what it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from xgraph.graph.emit import Emit
from xgraph.graph.splice import clean

_PREFIX = "xg/step/"


def sum_over_steps(
    b: Emit,
    step: ir.Model,
    bound: Mapping[str, ir.Value],
    varying: Mapping[str, np.ndarray],
    results: Sequence[tuple[str, ir.Value]],
    weights: np.ndarray,
) -> list[ir.Value]:
    """Emits a Loop that runs ``step`` once per entry of ``weights`` and returns Σ weight · result.

    Args:
        b: the graph that gets the loop; the weights of ``step`` are found in it by name.
        step: the graph to run; it is taken apart.
        bound: inputs of ``step`` that stay the same -> values of the outer graph.
        varying: inputs of ``step`` that change -> their values, first axis = steps.
        results: outputs of ``step`` to add up, each with an outer value of its shape.
        weights: one per step.
    """
    count = ir.Value(name=f"{_PREFIX}i", shape=ir.Shape([]), type=ir.TensorType(ir.DataType.INT64))
    going = ir.Value(name=f"{_PREFIX}go", shape=ir.Shape([]), type=ir.TensorType(ir.DataType.BOOL))
    sums = [
        ir.Value(name=f"{_PREFIX}sum_{k}", shape=like.shape, type=ir.TensorType(ir.DataType.FLOAT))
        for k, (_, like) in enumerate(results)
    ]
    graph = step.graph
    inner = Emit(step)
    outputs = {value.name: value for value in graph.outputs}
    replacements = dict(bound)
    for name, table in varying.items():
        replacements[name] = inner.Gather(b.constant(table), count, axis=0)
    last = []
    for (name, _), total in zip(results, sums, strict=True):
        weight = inner.Gather(b.constant(weights.astype(np.float32)), count, axis=0)
        last.append(inner.Add(total, inner.Mul(weight, outputs[name])))
    still = inner.Identity(going)
    for value in list(graph.inputs):
        value.replace_all_uses_with(replacements[value.name or ""])
    _share_weights(b, graph)
    graph.outputs.clear()
    graph.outputs.extend([still, *last])
    clean(step)
    graph.outputs.clear()
    nodes = list(graph)
    graph.remove(nodes)
    body = ir.Graph(
        inputs=[count, going, *sums],
        outputs=[still, *last],
        nodes=nodes,
        opset_imports=dict(b.model.opset_imports),
        name="step",
    )
    for node in body.all_nodes():
        node.name = f"{_PREFIX}{node.name}"
    own = [value for node in body.all_nodes() for value in node.outputs]
    for value in [*own, *(value for inner in body.subgraphs() for value in inner.inputs)]:
        value.name = f"{_PREFIX}{value.name}"
        # Noted for one row per position; in the loop positions and baselines have one row for all. Scalars have no
        # rows, and ONNX Runtime asks for the shape of what a Loop counts.
        if value.shape is not None and len(value.shape) > 0:
            value.shape = None
    zeros = [b.Expand(np.zeros((), np.float32), b.Shape(like)) for _, like in results]
    steps, go = b.constant(np.asarray(len(weights), np.int64)), b.constant(np.asarray(True))
    return list(
        b.op("Loop", [steps, go, *zeros], {"body": body}, outputs=len(results), like=[like for _, like in results])
    )


def _share_weights(b: Emit, graph: ir.Graph) -> None:
    """Lets the nodes of ``graph`` use the outer graph's weights; constants of its own move there."""
    for name, value in list(graph.initializers.items()):
        outer = b.graph.initializers.get(name)
        tensor = value.const_value
        if outer is None or name.startswith("xg/"):
            outer = b.constant(tensor.numpy()) if tensor is not None else value
        value.replace_all_uses_with(outer)
        del graph.initializers[name]
