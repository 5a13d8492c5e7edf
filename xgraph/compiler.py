"""The compiler: a model and a recipe give an explanation graph. Where ``graph`` and ``rules`` meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xgraph.errors import GraphError, LayerError, TargetError
from xgraph.feeds import CORNER, ROW
from xgraph.graph.artifact import Artifact, finish
from xgraph.graph.emit import PART_OF, Emit
from xgraph.graph.incremental import clean_graph, window_graph
from xgraph.graph.loop import sum_over_steps
from xgraph.graph.lower import lower
from xgraph.graph.masking import gather, mask
from xgraph.graph.operands import nodes_and_places
from xgraph.graph.patterns import Head, linear_that_returns
from xgraph.graph.perturb import Names, Perturbed, perturb
from xgraph.graph.shapes import dims, dtype_of, named_dims, same
from xgraph.graph.site import Site
from xgraph.graph.splice import add_input, add_output, clean, values_by_name
from xgraph.graph.types import Graph, Value
from xgraph.graph.walk import Entry, Lookup, pull
from xgraph.model import Model
from xgraph.of import Of
from xgraph.plan import ALPHA, Recipe, Steps, Wrt, feed_name
from xgraph.rules import readout
from xgraph.rules.vjp import vjp

TARGET, SEED, ATTRIBUTION, SCORE = "xg_target", "xg_seed", "xg_attribution", "xg_score"
BOOKS: dict[str, Lookup] = {"vjp": vjp.lookup}


@dataclass(frozen=True, slots=True)
class Explained:
    """The value whose entries a target picks, and what is needed to seed it."""

    value: Value
    """(rows, classes) for class targets, otherwise the shape of the output."""
    logits: Value
    """Of the same shape; its largest entry is the predicted class."""


def build(model: Model, recipe: Recipe, profile: str) -> Artifact:
    """Returns the explanation graph of ``recipe``, lowered for ``profile``.

    Raises:
        UnsupportedOpError: The book has no rule for some nodes on the path.
        TargetError: The recipe's kind of target does not fit the output.
        LayerError: What is asked for does not exist or does not influence the output.
    """
    work, hidden = _rewritten(model, recipe, profile)
    return finish(work, model.digest, hidden)


def build_path(model: Model, recipe: Recipe, path: Steps, profile: str) -> Artifact:
    """Returns one graph that runs ``recipe`` at every node of a path and adds up: inputs and outputs as usual.

    Raises:
        MethodError: A baseline of the path is made from samples or drawn at random, which happens outside graphs.
    """
    step, _ = _rewritten(model, recipe, profile)
    work = model.graph.clone()
    b = Emit(work)
    values = values_by_name(work)
    explained = explained_value(b, model, recipe.output, recipe.of)
    bound = {port.name: values[port.name] for port in model.inputs}
    if recipe.seed == "index":
        _, bound[TARGET] = _index_seed(b, explained, TARGET)
    else:
        bound[SEED] = add_input(work, SEED, np.float32, dims(explained.value) or ())
    varying = {ALPHA: path.positions[:, None]}
    for part, wrt in enumerate(recipe.at):
        shape = shape_of(model, model.value_of(wrt))
        varying[feed_name("baseline", part, len(recipe.at))] = path.fixed_baselines(shape)
    likes = [
        (name, _reduced(b, recipe, values[model.value_of(wrt)]))
        for name, wrt in zip(attribution_names(recipe), recipe.wrt, strict=True)
    ]
    totals = sum_over_steps(b, step, bound, varying, likes, path.draw_weights)
    for (name, _), total in zip(likes, totals, strict=True):
        add_output(b, total, name)
    clean(work)
    return finish(work, model.digest)


def _rewritten(model: Model, recipe: Recipe, profile: str) -> tuple[Graph, dict[str, Value]]:
    """Returns the lowered graph of a recipe, and the values that our own runs read beside its outputs."""
    work = _start(model, recipe)
    b = Emit(work)
    values = values_by_name(work)
    for tap in recipe.taps:
        if values[tap] not in work.graph.outputs:
            work.graph.outputs.append(values[tap])
    moved = {
        wrt: perturb(b, values[model.value_of(wrt)], recipe.perturb, _feeds(recipe, part))
        for part, wrt in enumerate(recipe.at)
        if recipe.perturb
    }
    hidden: dict[str, Value] = {}
    if recipe.readout == "score":
        _score(b, model, recipe)
    elif recipe.book is not None:
        hidden = _pullback(b, model, recipe, moved)
    elif recipe.readout != "clean":
        hidden = {"explained": explained_value(b, model, recipe.output, recipe.of).value}
    outputs = list(work.graph.outputs)
    # Outputs meanwhile, because lowering removes what no output needs.
    work.graph.outputs.extend(value for value in dict.fromkeys(hidden.values()) if value not in outputs)
    clean(work)
    lower(work, profile)
    del work.graph.outputs[len(outputs) :]
    return work, hidden


def _start(model: Model, recipe: Recipe) -> Graph:
    """Returns a copy of the model's graph, or the graphs of windows that reuse clean activations."""
    if recipe.readout != "clean" and recipe.mask != "reuse":
        return model.graph.clone()
    options = dict(recipe.options)
    windows = model.plan_windows(recipe.at[0].name, options["window"], options["starts"])
    if isinstance(windows, str):
        raise GraphError(f"clean activations cannot be reused: {windows}")
    return clean_graph(model.graph, windows) if recipe.readout == "clean" else window_graph(model.graph, windows)


