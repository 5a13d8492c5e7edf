"""Composite operators are taken apart into operators of opset 18, whose meaning is stable.

One file per operator or family: its function takes ``(emit, site)`` and returns one value per output of the node.
Rules, recognisers and checkers then need to know none of them, and an old onnx never sees them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from xgraph.errors import GraphError
from xgraph.graph.emit import PART_OF, Emit
from xgraph.graph.normalise.decompose.attention import attention
from xgraph.graph.normalise.decompose.causal_conv_with_state import causal_conv_with_state
from xgraph.graph.normalise.decompose.center_crop_pad import center_crop_pad
from xgraph.graph.normalise.decompose.cum_prod import cum_prod
from xgraph.graph.normalise.decompose.flex_attention import flex_attention
from xgraph.graph.normalise.decompose.gelu import gelu
from xgraph.graph.normalise.decompose.group_normalization import group_normalization
from xgraph.graph.normalise.decompose.integers import INTEGERS
from xgraph.graph.normalise.decompose.linear_attention import linear_attention
from xgraph.graph.normalise.decompose.mean_variance_normalization import mean_variance_normalization
from xgraph.graph.normalise.decompose.microsoft import MICROSOFT, refuse_blocked
from xgraph.graph.normalise.decompose.ml import ML
from xgraph.graph.normalise.decompose.rms_normalization import rms_normalization
from xgraph.graph.normalise.decompose.rotary_embedding import rotary_embedding
from xgraph.graph.normalise.decompose.swiglu import swiglu
from xgraph.graph.normalise.decompose.swish import swish
from xgraph.graph.normalise.decompose.tensor_scatter import tensor_scatter
from xgraph.graph.normalise.infer import Reinfer
from xgraph.graph.normalise.replace import substitute
from xgraph.graph.site import Site

Decomposition = Callable[[Emit, Site], Sequence["ir.Value | None"] | None]
"""None: the node stays as it is."""

_COMPOSITE: Mapping[str, Decomposition] = {
    "Attention": attention,
    "ai.onnx.preview::FlexAttention": flex_attention,
    "CausalConvWithState": causal_conv_with_state,
    "CenterCropPad": center_crop_pad,
    "CumProd": cum_prod,
    "Gelu": gelu,
    "GroupNormalization": group_normalization,
    "LinearAttention": linear_attention,
    "MeanVarianceNormalization": mean_variance_normalization,
    "RMSNormalization": rms_normalization,
    "RotaryEmbedding": rotary_embedding,
    "SwiGLU": swiglu,
    "Swish": swish,
    "TensorScatter": tensor_scatter,
    **INTEGERS,
    **MICROSOFT,
    **ML,
}
"""By operator; those of other domains as ``"domain::Op"``. No model has them after import."""


def composites() -> frozenset[str]:
    """Returns the operators that are taken apart, those of other domains as ``"domain::Op"``."""
    return frozenset(_COMPOSITE)


def has_vendors_operators(model: ir.Model) -> bool:
    """Tells whether a model holds operators of a runtime, or on quantised integers, that are taken apart."""
    operators = {**INTEGERS, **MICROSOFT}
    return any(Site(node).op in operators for node in model.graph.all_nodes())


def decompose(model: ir.Model) -> bool:
    """Replaces composite operators, in place; returns whether there were any.

    The new nodes carry the metadata of the node they replace, and its outputs keep their names. Needs shapes: call
    ``infer_shapes`` before, and again afterwards. Shape inference knows no vendor's operators, so what comes behind
    one gets its shapes here, when that one has been replaced. Operators that are not in the table are left alone.

    Raises:
        GraphError: A variant of an operator is not supported, or a shape it needs is not known.
    """
    refuse_blocked(model, _COMPOSITE)
    if not any(Site(node).op in _COMPOSITE for node in model.graph.all_nodes()):
        return False
    model.graph.sort()
    reinfer = Reinfer(model)
    changed = False
    for node in list(model.graph.all_nodes()):
        decomposition = _COMPOSITE.get(Site(node).op)
        results = None if decomposition is None else _replace(model, node, decomposition)
        if results is not None:
            reinfer.changed(results)
            changed = True
        elif node.graph is not None:
            reinfer(node)
    if changed:
        model.graph.sort()
    return changed


def _replace(model: ir.Model, node: ir.Node, decomposition: Decomposition) -> list[ir.Value] | None:
    # A new emitter per node: values shared between two nodes could not bear the names of both.
    graph = node.graph
    assert graph is not None
    b = Emit(model).inside(graph)
    before = len(graph)
    try:
        results = decomposition(b, Site(node))
    except AttributeError as error:
        raise GraphError(f"{node.op_type} '{node.name}' cannot be taken apart: {error}") from error
    if results is None:
        return None
    emitted = list(graph)[before:]
    # What replaces the node inherits this; of a composite inside a composite the outer one counts.
    node.metadata_props.setdefault(PART_OF, f"{Site(node).op} '{node.name}'")
    substitute(node, results, emitted)
    return [value for value in results if value is not None]
