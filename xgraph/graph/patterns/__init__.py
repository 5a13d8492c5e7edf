"""Structural recognisers: what a group of nodes of a normalised graph is.

One file per pattern; the module docstring is the pattern. A recogniser anchors on the node that distinguishes the
pattern and walks from there. It returns a match, a ``NearMiss`` with the reason why not, or None where the
anchor says nothing.
"""

from __future__ import annotations

from xgraph.graph.patterns.embedding import Embedding, find_embeddings
from xgraph.graph.patterns.gelu import Gelu, match_gelu
from xgraph.graph.patterns.hard_swish import HardSwish, match_hard_swish
from xgraph.graph.patterns.head import Head, find_heads
from xgraph.graph.patterns.layer_norm import LayerNorm, match_layer_norm
from xgraph.graph.patterns.linear import Linear, linear_that_returns, match_linear
from xgraph.graph.patterns.match import NearMiss
from xgraph.graph.patterns.pooled_head import find_pooled_maps
from xgraph.graph.patterns.residual import Residual, find_residuals
from xgraph.graph.patterns.silu import Silu, match_silu

__all__ = [
    "Embedding",
    "Gelu",
    "HardSwish",
    "Head",
    "LayerNorm",
    "Linear",
    "NearMiss",
    "Residual",
    "Silu",
    "find_embeddings",
    "find_heads",
    "find_pooled_maps",
    "find_residuals",
    "linear_that_returns",
    "match_gelu",
    "match_hard_swish",
    "match_layer_norm",
    "match_linear",
    "match_silu",
]
