"""Sequences and optionals whose structure the graph tells become the plain tensors that they hold.

Which tensors a sequence holds is followed from SequenceConstruct, SplitToSequence .. to where they are taken out
again; the nodes that carried it are then unused. What depends on run-time values stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from xgraph.graph.body import replay
from xgraph.graph.emit import Emit
from xgraph.graph.normalise.constants import lift_constants
from xgraph.graph.normalise.replace import name_after, substitute
from xgraph.graph.operands import bodies
from xgraph.graph.shapes import dims, rank
from xgraph.graph.site import Site

Content: TypeAlias = "tuple[ir.Value, ...] | ir.Value | None"
"""The tensors of a sequence; what an optional holds, None where it is empty."""
Contents: TypeAlias = dict["ir.Value | None", Content]


def resolved() -> frozenset[str]:
    """Returns the operators on sequences and optionals that go away where their structure is static."""
    return frozenset({*_HOLD, *_TAKE})


def resolve_sequences(model: ir.Model) -> bool:
    """Replaces what is taken out of sequences and optionals, in place; tells if anything was.

    Acts on the bodies of If, Loop and Scan too, on what they make and on what they capture. Needs shapes for
    SplitToSequence, and constant positions: call it again after folding.
    """
    changed = _resolve(model, model.graph, {})
    if changed:
        lift_constants(model)
    return changed


def _resolve(model: ir.Model, graph: ir.Graph, contents: Contents) -> bool:
    changed = False
    for node in list(graph):
        if not node.domain and node.op_type in _HOLD:
            _HOLD[node.op_type](model, Site(node), contents)
        elif not node.domain and node.op_type in _TAKE:
            changed |= _TAKE[node.op_type](model, Site(node), contents)
        else:
            for body in bodies(node):
                changed |= _resolve(model, body, contents)
    graph.sort()
    return changed


def _construct(model: ir.Model, s: Site, contents: Contents) -> None:
    contents[s.y[0]] = tuple(x for x in s.x if x is not None)


def _insert(model: ir.Model, s: Site, contents: Contents) -> None:
    held, place = contents.get(s.x[0]), s.const(2)
    if isinstance(held, tuple) and (place is not None or not s.has(2)):
        at = len(held) if place is None else int(place.reshape(()))
        at += len(held) * (at < 0)
        contents[s.y[0]] = (*held[:at], s.input(1), *held[at:])


def _erase(model: ir.Model, s: Site, contents: Contents) -> None:
    held, place = contents.get(s.x[0]), s.const(1)
    if isinstance(held, tuple) and (place is not None or not s.has(1)):
        at = (-1 if place is None else int(place.reshape(()))) % len(held)
        contents[s.y[0]] = (*held[:at], *held[at + 1 :])


def _split(model: ir.Model, s: Site, contents: Contents) -> None:
    x, given = s.input(0), s.const(1)
    if dims(x) is None or (s.has(1) and given is None):
        return
    axis = int(s.attr("axis", 0)) % rank(x)
    size = (dims(x) or ())[axis]
    if given is not None and given.ndim:
        parts = [int(part) for part in given]
    elif isinstance(size, int):
        step = 1 if given is None else int(given)
        parts = [min(step, size - start) for start in range(0, size, step)]
    else:
        return
    graph = _graph(s)
    b = Emit(model).inside(graph)
    before = len(graph)
    held = b.many("Split", len(parts), x, parts, axis=axis) if parts else ()
    if given is None and not s.attr("keepdims", 1):
        held = tuple(b.Squeeze(part, [axis]) for part in held)
    name_after(s.node, list(graph)[before:])
    contents[s.y[0]] = held


def _map(model: ir.Model, s: Site, contents: Contents) -> None:
    # What the body captures follows the inputs.
    given = [contents.get(x, x) for x in s.node.inputs]
    first = given[0]
    if not isinstance(first, tuple) or any(x is None or _is_open(x) for x in given):
        return
    graph, body = _graph(s), s.node.attributes["body"].as_graph()
    b = Emit(model).inside(graph)
    before = len(graph)
    rows = []
    for i in range(len(first)):
        arguments = [x[i] if isinstance(x, tuple) else x for x in given]
        rows.append(replay(b, body, [x for x in arguments if x is not None]))
    name_after(s.node, list(graph)[before:])
    contents.update(zip(s.y, zip(*rows, strict=True) if rows else [()] * len(s.y), strict=True))


def _is_open(content: Content) -> bool:
    """Tells whether this is a sequence of which it is not known what it holds."""
    return isinstance(content, ir.Value) and isinstance(content.type, ir.SequenceType)


def _hold_optional(model: ir.Model, s: Site, contents: Contents) -> None:
    contents[s.y[0]] = s.x[0] if s.has(0) else None


def _at(model: ir.Model, s: Site, contents: Contents) -> bool:
    held, place = contents.get(s.x[0]), s.const(1)
    if not isinstance(held, tuple) or place is None:
        return False
    return _replace(model, s, lambda b: b.Identity(held[int(place.reshape(()))]))


def _length(model: ir.Model, s: Site, contents: Contents) -> bool:
    held = contents.get(s.x[0])
    if not isinstance(held, tuple):
        return False
    return _replace(model, s, lambda b: b.Identity(np.asarray(len(held), np.int64)))


def _concat(model: ir.Model, s: Site, contents: Contents) -> bool:
    held, axis = contents.get(s.x[0]), s.attr("axis")
    if not isinstance(held, tuple) or not held:
        return False

    def joined(b: Emit) -> ir.Value:
        parts = [b.Unsqueeze(x, [axis]) for x in held] if s.attr("new_axis", 0) else held
        return b.Concat(*parts, axis=axis)

    return _replace(model, s, joined)


def _has_element(model: ir.Model, s: Site, contents: Contents) -> bool:
    if s.has(0) and s.x[0] not in contents and not isinstance(s.input(0).type, ir.TensorType | ir.SequenceType):
        return False
    full = s.has(0) and contents.get(s.x[0], s.x[0]) is not None
    return _replace(model, s, lambda b: b.Identity(np.asarray(full)))


def _get_element(model: ir.Model, s: Site, contents: Contents) -> bool:
    held = contents.get(s.x[0], s.x[0])
    if isinstance(held, tuple) or isinstance(contents.get(held), tuple):
        contents[s.y[0]] = held if isinstance(held, tuple) else contents[held]
        return False
    if held is None or not isinstance(held.type, ir.TensorType):
        return False
    return _replace(model, s, lambda b: b.Identity(held))


def _replace(model: ir.Model, s: Site, emit: Callable[[Emit], ir.Value]) -> bool:
    graph = _graph(s)
    before = len(graph)
    result = emit(Emit(model).inside(graph))
    substitute(s.node, [result], list(graph)[before:])
    return True


def _graph(s: Site) -> ir.Graph:
    """Returns the graph that the node is in."""
    assert isinstance(s.node.graph, ir.Graph)
    return s.node.graph


_HOLD: dict[str, Callable[[ir.Model, Site, Contents], None]] = {
    "Optional": _hold_optional,
    "SequenceConstruct": _construct,
    "SequenceEmpty": _construct,
    "SequenceErase": _erase,
    "SequenceInsert": _insert,
    "SequenceMap": _map,
    "SplitToSequence": _split,
}
_TAKE: dict[str, Callable[[ir.Model, Site, Contents], bool]] = {
    "ConcatFromSequence": _concat,
    "OptionalGetElement": _get_element,
    "OptionalHasElement": _has_element,
    "SequenceAt": _at,
    "SequenceLength": _length,
}
RESOLVED = frozenset({*_HOLD, *_TAKE})
"""The operators that are gone after the pass wherever the structure is static."""
