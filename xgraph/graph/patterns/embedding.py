"""Token embedding: rows of a constant float table, picked by integers.

``Gather(W[V, d], ids, axis=0)`` where ``ids`` comes from an integer graph input through nothing but Cast, Reshape,
Squeeze, Unsqueeze, Flatten, Transpose or Slice. A padding row (``W * mask``) was folded into the table at import. The
anchor is the Gather.

Kinds: ``word`` for an input's own table; ``type`` for token types; ``position`` where the input, if there is one,
holds positions, or the indices are computed (CumSum, Range).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from xgraph.graph.patterns.match import NearMiss

EmbeddingKind = Literal["word", "type", "position"]

_KEEPS_NUMBERS = ("Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Slice", "Identity")
_TYPE = re.compile(r"type|segment|sent", re.IGNORECASE)
_POSITION = re.compile(r"pos", re.IGNORECASE)
_MOST_TYPES = 8


@dataclass(frozen=True, slots=True)
class Embedding:
    """One look-up of a table."""

    node: ir.Node
    kind: EmbeddingKind
    input: ir.Value | None
    """The integer graph input whose numbers are looked up; None where they are computed."""
    table: ir.Value
    output: ir.Value
    """The embedded tokens, ``(N, tokens, d)``."""


def find_embeddings(model: ir.Model) -> tuple[tuple[Embedding, ...], tuple[NearMiss, ...]]:
    """Returns the embeddings of a model in graph order, and the look-ups that are none."""
    found: list[Embedding] = []
    missed: list[NearMiss] = []
    for node in model.graph:
        match = match_embedding(node)
        if isinstance(match, Embedding):
            found.append(match)
        elif match is not None:
            missed.append(match)
    return tuple(found), tuple(missed)


def match_embedding(node: ir.Node) -> Embedding | NearMiss | None:
    """Returns the embedding that the Gather ``node`` is."""
    if node.domain or node.op_type != "Gather":
        return None
    table, ids = node.inputs[0], node.inputs[1]
    if table is None or ids is None or table.dtype is None or not table.dtype.is_floating_point():
        return None
    if not table.is_initializer():
        return None  # picking positions out of an activation
    if table.shape is None or len(table.shape) != 2:
        return NearMiss(node, "its table is not a matrix")
    if node.attributes.get_int("axis", 0) % 2 != 0:
        return NearMiss(node, "it picks columns, not rows")
    source = _integer_input(ids)
    kind: EmbeddingKind = "position" if source is None else _kind(source, table)
    return Embedding(node, kind, source, table, node.outputs[0])


def _integer_input(ids: ir.Value) -> ir.Value | None:
    value = ids
    while (node := value.producer()) is not None and not node.domain and node.op_type in _KEEPS_NUMBERS:
        if node.inputs[0] is None:
            return None
        value = node.inputs[0]
    return value if value.is_graph_input() else None


def _kind(source: ir.Value, table: ir.Value) -> EmbeddingKind:
    name = source.name or ""
    rows = table.shape[0] if table.shape is not None else None
    if _POSITION.search(name):
        return "position"
    if _TYPE.search(name) and isinstance(rows, int) and rows <= _MOST_TYPES:
        return "type"
    return "word"
