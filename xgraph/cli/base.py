"""What all commands share: error style and exit codes, ``--debug``, common options, output."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xgraph.errors import InputError, XGraphError

if TYPE_CHECKING:
    from xgraph.model import Model
    from xgraph.preprocess import Preprocess

F = TypeVar("F", bound=Callable[..., Any])
_DEBUG = "xgraph.debug"


class Command(click.Command):
    """A command whose errors are one line and exit code 1; usage errors are click's, with exit code 2.

    Interrupted, it ends with 130, as shells expect; files appear whole or not at all, so nothing needs cleaning up.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(["--debug"], is_flag=True, expose_value=False, callback=_remember, help="Show tracebacks.")
        )

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command and turns an XGraphError into its message."""
        try:
            return super().invoke(ctx)
        except XGraphError as error:
            if ctx.meta.get(_DEBUG):
                traceback.print_exc()
            click.echo(f"xgraph {self.name}: error: {' '.join(str(error).split())}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            if ctx.meta.get(_DEBUG):
                traceback.print_exc()
            click.echo(f"xgraph {self.name}: interrupted", err=True)
            ctx.exit(130)


def _remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta[_DEBUG] = value


def model_options(function: F) -> F:
    """Adds MODEL, ``--params`` and ``--no-verify``."""
    for decorate in (
        click.option("--no-verify", is_flag=True, help="Do not compare the imported model with its source."),
        click.option("--params", metavar="FILE", help="Paddle's parameters, where they do not lie beside MODEL."),
        click.argument("model"),
    ):
        function = decorate(function)
    return function


def target_option(function: F) -> F:
    """Adds ``--target``; ``xgraph.cli.targets`` reads it."""
    text = (
        "What is explained: class number or label, 3,7,7 (one per sample), top:K, contrast:A,B, index:I,J, "
        "pixel:C,Y,X, region:C,MASK.png or box:I,C; OUTPUT=T of an output other than the first. "
        "Default: the predicted class."
    )
    return click.option("-t", "--target", metavar="T", help=text)(function)


def preprocess_options(function: F) -> F:
    """Adds the options that say how pictures become the model's input."""
    for decorate in (
        click.option("--labels", metavar="FILE", help="Class names, one per line."),
        click.option("--layout", metavar="NCHW|NHWC", help="Axis order of the model's input; default: NCHW."),
        click.option("--std", metavar="R,G,B", help="What channels, in [0, 1], are divided by after that; default: 1."),
        click.option("--mean", metavar="R,G,B", help="What is subtracted from channels in [0, 1]; default: 0."),
        click.option("--size", metavar="HxW", help="Resize pictures to this: 224, or 224x320."),
        click.option("--preprocess", metavar="FILE.yml", help="Default: the inference.yml beside the model, if any."),
    ):
        function = decorate(function)
    return function


def load(model: str, params: str | None, no_verify: bool, spec: Preprocess | None = None) -> Model:
    """Loads the model that a command names."""
    import xgraph

    return xgraph.load(model, params=params, verify=not no_verify, preprocess=spec)


def spec_from(options: Mapping[str, Any]) -> Preprocess | None:
    """Returns the preprocessing that the options ask for, or None where they ask for none."""
    from xgraph.preprocess import Preprocess

    names = ("size", "mean", "std", "layout", "labels")
    given = {name: options[name] for name in names if options.get(name) is not None}
    if options.get("preprocess") is not None:
        if given:
            raise click.UsageError(f"--preprocess and --{next(iter(given))} exclude each other")
        return Preprocess.from_paddle(options["preprocess"])
    return Preprocess.from_options(**given) if given else None


def settings_from(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Reads ``--set key=value``; values are YAML, so numbers, true/false, null and lists come naturally.

    A value ``FILE.npy`` is the array in that file: a label map, a baseline, a background table.
    """
    import yaml

    parsed = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.UsageError(f"--set {pair}: write key=value")
        try:
            parsed[key.strip().replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise click.UsageError(f"--set {pair}: the value is not understood") from error
        if value.endswith(".npy"):
            parsed[key.strip().replace("-", "_")] = _array(value)
    return parsed


def _array(path: str) -> Any:
    """Returns the array in a file.

    Raises:
        InputError: It cannot be read.
    """
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: no array can be read from it ({' '.join(str(error).split())})") from error


def print_json(document: Any) -> None:
    """Prints one JSON document on standard output."""
    click.echo(json.dumps(document, indent=1, ensure_ascii=False))


def progress_bar(label: str) -> Callable[[int, int], None] | None:
    """Returns a progress callback that draws on standard error, or None where that is no terminal."""
    if not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    bars: list[Any] = []

    def show(done: int, total: int) -> None:
        if not bars:
            bars.append(tqdm(total=total, desc=label, unit="run", file=sys.stderr, leave=False))
        bars[0].update(done - bars[0].n)
        if done >= total:
            bars.pop().close()

    return show


def check_writable(folder: Path) -> None:
    """Makes sure before any work that files can be written into ``folder``.

    Raises:
        XGraphError: They cannot.
    """
    import os

    try:
        existing = next(parent for parent in (folder, *folder.resolve().parents) if parent.exists())
    except (OSError, RuntimeError) as error:  # a name that is too long, a loop of links
        raise XGraphError(f"{folder} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise XGraphError(
            f"{folder} cannot be written: {existing} is no folder that can be written to; choose another with -o"
        )
