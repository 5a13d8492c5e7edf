"""``xgraph compile``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from xgraph.cli.base import (
    Command,
    check_writable,
    load,
    model_options,
    preprocess_options,
    settings_from,
    spec_from,
    target_option,
)
from xgraph.errors import XGraphError
from xgraph.of import OF


@click.command("compile", cls=Command, short_help="Compile a model into a bundle, or a method into one ONNX file.")
@model_options
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    help="A folder NAME.xgraph, or FILE.onnx with one --method. Default: MODEL's name with .xgraph, here.",
)
@click.option("-m", "--method", "methods", multiple=True, metavar="M", help="Also compile this method; repeatable.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="A parameter of the methods; repeatable.")
@target_option
@click.option("--of", type=click.Choice(OF), help="What is explained; default: logit, or what the variant says.")
@click.option(
    "--profile",
    type=click.Choice(["auto", "portable", "cpu", "openvino", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the graphs are to run fast.",
)
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32", show_default=True)
@preprocess_options
def compile_(
    model: str,
    params: str | None,
    no_verify: bool,
    output: str | None,
    methods: tuple[str, ...],
    pairs: tuple[str, ...],
    target: str | None,
    of: Any,
    profile: str,
    precision: str,
    **preprocess: Any,
) -> None:
    """Compile MODEL into a bundle of explanation graphs, or one method into one ONNX file.

    The class is never baked in: of --target, the output counts, and whether one class is chosen per sample, which
    the graph is fed as xg_target, or entries of a map or box, fed as xg_seed.
    """
    import xgraph
    from xgraph.bundle import check_replaceable, write_bundle
    from xgraph.cli.parameters import distribute
    from xgraph.cli.targets import read_target
    from xgraph.methods import create, objective
    from xgraph.runtime.providers import choose

    path = Path(output) if output else Path(f"{Path(model).stem or 'model'}.xgraph")
    single = path.suffix.lower() == ".onnx"
    if single and len(methods) != 1:
        raise click.UsageError(f"{path} holds one method: give exactly one --method, or name a folder NAME.xgraph")
    if precision != "fp32":
        choose("auto" if profile in ("auto", "portable") else profile, precision)
    check_writable(path.parent)
    if single and path.is_dir():
        raise XGraphError(f"{path} is a folder; choose another name with -o")
    if not single:
        check_replaceable(path)
    parameters = distribute(settings_from(pairs), methods or ("gradient",))
    loaded = load(model, params, no_verify, spec_from(preprocess))
    names = methods if single else dict.fromkeys(("gradient", *methods))
    programs = []
    for name in names:
        chosen: Any = None
        if target is not None:
            labels = loaded.preprocess.labels if loaded.preprocess else ()
            chosen = read_target(target, of or "logit", labels, [port.name for port in loaded.outputs])
            if of is None:
                made = create(name, parameters.get(name, {}))
                chosen = replace(chosen, of=objective(made, loaded, chosen.output))
        settings = {"profile": profile, "precision": precision, "of": of, "target": chosen}
        programs.append(xgraph.compile(loaded, name, **settings, **parameters.get(name, {})))
    if single:
        programs[0].save(path)
        click.echo(f"{path}: {methods[0]}, runs with onnxruntime alone")
        return
    write_bundle(loaded, programs, path)
    listed = ", ".join(sorted(file.stem for file in (path / "graphs").glob("*.onnx")))
    click.echo(f"{path}: {listed}")
