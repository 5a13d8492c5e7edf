"""``xgraph bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from xgraph.cli.base import Command, check_writable, print_json, settings_from, target_option
from xgraph.of import OF


@click.command(cls=Command, short_help="Time a method against the model's forward pass.")
@click.argument("model")
@click.option("-m", "--method", default="gradient", show_default=True, metavar="M")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="A parameter of the method; repeatable.")
@target_option
@click.option("--of", type=click.Choice(OF), default="logit", show_default=True)
@click.option("-b", "--batch", type=click.IntRange(1), default=8, show_default=True, metavar="N")
@click.option(
    "-d",
    "--device",
    type=click.Choice(["auto", "cpu", "openvino", "cuda"]),
    default="auto",
    show_default=True,
)
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), help="Default: the bundle's, else fp32.")
@click.option("--threads", type=click.IntRange(1), metavar="K")
@click.option("--rounds", type=click.IntRange(1), default=10, show_default=True, help="Timed runs of each.")
@click.option("--json", "as_json", metavar="FILE", help="Write the figures to FILE; - for standard output.")
def bench(
    model: str,
    method: str,
    pairs: tuple[str, ...],
    target: str | None,
    of: Any,
    batch: int,
    device: str,
    precision: str | None,
    threads: int | None,
    rounds: int,
    as_json: str | None,
) -> None:
    """Time a method against the model's own forward pass, turn by turn, on random input."""
    import json

    import xgraph
    from xgraph.cli.parameters import distribute
    from xgraph.cli.targets import read_target
    from xgraph.errors import XGraphError
    from xgraph.files import atomic_write
    from xgraph.methods import create
    from xgraph.timing import measure

    if as_json and as_json != "-":
        check_writable(Path(as_json).parent)
    parameters = distribute(settings_from(pairs), (method,))[method]
    loaded = xgraph.load(model)
    labels = loaded.preprocess.labels if loaded.preprocess else ()
    chosen = read_target(target, of, labels, [port.name for port in loaded.outputs])
    program = xgraph.Program(loaded, create(method, parameters), chosen, precision=precision)
    figures = measure(program, batch=batch, device=device, threads=threads, rounds=rounds)
    if as_json == "-":
        print_json(figures)
        return
    if as_json:
        try:
            with atomic_write(Path(as_json)) as file:
                file.write(json.dumps(figures, indent=1).encode())
        except OSError as error:
            raise XGraphError(f"{as_json} cannot be written: {error.strerror or error}") from error
    click.echo(f"{figures['provider']}, batch {figures['batch']}, {rounds} rounds, opened in {figures['open_s']:.2f} s")
    click.echo(f"{'':<22}{'median':>10}{'average':>10}{'min':>10}{'max':>10}   ms per batch{'samples/s':>14}")
    for name in ("forward", method):
        row = figures[name]
        times = "".join(f"{row[key]:>10.2f}" for key in ("median_ms", "average_ms", "min_ms", "max_ms"))
        click.echo(f"{name:<22}{times}{row['samples_per_s']:>29.1f}")
    click.echo(f"{method} / forward = {figures['ratio']:.2f} (median of the rounds' own ratios)")
