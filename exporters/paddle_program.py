"""A Paddle program (``.json``), as far as names and repairs need it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DIALECTS = {"0": "builtin", "1": "pd_op"}


@dataclass(frozen=True, slots=True)
class Op:
    """One operator of the main block."""

    name: str
    """``pd_op.conv2d.3``: dialect, kind, and how many of the kind came before."""
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Program:
    """The main block, up to the first operator that holds a block of its own."""

    ops: tuple[Op, ...]
    parameters: Mapping[int, str]
    """Value -> name of the parameter that it is."""


def read_program(path: Path) -> Program:
    """Returns the program that the file holds."""
    block = json.loads(path.read_text(encoding="utf-8"))["program"]["regions"][0]["blocks"][0]["ops"]
    parameters = {entry["O"]["%"]: entry["A"][3] for entry in block if entry["#"] == "p"}
    return Program(tuple(_ops(block)), parameters)


def _ops(block: list[dict[str, Any]]) -> Iterator[Op]:
    count: Counter[str] = Counter()
    for entry in block:
        if entry["#"] == "p":
            continue
        if "regions" in entry:
            return  # the converter counts what is inside too, so no number after this is certain
        dialect, _, kind = entry["#"].partition(".")
        name = f"{DIALECTS.get(dialect, dialect)}.{kind}"
        attributes = {item["N"]: item["AT"].get("D") for item in entry.get("A", ())}
        inputs = tuple(operand["%"] for operand in entry["I"])
        outputs = tuple(result["%"] for result in entry["O"])
        yield Op(f"{name}.{count[name]}", kind, inputs, outputs, attributes)
        count[name] += 1
