"""What can be computed once is computed at import, and every constant is an initializer."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator
from onnx_ir.passes import common

from xgraph.graph.io import opset
from xgraph.graph.normalise.replace import to_initializer
from xgraph.graph.prune import remove_unused

SMALL_BYTES = 1 << 16
"""Results up to this size are always kept; larger ones only where they replace their operands."""
_EXPANDING = frozenset({"ConstantOfShape", "Expand", "Tile", "EyeLike", "OneHot", "Range", "Pad"})
_NEVER = frozenset({
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Dropout",
    "DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear", "If", "Loop", "Scan", "Optional",
    "OptionalGetElement", "OptionalHasElement", "SequenceAt", "SequenceConstruct", "SequenceEmpty",
    "ConcatFromSequence", "SplitToSequence",
    # Loops over pixels in Python: the reference implementation takes up to a millisecond for each.
    "GridSample", "Resize", "Upsample",
})  # fmt: skip


def lift_constants(model: ir.Model) -> None:
    """Turns every Constant node into an initializer of the main graph, in place; their names stay if they are free.

    Bodies have no initializers of their own afterwards: they capture them. Equal initializers are never merged: every
    layer keeps its own parameters under their own names.
    """
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    _leave_bodies(model)


def _leave_bodies(model: ir.Model) -> None:
    """Moves the initializers of bodies to the main graph."""
    for body in model.graph.subgraphs():
        for i, output in enumerate(body.outputs):
            if output.is_initializer():
                result = ir.Value(name=None, shape=output.shape, type=output.type)
                body.append(ir.node("Identity", [output], outputs=[result]))
                body.outputs[i] = result
    if common.LiftSubgraphInitializersToMainGraphPass()(model).modified:
        # Another body may use the name for something else.
        common.NameFixPass()(model)


def fold_constants(model: ir.Model) -> None:
    """Computes nodes all of whose inputs are constants, in place.

    A result up to ``SMALL_BYTES`` is always folded. A larger one is folded where it does not inflate the file: all
    users of its large operands must be constant too, so that the operands go away. Random, quantising,
    resampling, control-flow and sequence operators, other domains and graph outputs are left alone.

    A folded value that stands for one weight (reshaped bias, masked embedding, repacked gates) takes over the
    name of that weight once nothing else reads it.
    """
    origin: dict[str, str] = {}
    for graph in list(model.graphs()):
        _fold(graph, model, origin)
    _leave_bodies(model)
    remove_unused(model)
    _restore_weight_names(model.graph, origin)


def _fold(graph: ir.Graph, model: ir.Model, origin: dict[str, str]) -> None:
    constant = _constant_nodes(graph)
    for node in list(graph):
        if node not in constant or any(i is not None and not _is_constant(i) for i in node.inputs):
            continue
        if not _worth_folding(node, constant):
            continue
        arrays = _evaluate(node, model)
        if arrays is None:
            continue
        source = _largest_operand(node)
        for output, array in zip(list(node.outputs), arrays, strict=True):
            if not output.uses():
                continue
            name = output.name or ""
            to_initializer(output, ir.tensor(array, name=name))
            if source is not None:
                origin[name] = origin.get(source, source)


def _constant_nodes(graph: ir.Graph) -> set[ir.Node]:
    found: set[ir.Node] = set()
    for node in graph:
        if node.domain or node.op_type in _NEVER or len([o for o in node.outputs if o.uses()]) > 1:
            continue
        if any(output.is_graph_output() for output in node.outputs):
            continue
        if any(isinstance(a.value, ir.Graph) for a in node.attributes.values()):
            continue
        if all(i is None or _is_constant(i) or i.producer() in found for i in node.inputs):
            found.add(node)
    return found


def _is_constant(value: ir.Value) -> bool:
    return value.const_value is not None and value.is_initializer() and not value.is_graph_input()


def _worth_folding(node: ir.Node, constant: set[ir.Node]) -> bool:
    if node.op_type in _EXPANDING:
        # The size of the result may depend on values; never build it before knowing that it is small.
        size = _expanded_bytes(node)
        return size is not None and size <= SMALL_BYTES
    large = [i for i in node.inputs if i is not None and i.const_value.nbytes > SMALL_BYTES]  # type: ignore[union-attr]
    return all(user in constant for value in large for user, _ in value.uses())


def _expanded_bytes(node: ir.Node) -> int | None:
    operands = [None if i is None else i.const_value for i in node.inputs]
    if node.op_type == "ConstantOfShape" and operands[0] is not None:
        return int(np.prod(operands[0].numpy().astype(np.float64))) * 8
    if node.op_type == "Expand" and operands[0] is not None and operands[1] is not None:
        shape = np.broadcast_shapes(operands[0].shape.numpy(), tuple(int(d) for d in operands[1].numpy()))
        return int(np.prod(shape, dtype=np.float64)) * operands[0].dtype.itemsize  # type: ignore[return-value]
    if node.op_type == "Tile" and operands[0] is not None and operands[1] is not None:
        return int(operands[0].nbytes * np.prod(operands[1].numpy().astype(np.float64)))
    if node.op_type == "Range" and all(o is not None for o in operands):
        start, limit, delta = (float(o.numpy().item()) for o in operands)  # type: ignore[union-attr]
        return int(max(0.0, (limit - start) / delta) + 1) * 8 if delta else None
    biggest = max((o.nbytes for o in operands if o is not None), default=0)
    return biggest * 16


def _evaluate(node: ir.Node, model: ir.Model) -> list[np.ndarray] | None:
    """The node's outputs, or None where the reference implementation does not have it at this opset."""
    feeds = {i.name or "": i.const_value.numpy() for i in node.inputs if i is not None}  # type: ignore[union-attr]
    if any(array.dtype.kind not in "biufc" for array in feeds.values()):
        return None  # strings, and ml_dtypes (bfloat16, float8) that NumPy's functions do not know
    version = min(opset(model), onnx.defs.onnx_opset_version())
    if not onnx.defs.has(node.op_type, ""):
        return None
    proto = onnx.ModelProto(ir_version=8)
    proto.opset_import.add(domain="", version=version)
    proto.graph.name = "fold"
    proto.graph.node.append(ir.to_proto(node))
    proto.graph.input.extend(onnx.ValueInfoProto(name=name) for name in feeds)
    proto.graph.output.extend(onnx.ValueInfoProto(name=o.name or "") for o in node.outputs if o.name)
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(proto).run(None, feeds)
    except (NotImplementedError, RuntimeError, TypeError, ValueError, IndexError, AttributeError):
        # Not implemented, or an invalid node: shape inference or the checker will say so with its name.
        return None
    arrays = [np.asarray(result) for result in results]
    for array, output in zip(arrays, node.outputs, strict=True):
        if output.dtype is not None and array.dtype != output.dtype.numpy():
            return None
    return arrays


def _largest_operand(node: ir.Node) -> str | None:
    values = [i for i in node.inputs if i is not None and i.const_value is not None]
    floats = [v for v in values if v.const_value.dtype.is_floating_point()]  # type: ignore[union-attr]
    largest = max(floats, key=lambda v: v.const_value.size, default=None)  # type: ignore[union-attr]
    return largest.name if largest is not None and largest.const_value.size > 1 else None  # type: ignore[union-attr]


def _restore_weight_names(graph: ir.Graph, origin: dict[str, str]) -> None:
    claims: dict[str, list[str]] = {}
    for name, source in origin.items():
        if name in graph.initializers and source not in graph.initializers:
            claims.setdefault(source, []).append(name)
    taken = _names(graph)
    for source, names in claims.items():
        if len(names) == 1 and source not in taken:
            graph.initializers[names[0]].name = source


def _names(graph: ir.Graph) -> set[str]:
    values: Iterable[ir.Value] = (*graph.inputs, *graph.initializers.values(), *(o for n in graph for o in n.outputs))
    return {value.name for value in values if value.name}
