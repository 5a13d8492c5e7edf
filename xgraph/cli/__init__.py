"""The command line. Each command is a file; nothing heavy is imported before a command runs."""

from __future__ import annotations

import sys
from io import TextIOWrapper

import click

from xgraph import __version__
from xgraph.cli.bench import bench
from xgraph.cli.compile import compile_
from xgraph.cli.demo import demo
from xgraph.cli.doctor import doctor
from xgraph.cli.explain import explain
from xgraph.cli.inspect import inspect
from xgraph.cli.methods import methods


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="xgraph")
def command() -> None:
    """Explain the predictions of exported inference models (Paddle and ONNX)."""


for _item in (bench, compile_, demo, doctor, explain, inspect, methods):
    command.add_command(_item)


def main() -> None:
    """Entry point of ``xgraph`` and ``python -m xgraph``."""
    # Formulas and labels must not end a command on a terminal whose character set lacks them.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    command(prog_name="xgraph")


__all__ = ["command", "main"]
