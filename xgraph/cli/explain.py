"""``xgraph explain``."""

from __future__ import annotations

import sys
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
    print_json,
    progress_bar,
    settings_from,
    spec_from,
    target_option,
)
from xgraph.errors import TargetError
from xgraph.of import OF


@click.command(cls=Command, short_help="Explain what a model says about pictures or arrays.")
@model_options
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("-m", "--method", "methods", multiple=True, metavar="M", help="A method; required, repeatable.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="A parameter of the methods; repeatable.")
@target_option
@click.option("--of", type=click.Choice(OF), help="What is explained; default: logit, or what the variant says.")
@click.option(
    "-d",
    "--device",
    type=click.Choice(["auto", "cpu", "openvino", "cuda"]),
    default="auto",
    show_default=True,
)
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), help="Default: the bundle's, else fp32.")
@click.option("-b", "--batch", type=click.IntRange(1), metavar="N", help="Samples at once; default: from free memory.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of random draws.")
@click.option("--threads", type=click.IntRange(1), metavar="K", help="Threads of the engine; default: all cores.")
@click.option("-o", "--output", metavar="DIR", default="explanations", show_default=True, help="Where files go.")
@click.option("--json", "as_json", is_flag=True, help="Print what run.json holds.")
@preprocess_options
def explain(
    model: str,
    inputs: tuple[str, ...],
    params: str | None,
    no_verify: bool,
    methods: tuple[str, ...],
    pairs: tuple[str, ...],
    target: str | None,
    of: Any,
    device: str,
    precision: str | None,
    batch: int | None,
    seed: int,
    threads: int | None,
    output: str,
    as_json: bool,
    **preprocess: Any,
) -> None:
    """Explain what MODEL (a model file, folder or bundle) says about each INPUT.

    INPUT is a picture, a .npy array, a .npz of arrays by input name, or a folder, which stands for its
    pictures, or for its arrays if there are no pictures. Each gets NAME_METHOD_LABEL.png and .npz.
    """
    import xgraph
    from xgraph.cli.parameters import distribute
    from xgraph.cli.report import Report, previews
    from xgraph.cli.runs import explained
    from xgraph.cli.sources import count as samples_in
    from xgraph.cli.sources import expand
    from xgraph.cli.targets import read_target
    from xgraph.methods import create, objective
    from xgraph.runtime.providers import choose

    if not methods:
        raise click.UsageError("give at least one --method M; `xgraph methods` lists them")
    methods = tuple(dict.fromkeys(methods))
    files = expand(inputs)
    parameters = distribute(settings_from(pairs), methods)
    choose(device, precision or "fp32")
    folder = Path(output)
    check_writable(folder)
    loaded = load(model, params, no_verify, spec_from(preprocess))
    labels = loaded.preprocess.labels if loaded.preprocess else ()
    chosen = read_target(target, of or "logit", labels, [port.name for port in loaded.outputs])
    programs = []
    for name in methods:
        method = create(name, parameters[name])
        own_target = replace(chosen, of=of or objective(method, loaded, chosen.output))
        programs.append(xgraph.Program(loaded, method, own_target, precision=precision))
    if chosen.kind == "per_row" and len(chosen.value) != (samples := samples_in(loaded, files)):
        raise TargetError(f"{len(chosen.value)} targets were given for {samples} samples; give one for each")
    runs = [
        (p, p.settings(device, batch=batch, threads=threads, progress=progress_bar(p.method.name))) for p in programs
    ]
    report = Report(loaded, folder)
    shown: list[list[str]] = []
    for source, attributions in explained(loaded, files, runs, chosen, seed):
        report.add(source, attributions)
        if not as_json and sys.stdout.isatty():
            shown += previews(attributions)
    document = report.write()
    if as_json:
        print_json(document)
        return
    for k, entry in enumerate(report.entries):
        for j, result in enumerate(entry["results"]):
            line = f"{result['method']}\t{result['label']}\t{result['score']:.6g}\t{result['files'][-1]}"
            click.echo(f"{entry['input']}\t{line}")
            if shown and shown[k][j]:
                click.echo(shown[k][j])
    count = len(report.entries)
    click.echo(f"{count} sample{'s' * (count != 1)} explained, files in {folder}")
