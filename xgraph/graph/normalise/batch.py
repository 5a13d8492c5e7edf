"""A model exported for one sample at a time takes any number of them, where that can be proven.

Exporters bake the batch into targets of Reshape and Resize, and fold what they expand to it (a class token, the
initial state of an LSTM). Shape inference with a symbolic batch shows where it got lost; each such place is rewritten.
Whether the result treats samples alike, and apart, is then a question of numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
import onnx_shape_inference as inference

from xgraph.errors import GraphError
from xgraph.graph.evaluator import Evaluator, detach_weights
from xgraph.graph.normalise.dims import BATCH
from xgraph.graph.normalise.infer import infer_shapes, name_inner_dims
from xgraph.graph.normalise.reshape import free_name, set_dynamic_target, set_target
from xgraph.graph.normalise.verify import check, random_feeds, sizes_to_try, tolerance
from xgraph.graph.prune import remove_unused
from xgraph.graph.shapes import Dim, dims, simplified

FREED = "xgraph.freed_batch"
"""Model metadata key: the batch size of the file, where the model here takes any."""
_ROWS = 3
_MOST_ROUNDS = 8
"""The first round mends all that it can follow; later ones see what shape arithmetic made of it."""
_IS_BATCH = re.compile(rf"\b{BATCH}\b")
_Shapes = Mapping[str, tuple[Dim, ...]]


def free_batch(model: ir.Model, evaluator: Evaluator) -> ir.Model | None:
    """Returns a copy of a normalised model whose inputs all start with the axis ``batch``, or None.

    None where no first axis is fixed to 1 or one is fixed to more, where the batch cannot be followed to every
    output, and where three different samples together do not give what each gives alone.
    """
    firsts = [(dims(value) or (None,))[0] for value in model.graph.inputs]
    if 1 not in firsts or any(first not in (1, BATCH) for first in firsts):
        return None
    try:
        freed = _rewritten(model)
        if freed is None or not _is_same(model, freed, evaluator):
            return None
    except Exception:  # noqa: BLE001  whatever goes wrong here, the model as it was exported still works
        return None
    freed.metadata_props[FREED] = "1"
    return freed


def _rewritten(model: ir.Model) -> ir.Model | None:
    copy = model.clone()
    shapes: _Shapes = {o.name or "": dims(o) or () for n in model.graph for o in n.outputs}
    shapes = {**shapes, **{value.name or "": dims(value) or () for value in model.graph.inputs}}
    for value in copy.graph.inputs:
        value.shape = ir.Shape([BATCH, *(dims(value) or ())[1:]])
    _pin_targets(copy, shapes)
    inner: dict[str, int] = {}
    for _ in range(_MOST_ROUNDS):
        infer_shapes(copy)
        if not _rewrite_losses(copy, shapes, inner):
            break
    remove_unused(copy)
    infer_shapes(copy)
    if any((dims(value) or (None,))[0] != BATCH for value in copy.graph.outputs):
        return None
    name_inner_dims(copy)
    check(copy)
    return copy


def _pin_targets(model: ir.Model, shapes: _Shapes) -> None:
    """Makes numbers of the -1 and 0 in targets of Reshape, so that the batch does not end up there by chance.

    A leading 1 that the operand has too becomes 0, a copy: most often it is the batch.
    """
    samples = _depending(model)
    for node in model.graph:
        if node.op_type != "Reshape" or node.domain or node.inputs[0] not in samples:
            continue
        target = _numbers(node.inputs[1])
        have, want = shapes.get(node.inputs[0].name or "", ()), shapes.get(node.outputs[0].name or "", ())  # type: ignore[union-attr]
        if target is None or not have or not want or len(target) != len(want):
            continue
        static = all(isinstance(dim, int) for dim in want)
        entries = [dim for dim in want if isinstance(dim, int)] if static else list(target)
        if want[0] == 1 == have[0]:
            entries[0] = 0
        if entries != target and 0 not in want:
            set_target(node, 1, model, np.asarray(entries, np.int64))
            node.attributes.pop("allowzero", None)


def _depending(model: ir.Model) -> set[ir.Value | None]:
    """The values that depend on a graph input."""
    found: set[ir.Value | None] = set(model.graph.inputs)
    for node in model.graph:
        if any(value in found for value in node.inputs if value is not None):
            found.update(node.outputs)
    return found


def _numbers(value: ir.Value | None) -> list[int] | None:
    if value is None or value.const_value is None:
        return None
    return [int(item) for item in value.const_value.numpy().reshape(-1)]


def _rewrite_losses(model: ir.Model, shapes: _Shapes, inner: dict[str, int]) -> bool:
    """Mends the nodes that take the batch in and do not hand it on, in place; returns whether there were any.

    ``inner`` keeps, for values that have the batch merged into an axis, how many elements of that axis are in front.
    """
    changed = False
    follow = _Follow(model)
    for node in list(model.graph):
        follow(node)
        if node.domain:
            continue
        mended = _turn_into_reshape(node, model, shapes)
        if mended:
            follow(node)
        if node.op_type == "Reshape":
            mended |= _mend_reshape(node, model, shapes, inner)
        else:
            merged = max((inner.get(value.name or "", 1) for value in node.inputs if value is not None), default=1)
            inner.update({value.name or "": merged for value in node.outputs})
            mended |= _mend_other(node, model)
        if mended:
            follow(node)
        changed |= mended
    return changed


class _Follow:
    """Infers the shapes of one node after the other, so that one pass over the graph sees what it has mended.

    Nodes that were put in meanwhile are visited before the first one that reads them.
    """

    def __init__(self, model: ir.Model) -> None:
        inference.registry.collect()
        self._version = model.graph.opset_imports[""]
        self._context = inference.ShapeInferenceContext(dict(model.graph.opset_imports))
        self._seen: set[ir.Node] = set()

    def __call__(self, node: ir.Node) -> None:
        for value in node.inputs:
            producer = value.producer() if value is not None else None
            if producer is not None and producer not in self._seen:
                self(producer)
        self._seen.add(node)
        infer = inference.registry.get("", node.op_type, version=self._version) if not node.domain else None
        if infer is None or any(isinstance(attribute.value, ir.Graph) for attribute in node.attributes.values()):
            return  # as the inference over the whole graph has left them
        for value in node.outputs:
            value.metadata_props.pop(inference.SYM_DATA_KEY, None)
            value.shape = None
        infer(self._context, node)
        for value in node.outputs:
            if value.shape is not None:
                value.shape = ir.Shape([simplified(dim) for dim in value.shape])


def _turn_into_reshape(node: ir.Node, model: ir.Model, shapes: _Shapes) -> bool:
    """Spells what takes the only sample out of the batch, or makes a batch of it again, as a Reshape.

    That keeps all numbers in their order, and a Reshape knows how to carry several samples.
    """
    if node.op_type not in ("Gather", "Squeeze", "Slice", "Unsqueeze") or _batch_axis(node.inputs[:1]) != 0:
        return False
    have, want = shapes.get(node.inputs[0].name or "", ()), shapes.get(node.outputs[0].name or "", ())  # type: ignore[union-attr]
    old, new = [d for d in have if isinstance(d, int)], [d for d in want if isinstance(d, int)]
    if len(old) != len(have) or len(new) != len(want) or math.prod(old) != math.prod(new):
        return False
    if (dims(node.outputs[0]) or (None,))[0] == BATCH:
        return False
    if node.op_type == "Unsqueeze":
        takes = old[0] != 1 and new[0] == 1
    elif node.op_type == "Slice":
        steps = _numbers(node.inputs[4]) if len(node.inputs) > 4 else [1]
        takes = old == new and steps is not None and min(steps) > 0
    else:
        takes = old[0] == 1 and old[1:] == new[len(new) - len(old) + 1 :] and not node.attributes.get_int("axis", 0)
    if takes:
        node.op_type = "Reshape"
        node.attributes.clear()
        node.resize_inputs(2)
        set_target(node, 1, model, np.asarray(new, np.int64))
    return takes


def _mend_other(node: ir.Node, model: ir.Model) -> bool:
    if node.op_type == "Resize":
        return _mend_resize(node, model)
    if node.op_type == "Concat":
        axis = node.attributes.get_int("axis", 0) % max(1, len(dims(node.outputs[0]) or ()))
        return _expand_others(node, model, range(len(node.inputs)), _batch_axis(node.inputs, but=axis))
    if node.op_type in ("GatherElements", "ScatterElements"):
        axis = node.attributes.get_int("axis", 0) % max(1, len(dims(node.inputs[0]) or ()))  # type: ignore[arg-type]
        return _expand_others(node, model, range(len(node.inputs)), _batch_axis(node.inputs, but=axis))
    if node.op_type == "GatherND" and _batch_axis(node.inputs[1:2]) in range(node.attributes.get_int("batch_dims", 0)):
        return _expand_others(node, model, [0], _batch_axis(node.inputs[1:2]))
    if node.op_type == "ScatterND":
        return _expand_others(node, model, [0], _scattered_axis(node))
    if node.op_type in ("LSTM", "GRU", "RNN") and _batch_axis(node.inputs[:1]) == 1:
        return _expand_others(node, model, range(5, min(7, len(node.inputs))), 1)
    return False


def _scattered_axis(node: ir.Node) -> int | None:
    """The axis of the first operand of ScatterND along which its updates have the batch.

    The updates are ``[*indices[:-1], *data[k:]]`` for indices of k numbers each; where the former have the batch, the
    first number says the sample.
    """
    axis, indices = _batch_axis(node.inputs[2:3]), node.inputs[1]
    shape = None if indices is None else dims(indices)
    if axis is None or not shape or not isinstance(shape[-1], int):
        return None
    behind = axis - (len(shape) - 1)
    return behind + shape[-1] if behind >= 0 else 0


def _batch_axis(values: Sequence[ir.Value | None], but: int | None = None) -> int | None:
    """The first axis of one of the values whose size has to do with the batch."""
    for value in values:
        for axis, dim in enumerate((dims(value) if value is not None else None) or ()):
            if isinstance(dim, str) and axis != but and _IS_BATCH.search(dim):
                return axis
    return None


def _mend_reshape(node: ir.Node, model: ir.Model, shapes: _Shapes, inner: dict[str, int]) -> bool:
    """The elements keep their order: the batch stays behind as many elements as were in front of it."""
    operand, output = node.inputs[0], node.outputs[0]
    axis = _batch_axis([operand])
    target = _numbers(node.inputs[1])
    if operand is None or axis is None or target is None or _batch_axis([output]) is not None:
        return False
    have, want = shapes.get(operand.name or "", ()), shapes.get(output.name or "", ())
    old, new = [d for d in have if isinstance(d, int)], [d for d in want if isinstance(d, int)]
    if not new or len(old) != len(have) or len(new) != len(want) or len(new) != len(target):
        return False
    found = _place(old, new, axis, math.prod(old[:axis]) * inner.get(operand.name or "", 1))
    if found is None:
        return False
    place, front = found
    entries = list(new)
    entries[place] = -1
    inner[output.name or ""] = front
    if entries == target:
        return False
    set_target(node, 1, model, np.asarray(entries, np.int64))
    node.attributes.pop("allowzero", None)
    return True


def _place(old: list[int], new: list[int], axis: int, ahead: int) -> tuple[int, int] | None:
    """The axis of ``new`` that takes in the batch, and how many elements of that axis come before it.

    In all it has ``ahead`` elements in front. Best is an axis of size 1. A split axis starts with the batch (heads);
    a merged one, and never the last, which holds features, ends with it or has it inside.
    """
    places = []
    for i, size in enumerate(new):
        before = math.prod(new[:i])
        if before and ahead % before == 0 and size and size % (ahead // before) == 0:
            places.append((i, ahead // before))
    explicit = [(i, front) for i, front in places if front == 1 and new[i] == 1]
    if explicit:
        return (axis, 1) if (axis, 1) in explicit else explicit[0]
    starts = [
        (i, f) for i, f in places if f == 1 and (i == 0 or i < len(new) - 1) and (not i or new[i:] != old[axis + 1 :])
    ]
    return next(iter(starts + places), None)


def _mend_resize(node: ir.Node, model: ir.Model) -> bool:
    sizes = _numbers(node.inputs[3]) if len(node.inputs) > 3 else None
    axis = _batch_axis(node.inputs[:1])
    if sizes is None or axis is None or "axes" in node.attributes or sizes[axis] != 1:
        return False
    set_dynamic_target(node, 3, model, (*sizes[:axis], BATCH, *sizes[axis + 1 :]), _source(model))
    return True


def _expand_others(node: ir.Node, model: ir.Model, slots: Sequence[int], axis: int | None) -> bool:
    """Repeats those operands that still have one sample on ``axis``."""
    changed = False
    for slot in slots if axis is not None else ():
        value = node.inputs[slot]
        known = dims(value) if value is not None else None
        if value is None or known is None or axis is None or axis >= len(known) or known[axis] != 1:
            continue
        name = free_name(model, f"{value.name}_per_sample")
        repeated = ir.Value(name=name, type=value.type)
        # The target is set below; until then it is the operand itself.
        expand = ir.node("Expand", [value, value], outputs=[repeated], name=name)
        node.graph.insert_before(node, expand)  # type: ignore[union-attr]
        content = tuple(BATCH if i == axis else 1 for i in range(len(known)))
        set_dynamic_target(expand, 1, model, content, _source(model))
        node.replace_input_with(slot, repeated)
        changed = True
    return changed


def _source(model: ir.Model) -> Mapping[str, tuple[ir.Value, int]]:
    return {BATCH: (model.graph.inputs[0], 0)}


def _is_same(model: ir.Model, freed: ir.Model, evaluator: Evaluator) -> bool:
    """Runs three samples together through ``freed`` and one by one through ``model``."""
    alone = detach_weights(model)
    tried: set[tuple[tuple[int, ...], ...]] = set()
    for sizes in sizes_to_try(model):
        feeds = random_feeds(freed, {**sizes, BATCH: _ROWS})
        shapes = tuple(array.shape for array in feeds.values())
        if shapes in tried:
            continue
        tried.add(shapes)
        rows = [{name: array[i : i + 1] for name, array in feeds.items()} for i in range(_ROWS)]
        try:
            first = evaluator(*alone, rows[0])
        except GraphError:
            continue
        results = [first, *(evaluator(*alone, row) for row in rows[1:])]
        together = evaluator(*detach_weights(freed), feeds)
        wanted = [np.concatenate(parts) for parts in zip(*results, strict=True)]
        # Outputs that do not depend on the sample prove nothing.
        differ = any(not np.array_equal(want[0], want[1]) for want in wanted)
        allowed = tolerance(model)
        return differ and all(_close(want, have, allowed) for want, have in zip(wanted, together, strict=True))
    return False


def _close(want: np.ndarray, have: np.ndarray, allowed: float) -> bool:
    if want.shape != have.shape or want.dtype != have.dtype:
        return False
    if want.dtype.kind not in "fiu":
        return bool(np.array_equal(want, have))
    exact = want.astype(np.float64)
    with np.errstate(invalid="ignore"):  # two infinities, of which none is a proof
        gap = float(np.abs(exact - have.astype(np.float64)).max(initial=0.0))
        return gap <= allowed * float(np.abs(exact).max(initial=0.0)) < np.inf
