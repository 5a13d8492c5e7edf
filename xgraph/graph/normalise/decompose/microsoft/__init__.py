"""Operators of com.microsoft, which ONNX Runtime's optimisers and quantisers leave in files; one file per family."""

from __future__ import annotations

import onnx_ir as ir

from xgraph.graph.normalise.decompose.microsoft.activation import ACTIVATIONS
from xgraph.graph.normalise.decompose.microsoft.aliases import ALIASES
from xgraph.graph.normalise.decompose.microsoft.attention import ATTENTIONS
from xgraph.graph.normalise.decompose.microsoft.blocks import PACKED
from xgraph.graph.normalise.decompose.microsoft.convolution import CONVOLUTIONS
from xgraph.graph.normalise.decompose.microsoft.group_norm import GROUP_NORMS
from xgraph.graph.normalise.decompose.microsoft.grouped_attention import GROUPED_ATTENTIONS
from xgraph.graph.normalise.decompose.microsoft.matmul import MATMULS
from xgraph.graph.normalise.decompose.microsoft.nchwc import BLOCKED, DOMAIN, refuse_blocked
from xgraph.graph.normalise.decompose.microsoft.normalisation import NORMALISATIONS
from xgraph.graph.normalise.decompose.microsoft.qlinear import QUANTISED
from xgraph.graph.normalise.decompose.microsoft.quantisers import QUANTISERS, opset_of_quantisers
from xgraph.graph.normalise.decompose.microsoft.rotary import ROTATIONS

_PLAIN = {
    **ACTIVATIONS, **ALIASES, **ATTENTIONS, **CONVOLUTIONS, **GROUPED_ATTENTIONS, **GROUP_NORMS, **MATMULS,
    **NORMALISATIONS, **PACKED, **QUANTISED, **QUANTISERS, **ROTATIONS,
}  # fmt: skip

MICROSOFT = {
    **{f"com.microsoft::{op}": decomposition for op, decomposition in _PLAIN.items()},
    **{f"{DOMAIN}::{op}": decomposition for op, decomposition in BLOCKED.items()},
}

_KEPT_IN_DEFAULT_DOMAIN = {"LayerNormalization": 17, "SimplifiedLayerNormalization": None}
"""Operators that ONNX Runtime has under the standard's name, and from which opset on the standard has them."""


def adopt_homeless(model: ir.Model) -> None:
    """Gives operators of the default domain that only ONNX Runtime knows to com.microsoft, in place.

    Its optimisers write them at any opset; converters and checkers would not know them.
    """
    version = model.opset_imports.get("", 0)
    for node in model.graph.all_nodes():
        since = _KEPT_IN_DEFAULT_DOMAIN.get(node.op_type, 0)
        if not node.domain and (since is None or version < since):
            node.domain = "com.microsoft"
            model.opset_imports.setdefault("com.microsoft", 1)


__all__ = ["MICROSOFT", "adopt_homeless", "opset_of_quantisers", "refuse_blocked"]