def _score(b: Emit, model: Model, recipe: Recipe) -> None:
    """Makes the explained number of each run, per target, all that the graph returns."""
    values = values_by_name(b.model)
    row = None
    if recipe.mask == "reuse":
        row = add_input(b.model, ROW, np.int64, [(dims(values[CORNER]) or ())[0]])
    elif recipe.mask is not None:
        parts = range(len(recipe.at))
        row = mask(
            b,
            [values[model.masked_value(wrt)] for wrt in recipe.at],
            recipe.mask,
            [feed_name("baseline", part, len(parts)) for part in parts],
            [feed_name("labels", part, len(parts)) for part in parts],
            dict(recipe.options),
        )
    value = explained_value(b, model, recipe.output, recipe.of).value
    b.graph.outputs.clear()
    shape = dims(value) or ()
    rows = shape[0] if row is None else "xg_samples"
    for number in range(recipe.targets):
        name = seed_name(recipe, number)
        if recipe.seed == "index":
            fed = add_input(b.model, name, np.int64, [rows])
            chosen = b.Unsqueeze(fed if row is None else gather(b, fed, row), [1])
            score = b.GatherElements(value, chosen, axis=1)
        else:
            fed = add_input(b.model, name, np.float32, [rows, *shape[1:]])
            score = b.Mul(value, _cast(b, fed if row is None else gather(b, fed, row), value))
        # Sums in float32 whatever the model computes in.
        score = b.ReduceSum(b.Flatten(_cast(b, score, None), axis=1), [1], keepdims=0)
        add_output(b, score, score_name(recipe, number))


def score_name(recipe: Recipe, number: int = 0) -> str:
    """Returns the name of the output that holds the explained number of each run for target ``number``."""
    return SCORE + _suffix(recipe, number)


def attribution_names(recipe: Recipe, number: int = 0) -> list[str]:
    """Returns the names of the attribution outputs for target ``number``, in the order of the recipe's ``wrt``."""
    stem = f"{ATTRIBUTION}{_suffix(recipe, number)}"
    if len(recipe.wrt) == 1:
        return [stem]
    return [f"{stem}_{wrt.name}" for wrt in recipe.wrt]


def seed_name(recipe: Recipe, number: int = 0) -> str:
    """Returns the name of the graph input that says what target ``number`` is."""
    return (TARGET if recipe.seed == "index" else SEED) + _suffix(recipe, number)


def class_role(number: int) -> str:
    """Returns the role of the hidden value that holds the resolved classes of target ``number``."""
    return f"class{number}"


def _suffix(recipe: Recipe, number: int) -> str:
    return f"_{number}" if recipe.targets > 1 else ""


def _feeds(recipe: Recipe, part: int) -> Names:
    parts = len(recipe.at)
    return Names(feed_name("noise", part, parts), ALPHA, feed_name("baseline", part, parts))


