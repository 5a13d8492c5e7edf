"""``xgraph methods``."""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict
from typing import Any

import click

from xgraph.cli.base import Command, print_json
from xgraph.errors import MethodError, nearest

_NEEDS = {"gradient": "a gradient rule for every node", "forward": "nothing but the model's answers"}


@click.command(cls=Command, short_help="List the methods, or describe one.")
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
        click.echo(f"{info.name} ({info.kind}, needs {_NEEDS.get(info.needs, info.needs)})")
        click.echo(f"\n{inspect.cleandoc(info.doc)}\n\nDefaults:")
        for parameter, default in info.parameters.items():
            # As YAML, which is how --set reads values.
            click.echo(f"  --set {parameter}={_yaml(default)}")
        click.echo(f"\nxgraph explain MODEL INPUT --method {info.name}")
    else:
        for info in infos.values():
            click.echo(f"{info.name:<20} {info.kind:<12} {info.summary}")
        click.echo("\n`xgraph methods NAME` describes one", err=True)


def _yaml(default: Any) -> str:
    return json.dumps(default) if isinstance(default, bool | int | float | None) else str(default)
