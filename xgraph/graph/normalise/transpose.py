"""A transposition of the last two axes done in three dimensions becomes one in four.

torch's exporter writes the K^T of attention as ``Reshape (N, h, T, d) -> (N h, T, d)``, ``Transpose (0, 2, 1)``,
``Reshape -> (N, h, d, T)``, with the targets computed at run time. It is ``Transpose (0, 1, 3, 2)``.
"""

from __future__ import annotations

import onnx_ir as ir

from xgraph.graph.normalise.replace import substitute
from xgraph.graph.shapes import dims


def merge_batched_transposes(model: ir.Model) -> bool:
    """Replaces such triples by one Transpose, in place; returns whether there were any.

    Acts only where all dimensions are known, the first Reshape merges leading axes and leaves the last two, and the
    second restores them. The inner nodes stay where something else reads them.
    """
    changed = False
    for node in list(model.graph):
        perm = _merged(node)
        if perm is None:
            continue
        source, order = perm
        result = ir.Value(name=None, shape=node.outputs[0].shape, type=node.outputs[0].type)
        fresh = ir.node("Transpose", [source], {"perm": order}, outputs=[result], name=node.name)
        node.graph.insert_before(node, fresh)  # type: ignore[union-attr]
        substitute(node, [result], [fresh])
        changed = True
    return changed


def _merged(last: ir.Node) -> tuple[ir.Value, list[int]] | None:
    middle = _producer(last, "Reshape", "Transpose")
    first = None if middle is None else _producer(middle, "Transpose", "Reshape")
    if middle is None or first is None or first.inputs[0] is None:
        return None
    source = first.inputs[0]
    before, flat, after = dims(source), dims(first.outputs[0]), dims(last.outputs[0])
    if before is None or flat is None or after is None or len(flat) != 3 or len(before) < 4:
        return None
    if None in before or None in after or list(middle.attributes.get_ints("perm", ()) or []) != [0, 2, 1]:
        return None
    if flat[1:] != before[-2:] or after != (*before[:-2], before[-1], before[-2]):
        return None
    rank = len(before)
    return source, [*range(rank - 2), rank - 1, rank - 2]


def _producer(node: ir.Node, op: str, wanted: str) -> ir.Node | None:
    if node.domain or node.op_type != op or node.inputs[0] is None:
        return None
    producer = node.inputs[0].producer()
    return producer if producer is not None and not producer.domain and producer.op_type == wanted else None