def _pullback(b: Emit, model: Model, recipe: Recipe, moved: Mapping[Wrt, Perturbed]) -> dict[str, Value]:
    explained = explained_value(b, model, recipe.output, recipe.of)
    hidden = {"explained": explained.value}
    fixed = {node for perturbed in moved.values() for node in perturbed.fixed}
    forward = [node for node in b.graph if node not in fixed]
    values = values_by_name(b.model)
    places = [moved[wrt].value if wrt in moved else values[model.value_of(wrt)] for wrt in recipe.wrt]
    for number in range(recipe.targets):
        if recipe.seed == "index":
            seed, hidden[class_role(number)] = _index_seed(b, explained, seed_name(recipe, number))
        else:
            shape = dims(explained.value) or ()
            given = add_input(b.model, seed_name(recipe, number), np.float32, shape)
            seed = _cast(b, given, explained.value)
        arrived = pull(b, forward, BOOKS[recipe.book or ""], {explained.value: seed}, places)
        names = attribution_names(recipe, number)
        for wrt, place, g, name in zip(recipe.wrt, places, arrived, names, strict=True):
            result = _read_out(b, recipe, wrt, place, g)
            if recipe.difference is not None:
                result = b.Mul(result, _covered(b, recipe, moved[wrt], values[model.value_of(wrt)]))
            add_output(b, _cast(b, _reduced(b, recipe, result), None), name)
    return hidden


def _covered(b: Emit, recipe: Recipe, moved: Perturbed, sample: Value) -> Value:
    assert moved.difference is not None
    assert moved.start is not None
    return moved.difference if recipe.difference == "path" else b.Sub(sample, moved.start)


def _read_out(b: Emit, recipe: Recipe, wrt: Wrt, place: Value, g: Value | None) -> Value:
    if g is None:
        raise LayerError(f"{wrt} does not influence the {recipe.of} of '{recipe.output}': its gradient is 0")
    if dims(g) is not None and not same(g, place):
        raise GraphError(f"the gradient of '{place.name}' {named_dims(place)} came out as {named_dims(g)}")
    return readout.apply(b, recipe.readout, place, g, dict(recipe.options))


def _reduced(b: Emit, recipe: Recipe, value: Value) -> Value:
    return b.ReduceSum(value, [-1], keepdims=0) if recipe.reduce == "sum" else value


def explained_value(b: Emit, model: Model, output: str, of: Of) -> Explained:
    """Emits what is missing to have the logit, probability or loss of a model output, and returns it.

    Raises:
        TargetError: The output has no probability.
    """
    head = model.heads[output]
    values = values_by_name(b.model)
    logits = values[_name(head.logits)]
    if head.perm is not None:
        logits = b.Transpose(logits, perm=list(head.perm))
    logits = _class_rows(b, logits)
    if of == "logit":
        return Explained(logits, logits)
    if head.kind == "none":
        _check_logits(head, dims(logits) or (), of)
    if of == "loss":
        if head.kind == "sigmoid":
            # -log sigmoid(z), in the form that does not underflow.
            return Explained(b.Softplus(b.Neg(logits)), logits)
        return Explained(b.Neg(b.LogSoftmax(logits, axis=_class_axis(head, logits))), logits)
    if head.probability is not None:
        probability = _class_rows(b, values[_name(head.probability)])
        return Explained(b.Exp(probability) if head.kind == "log_softmax" else probability, logits)
    return Explained(b.Softmax(logits, axis=_class_axis(head, logits)), logits)


def _class_axis(head: Head, logits: Value) -> int:
    """Returns the axis of classes: in (rows, classes), what a head normalises, a linear layer's, or that of maps."""
    rank = len(dims(logits) or ())
    if rank == 2 or (head.axis is None and rank > 3):
        return 1
    return head.axis if head.axis is not None else rank - 1


def _check_logits(head: Head, shape: Sequence[int | str | None], of: Of) -> None:
    """Refuses what is not defined, or would be a guess, for an output that is taken for logits.

    Raises:
        TargetError: The output is computed from probabilities, is one number per row, or has no known class axis.
    """
    name = head.output.name
    if head.miss is not None:
        node = head.miss.node
        raise TargetError(
            f"the output '{name}' comes from {node.op_type} '{node.name}', but no {of} can be told: "
            f"{head.miss.reason}; explain of='logit', which here is the output itself, or a layer"
        )
    # What a linear layer returns has its classes on the last axis; of other sequences the axis would be a guess.
    if len(shape) == 3 and linear_that_returns(head.logits) is None:
        raise TargetError(
            f"the output '{name}' of shape {list(shape)} has no Softmax, so its class axis is not known and its {of} "
            "is not defined; explain of='logit', which here is the output itself"
        )
    if shape[1] == 1:
        each = "row" if len(shape) == 2 else "position"
        raise TargetError(
            f"the output '{name}' is one number per {each}: a regression value or a single logit; probability and loss "
            "are not defined for it; explain the logit"
        )


