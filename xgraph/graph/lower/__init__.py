"""Lowering: every adjoint operator becomes standard ONNX, in the form that suits where the graph will run.

A lowering is ``(b, s, profile) -> value``: it emits nodes that compute the output of the adjoint node ``s``. The
table below is the whole registry; adding an adjoint operator is one file and one line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedOpsetsPass

from xgraph.errors import GraphError
from xgraph.graph.emit import ADJOINT_DOMAIN, FROM, Emit
from xgraph.graph.lower.average_pool_grad import average_pool_grad
from xgraph.graph.lower.conv_input_grad import conv_input_grad
from xgraph.graph.lower.fold_scale import fold_scale
from xgraph.graph.lower.half import widen_scatters
from xgraph.graph.lower.max_pool_grad import max_pool_grad
from xgraph.graph.lower.resize_grad import resize_grad
from xgraph.graph.lower.step_mul import step_mul
from xgraph.graph.operands import bodies
from xgraph.graph.prune import remove_unused
from xgraph.graph.site import Site

Lowering: TypeAlias = Callable[[Emit, Site, str], ir.Value]

PROFILES = ("portable", "cpu", "openvino", "cuda")
"""Where a lowered graph will run. ``portable`` runs everywhere and keeps to what every runtime does right."""

_LOWERINGS: Mapping[str, Lowering] = {
    "AveragePoolGrad": average_pool_grad,
    "ConvInputGrad": conv_input_grad,
    "MaxPoolGrad": max_pool_grad,
    "ResizeGrad": resize_grad,
    "StepMul": step_mul,
}


def lower(model: ir.Model, profile: str = "portable") -> None:
    """Replaces every adjoint operator of ``model``, in bodies too, by standard ONNX, in place.

    Graph outputs keep their names, forward values are not touched, and what is emitted keeps the name of the
    forward node it was derived from. Nodes and weights that nothing needs any more are removed.

    Args:
        model: a model whose shapes are annotated.
        profile: one of ``PROFILES``.

    Raises:
        GraphError: The profile or an adjoint operator is not known.
        ShapeUnknownError: A lowering needs a static size.
    """
    if profile not in PROFILES:
        raise GraphError(f"no lowering profile '{profile}'; there are {', '.join(PROFILES)}")
    b = Emit(model)
    if profile != "portable":
        fold_scale(b)
    _lower(b, profile)
    model.graph.sort()
    remove_unused(model)
    RemoveUnusedOpsetsPass()(model)


def _lower(b: Emit, profile: str) -> None:
    """Lowers the nodes of the graph that ``b`` writes, and of the bodies inside it."""
    for node in list(b.graph):
        for body in bodies(node):
            _lower(b.inside(body), profile)
        if node.domain != ADJOINT_DOMAIN:
            continue
        lowering = _LOWERINGS.get(node.op_type)
        if lowering is None:
            raise GraphError(f"no lowering for the adjoint operator '{node.op_type}' ('{node.name}')")
        with b.derived_from(node):
            _replace(b, node, lowering(b, Site(node), profile))
    widen_scatters(b)


def _replace(b: Emit, node: ir.Node, value: ir.Value) -> None:
    """Puts ``value`` where the output of ``node`` was; the node stays, unused, until the final clean-up.

    It stays because ``Emit`` recognises equal nodes by the identity of their operands.
    """
    old = node.outputs[0]
    if old.is_graph_output():
        shared = value.is_graph_output() or value.producer() is None or FROM not in _metadata(value)
        if shared:
            value = b.Identity(value)
        # Another graph output may be the same value under another name.
        if value.is_graph_output():
            value = b.op("Identity", [value], {}, like=[old])[0]
        name, old.name = old.name, f"{old.name}/adjoint"
        value.name = name
    if old.shape is not None:
        value.shape, value.type = old.shape, old.type
    ir.convenience.replace_all_uses_with(old, value, replace_graph_outputs=True)


def _metadata(value: ir.Value) -> Mapping[str, str]:
    producer = value.producer()
    return {} if producer is None else producer.metadata_props


__all__ = ["PROFILES", "Lowering", "lower"]
