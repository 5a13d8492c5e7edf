"""``xgraph methods``."""

from __future__ import annotations

import inspect
from dataclasses import asdict

import click

from xgraph.cli.base import Command, print_json
from xgraph.errors import MethodError, nearest


@click.command(cls=Command)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def methods(name: str | None, as_json: bool) -> None:
    """List the methods, or describe one with its parameters."""
    import xgraph

    infos = {info.name: info for info in xgraph.list_methods()}
    if name is not None and name not in infos:
        raise MethodError(f"there is no method '{name}'{nearest(name, infos)} (`xgraph methods` lists them)")
    if as_json:
        print_json(asdict(infos[name]) if name else [asdict(info) for info in infos.values()])
    elif name:
        info = infos[name]
        click.echo(f"{info.name} ({info.kind}, needs {info.needs})\n\n{inspect.cleandoc(info.doc)}\n\nDefaults:")
        for parameter, default in info.parameters.items():
            click.echo(f"  {parameter}={default}")
    else:
        for info in infos.values():
            click.echo(f"{info.name:<20} {info.kind:<12} {info.summary}")
