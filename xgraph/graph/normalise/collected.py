"""What a Loop collects in a sequence, it gives as a stack: the lists to which scripted loops append.

An empty sequence that gets one tensor at its end in every iteration, and is then put together by ConcatFromSequence,
becomes an output of the iterations, which a Loop stacks along axis 0.
"""

from __future__ import annotations

import onnx_ir as ir

from xgraph.graph.body import stack_of
from xgraph.graph.emit import Emit
from xgraph.graph.normalise.replace import substitute


def stack_collected(model: ir.Model) -> bool:
    """Replaces sequences that Loops only collect tensors in, in place; returns whether there were any."""
    changed = False
    for node in [node for node in model.graph.all_nodes() if node.op_type == "Loop" and not node.domain]:
        collected = [i for i in range(len(node.inputs) - 2) if _only_collects(node, i)]
        if collected:
            _stack(model, node, collected)
            changed = True
    if changed:
        model.graph.sort()
    return changed


def _only_collects(loop: ir.Node, i: int) -> bool:
    body = loop.attributes["body"].as_graph()
    item, first = _item(body, i), loop.inputs[2 + i]
    start = None if first is None else first.producer()
    if item is None or item.shape is None or start is None or start.op_type != "SequenceEmpty":
        return False
    last = loop.outputs[i]
    return not last.is_graph_output() and all(_joins(user, item.shape) for user, _ in last.uses())


def _item(body: ir.Graph, i: int) -> ir.Value | None:
    """Returns what an iteration appends to state ``i`` if that is all it does with it, or None."""
    entering, leaving = body.inputs[2 + i], body.outputs[1 + i]
    insert = leaving.producer()
    if insert is None or insert.op_type != "SequenceInsert" or any(v is not None for v in insert.inputs[2:]):
        return None
    alone = not leaving.uses() and [user for user, _ in entering.uses()] == [insert]
    return insert.inputs[1] if alone and insert.inputs[0] is entering else None


def _joins(node: ir.Node, shape: ir.Shape) -> bool:
    """Tells whether a node puts together tensors of this shape, and a reshaped stack would be the same."""
    if node.op_type != "ConcatFromSequence":
        return False
    behind = list(shape)[node.attributes["axis"].as_int() % len(shape) + 1 :] if shape else []
    return bool(node.attributes.get_int("new_axis", 0)) or all(isinstance(size, int) for size in behind)


def _stack(model: ir.Model, loop: ir.Node, collected: list[int]) -> None:
    """Turns the states ``collected`` of a Loop into outputs of its iterations."""
    graph, body = loop.graph, loop.attributes["body"].as_graph()
    assert graph is not None
    items = _give(Emit(model).inside(body), body, collected)
    states = len(loop.inputs) - 2
    inputs = [*loop.inputs[:2], *(loop.inputs[2 + i] for i in range(states) if i not in collected)]
    kept = [i for i in range(len(loop.outputs)) if i not in collected]
    b = Emit(model).inside(graph)
    likes = [*(loop.outputs[i] for i in kept), *(stack_of(b, item) for item in items)]
    results = b.op("Loop", inputs, {"body": body}, outputs=len(likes), like=likes)
    for i, item, stack in zip(collected, items, results[len(kept) :], strict=True):
        for user, _ in list(loop.outputs[i].uses()):
            _read(model, user, item, stack)
    of_output = dict(zip(kept, results, strict=False))
    node = results[0].producer()
    assert node is not None
    substitute(loop, [of_output.get(i) for i in range(len(loop.outputs))], [node])


def _give(b: Emit, body: ir.Graph, collected: list[int]) -> list[ir.Value]:
    """Lets a body give what it appends instead of the sequences, and returns it."""
    inserts = [body.outputs[1 + i].producer() for i in collected]
    outputs = [value for k, value in enumerate(body.outputs) if k - 1 not in collected]
    items = []
    for i in collected:
        item = _item(body, i)
        assert item is not None
        # A body's outputs are values of its own, and all different.
        while item in outputs or item.producer() is None or item.graph is not body:
            item = b.Identity(item)
        outputs.append(item)
        items.append(item)
    inputs = [value for k, value in enumerate(body.inputs) if k - 2 not in collected]
    body.outputs.clear()
    body.outputs.extend(outputs)
    body.remove([insert for insert in inserts if insert is not None], safe=True)
    body.inputs.clear()
    body.inputs.extend(inputs)
    return items


def _read(model: ir.Model, node: ir.Node, item: ir.Value, stack: ir.Value) -> None:
    """Replaces a ConcatFromSequence by what reads a stack of the tensors along axis 0."""
    graph, shape, new = node.graph, item.shape, bool(node.attributes.get_int("new_axis", 0))
    assert graph is not None
    assert shape is not None
    before = len(graph)
    b = Emit(model).inside(graph)
    axis = node.attributes["axis"].as_int() % (len(shape) + new)
    result = b.Transpose(stack, perm=[*range(1, axis + 1), 0, *range(axis + 1, len(shape) + 1)])
    if not new:
        behind = [size for size in list(shape)[axis + 1 :] if isinstance(size, int)]
        result = b.Reshape(result, [0] * axis + [-1] + behind)
    substitute(node, [result], list(graph)[before:])
