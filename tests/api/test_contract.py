"""The public API, the command line and the bundle layout, as snapshots: they change on purpose or not at all."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest

import xgraph

HERE = Path(__file__).parent


def snapshot(name: str) -> list[list[str]]:
    """Returns the snapshot's blocks, each a list of lines."""
    return [block.splitlines() for block in (HERE / name).read_text().strip().split("\n\n")]


def signature(function: object) -> str:
    text, keyword_only = [], False
    for parameter in inspect.signature(function).parameters.values():  # type: ignore[arg-type]
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            text.append("*")
            keyword_only = True
        text.append(f"**{parameter.name}" if parameter.kind is parameter.VAR_KEYWORD else parameter.name)
    return f"({', '.join(text)})"


def test_public_names_and_signatures() -> None:
    listed = [
        f"xgraph.{name}" + ("" if isinstance(value, type) else signature(value))
        for name in sorted(xgraph.__all__)
        if not isinstance(value := getattr(xgraph, name), str)
    ]
    assert listed == snapshot("public_api.txt")[0]


@pytest.mark.parametrize("block", range(1, 5))
def test_class_members(block: int) -> None:
    for line in snapshot("public_api.txt")[block]:
        owner, _, rest = line.partition("." if "." in line.split("(")[0] else "(")
        cls = getattr(xgraph, owner)
        if "." not in line.split("(")[0]:
            assert signature(cls.__call__) == f"({rest}"
            continue
        name = rest.split("(")[0]
        # A dataclass field without a default is on its instances only.
        assert hasattr(cls, name) or name in getattr(cls, "__dataclass_fields__", {}), line
        if "(" in rest:
            expected = rest[len(name) + 1 : -1].split(", ")
            actual = list(inspect.signature(getattr(cls, name)).parameters)
            actual = [parameter for parameter in actual if parameter != "self"]
            assert actual[: len(expected)] == expected, line


def test_command_line() -> None:
    import click

    from xgraph.cli import command

    def describe(path: str, item: click.Command) -> str:
        arguments = [p.human_readable_name for p in item.params if isinstance(p, click.Argument)]
        options = {max(p.opts, key=len) for p in item.params if isinstance(p, click.Option)}
        return " ".join([path, *arguments, *sorted({*options, "--help"})])

    listed = [describe("xgraph", command)]
    listed += [describe(f"xgraph {name}", item) for name, item in sorted(command.commands.items())]
    assert listed == snapshot("cli.txt")[0]


def test_bundle_layout(tiny_bundle: Path) -> None:
    files, keys = snapshot("bundle.txt")
    found = sorted(p.relative_to(tiny_bundle).as_posix() for p in tiny_bundle.rglob("*") if p.is_file())
    assert found == files
    assert sorted(json.loads((tiny_bundle / "manifest.json").read_text())) == keys
