"""``xgraph inspect``."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from xgraph.cli.base import Command, load, model_options, print_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xgraph.graph.layers import Layer
    from xgraph.graph.ports import Port
    from xgraph.model import Model
_READ_AS = {"image": "an image", "tokens": "token ids", "mask": "a mask"}


@click.command(cls=Command, short_help="Show a model's inputs, outputs, layers and coverage.")
@model_options
@click.option("--layers", "what", flag_value="layers", help="Only the layers, one line each.")
@click.option("--attention", "what", flag_value="attention", help="Only the attention maps.")
@click.option("--coverage", "what", flag_value="coverage", help="What each rule book says about each node.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def inspect(model: str, params: str | None, no_verify: bool, what: str | None, as_json: bool) -> None:
    """Show what a model offers to explain: inputs, outputs, layers, coverage.

    A layer's line is NAME, operator, output shape and role, separated by tabs (--layers prints nothing else); with
    --coverage a line is node, operator, what each rule book says and, for what import took apart, the operator that
    was in the file; nodes in bodies follow the node that holds them, and a summary goes to stderr.
    """
    loaded = load(model, params, no_verify)
    if as_json:
        print_json(_document(loaded))
        return
    if what is None:
        _print_summary(loaded)
        click.echo()
    if what in (None, "layers"):
        _print_layers(loaded.layers)
    elif what == "attention":
        if not loaded.attention:
            click.echo("no attention maps were found", err=True)
        _print_layers(loaded.attention)
    elif what == "coverage":
        _print_coverage(loaded)


def _shape(shape: Iterable[int | str]) -> str:
    return "x".join(str(size) for size in shape)


def _print_summary(model: Model) -> None:
    from xgraph.graph.layers import target_layer

    def line(title: str, text: str) -> None:
        click.echo(f"{title:<11}{text}")

    line("model", f"{model.path} ({model.source}, opset {model.opset}, digest {model.digest[:12]})")
    for port in model.inputs:
        line("input", f"{port.name}  {port.dtype} {_shape(port.shape)}, {_READ_AS.get(port.role, port.role)}")
    for port in model.outputs:
        line("output", f"{port.name}  {port.dtype} {_shape(port.shape)}, {_head(model, port)}")
    for note in model.aside:
        line("left aside", note)
    line("batch", _batch(model))
    line("pictures", _pictures(model))
    line("gradient", _gradient(model))
    line("layers", f"{len(model.layers)}, listed below")
    cam = target_layer(model.layers)
    if cam is not None:
        line("CAM layer", f"{cam.name}  {_shape(cam.shape)} (the default of CAM methods)")
    if model.attention:
        line("attention", f"{len(model.attention)} maps; see --attention")
    for method, profile, precision in dict.fromkeys((c.method, c.profile, c.precision) for c in model.compiled):
        line("compiled", f"{method} for {profile}, {precision}")


def _batch(model: Model) -> str:
    from xgraph.graph.normalise.batch import FREED

    if model.batch is not None:
        return f"fixed: samples run {model.batch} at a time"
    exported = model.graph.metadata_props.get(FREED)
    return f"any (the file was exported for {exported}; freed, with equal results)" if exported else "any"


def _pictures(model: Model) -> str:
    spec = model.preprocess
    if spec is not None:
        labels = f", {len(spec.labels)} labels" if spec.labels else ""
        return f"are preprocessed{labels}"
    if model.preprocess_problem:
        return model.preprocess_problem
    if any(port.role == "image" for port in model.inputs):
        return "need --preprocess, or --size --mean --std; arrays go in as they are"
    return "no input is an image; give arrays"


def _head(model: Model, port: Port) -> str:
    head = model.heads.get(port.name)
    if head is None:
        return "not float"
    return {"none": "logits or scores"}.get(head.kind, f"ends in {head.kind}")


def _gradient(model: Model) -> str:
    """Says whether every node can be differentiated as it is."""
    said = _coverage(model)
    missing, needy = (
        _counted(Counter(row["op"] for row in said if row["books"]["vjp"].startswith(kind)))
        for kind in ("missing", "rule, needs")
    )
    found = [f"no rule for {missing}"] * bool(missing) + [f"unmet needs of {needy}"] * bool(needy)
    return f"{'; '.join(found)}; see --coverage" if found else "every node has a rule"


def _print_layers(layers: Iterable[Layer]) -> None:
    for layer in layers:
        click.echo(f"{layer.name}\t{layer.op}\t{_shape(layer.shape)}\t{layer.role or '-'}")


def _coverage(model: Model) -> list[dict[str, Any]]:
    import xgraph

    return [
        {"node": row.node, "op": row.op, "books": dict(row.books), "part_of": row.part_of}
        for row in xgraph.coverage(model)
    ]


def _print_coverage(model: Model) -> None:
    rows = _coverage(model)
    for row in rows:
        fields = [row["node"], row["op"], *(f"{book}: {text}" for book, text in row["books"].items())]
        if row["part_of"] is not None:
            fields.append(f"part of {row['part_of']}")
        click.echo("\t".join(fields))
    taken_apart = Counter(part.partition(" ")[0] for part in dict.fromkeys(row["part_of"] for row in rows) if part)
    for book in rows[0]["books"] if rows else ():
        kinds = Counter(re.split("[,:]", row["books"][book])[0] for row in rows)
        lines = [f"{book}: {len(rows)} nodes: " + ", ".join(f"{count} {kind}" for kind, count in kinds.items())]
        for kind in ("missing", "rule, needs"):
            found = Counter(row["op"] for row in rows if row["books"][book].startswith(kind))
            lines += [f"  {kind}: {_counted(found)}"] * bool(found)
        click.echo("\n".join(lines), err=True)
    if taken_apart:
        click.echo(f"taken apart at import: {_counted(taken_apart)}", err=True)


def _counted(found: Counter[str]) -> str:
    return ", ".join(f"{op} ({count})" for op, count in found.items())


def _document(model: Model) -> dict[str, Any]:
    def layer(item: Layer) -> dict[str, Any]:
        return {
            "name": item.name,
            "op": item.op,
            "value": item.value,
            "shape": list(item.shape),
            "dtype": item.dtype,
            "role": item.role,
        }

    return {
        "source": model.source,
        "path": str(model.path),
        "digest": model.digest,
        "opset": model.opset,
        "batch": "dynamic" if model.batch is None else model.batch,
        "inputs": [port.to_json() for port in model.inputs],
        "outputs": [{**port.to_json(), "head": _head(model, port)} for port in model.outputs],
        "aside": list(model.aside),
        "layers": [layer(item) for item in model.layers],
        "attention": [layer(item) for item in model.attention],
        "coverage": _coverage(model),
    }