def shape_of(model: Model, name: str) -> tuple[int | str | None, ...]:
    """Returns the shape of a forward value; dynamic sizes by name."""
    return dims(values_by_name(model.graph)[name]) or ()


def explained_shape(model: Model, output: str | None) -> tuple[int | str | None, ...]:
    """Returns the shape of what a target picks from: (rows, classes), or the shape of the output.

    Raises:
        TargetError: The output has not one row per sample.
    """
    head = model.heads[model.output(output).name]
    shape = head.shape
    if not shape:
        what = "has an unknown shape" if shape is None else "is one number for the whole batch"
        raise TargetError(f"the output '{head.output.name}' {what}, so no target can be chosen in it for each row")
    batches = [port.shape[0] for port in model.inputs if port.shape]
    if shape[0] not in batches:
        raise TargetError(
            f"the output '{head.output.name}' of shape {list(shape)} has not one row per sample: its first axis is not "
            f"that of the inputs ({', '.join(str(size) for size in dict.fromkeys(batches))}); keep the batch axis when "
            "exporting the model"
        )
    if len(shape) == 1:
        return (shape[0], 1)
    return shape[:2] if all(dim == 1 for dim in shape[2:]) else shape


def _class_rows(b: Emit, value: Value) -> Value:
    """Gives a value with one number per class, or one number per row, the shape (rows, classes)."""
    shape = dims(value)
    if shape is None:
        raise TargetError(f"the shape of the output '{value.name}' is not known, so no target can be chosen in it")
    if len(shape) == 1:
        return b.Unsqueeze(value, [1])
    if len(shape) > 2 and all(dim == 1 for dim in shape[2:]):
        return b.Flatten(value, axis=1)
    return value


def _name(value: Value) -> str:
    return value.name or ""


def _index_seed(b: Emit, explained: Explained, name: str) -> tuple[Value, Value]:
    """Emits one-hot rows at ``xg_target`` (-1: the predicted class) and the resolved classes."""
    value = explained.value
    shape = dims(value) or ()
    if len(shape) != 2:
        raise TargetError(
            f"the output has the shape {list(shape)}, so a class number alone does not say what to explain; "
            "use Target.index((i, j ...)), Target.pixel, Target.region or Target.box"
        )
    target = add_input(b.model, name, np.int64, [shape[0]])
    predicted = b.ArgMax(explained.logits, axis=1, keepdims=0)
    chosen = b.Where(b.Less(target, 0), predicted, target)
    zeros = b.Expand(b.scalar(0.0, value), b.Shape(value))
    column = b.Unsqueeze(chosen, [1])
    # Scattering makes a class that does not exist an error of the engine, where comparing would give zeros.
    ones = b.Expand(b.scalar(1.0, value), b.Shape(column))
    seed = b.ScatterElements(zeros, column, ones, axis=1)
    seed.shape = value.shape
    return seed, chosen


def _cast(b: Emit, value: Value, like: Value | None) -> Value:
    wanted = dtype_of(like) if like is not None else np.dtype(np.float32)
    return value if dtype_of(value) == wanted else b.cast(value, wanted)


def coverage_of(model: Model, books: Sequence[str] = tuple(BOOKS)) -> list[tuple[str, str, dict[str, str], str | None]]:
    """Returns each node's name and place, its operator, what each book says, and what it was taken from at import."""
    rows = []
    for place, node in nodes_and_places(model.graph.graph):
        site = Site(node)
        said = {book: _said(BOOKS[book](site), site) for book in books}
        rows.append((f"{place}{node.name or ''}", site.op, said, node.metadata_props.get(PART_OF)))
    return rows


def _said(entry: Entry | None, site: Site) -> str:
    if entry is not None:
        return entry.describe(site)
    domain = site.node.domain
    if domain:
        return f"missing: an operator of '{domain}' that import does not take apart"
    return "missing: no rule for this operator of the standard"
