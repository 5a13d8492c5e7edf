"""Folds factors per channel into the weights of adjoint convolutions.

The gradient of a BatchNormalization is ``g * factor[1, C, 1, 1]``. Beside an adjoint convolution the factor can go
into its weight: ``W^T (f g) = (f W)^T g`` where the convolution reads it, and ``f (W^T g) = (W f)^T g`` where the
convolution produced it (a StepMul between them commutes with it). A pass over the whole image is saved, and the
blocked layout, which has no kernel for a broadcast Mul, is not left.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from xgraph.graph.emit import ADJOINT_DOMAIN, Emit
from xgraph.graph.shapes import dims
from xgraph.graph.site import Site


def fold_scale(b: Emit) -> None:
    """Folds every constant factor per channel that only an adjoint convolution sees, in place."""
    for node in list(b.graph):
        if node.domain != "" or node.op_type != "Mul" or not node.metadata_props:
            continue
        parts = _factor(node)
        if parts is None:
            continue
        g, factor = parts
        with b.derived_from(node):
            _ = _into_reader(b, node, g, factor) or _into_producer(b, node, g, factor)


def _factor(node: ir.Node) -> tuple[ir.Value, np.ndarray] | None:
    """Returns (g, factor[C]) if ``node`` scales the channels of a ``g`` of the same shape by constants."""
    for g, other in (node.inputs, node.inputs[::-1]):
        tensor = None if other is None else ir.convenience.get_const_tensor(other)
        if g is None or tensor is None or g.shape is None or len(tensor.shape) != len(g.shape):
            continue
        shape = [int(size) for size in tensor.shape.numpy()]
        if len(shape) >= 3 and shape[1] == g.shape[1] and all(s == 1 for i, s in enumerate(shape) if i != 1):
            return g, tensor.numpy().reshape(-1)
    return None


def _only_use(value: ir.Value) -> ir.Node | None:
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def _is_adjoint(node: ir.Node | None, op: str) -> bool:
    return node is not None and node.domain == ADJOINT_DOMAIN and node.op_type == op


def _into_reader(b: Emit, node: ir.Node, g: ir.Value, factor: np.ndarray) -> bool:
    """Scales the output channels of the weight that reads the product."""
    reader = _only_use(node.outputs[0])
    if reader is None or not _is_adjoint(reader, "ConvInputGrad") or reader.inputs[0] is not node.outputs[0]:
        return False
    weight = Site(reader).input(1)
    sizes = dims(weight)
    if sizes is None or sizes[0] != len(factor):
        return False
    scaled = b.Mul(weight, factor.reshape(-1, *[1] * (len(sizes) - 1)))
    reader.replace_input_with(0, g)
    reader.replace_input_with(1, scaled)
    return True


def _into_producer(b: Emit, node: ir.Node, g: ir.Value, factor: np.ndarray) -> bool:
    """Scales the input channels of the weight that produced ``g``, directly or through a StepMul."""
    producer = g.producer()
    if producer is None or _only_use(g) is not node or node.outputs[0].is_graph_output():
        return False
    if _is_adjoint(producer, "StepMul"):
        masked = Site(producer).input(0)
        producer, before = masked.producer(), producer
        if producer is None or _only_use(masked) is not before:
            return False
    if not _is_adjoint(producer, "ConvInputGrad"):
        return False
    site = Site(producer)
    weight, group = site.input(1), int(site.attr("group", 1))
    sizes = dims(weight)
    if sizes is None or not isinstance(sizes[0], int) or not isinstance(sizes[1], int):
        return False
    per_group = np.repeat(factor.reshape(group, 1, sizes[1]), sizes[0] // group, axis=1)
    scaled = b.Mul(weight, per_group.reshape(sizes[0], sizes[1], *[1] * (len(sizes) - 2)))
    producer.replace_input_with(1, scaled)
    ir.convenience.replace_all_uses_with(node.outputs[0], g)
    return True
