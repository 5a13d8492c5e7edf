"""All rows of the rule book's tests: every module here that has ``CASES`` adds its own."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path

from rules.harness import Case

from xgraph.rules.vjp import vjp


def rows_of(*modules: str) -> list[Case]:
    """Returns the rows of modules, one after another."""
    return [row for name in modules for row in import_module(f"rules.{name}").CASES]


@cache
def all_rows() -> tuple[Case, ...]:
    """Returns the rows of all modules."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return tuple(rows_of(*(path.stem for path in files if "\nCASES = " in path.read_text())))


@cache
def one_row_each() -> tuple[Case, ...]:
    """Returns one row per operator that has a rule, with a batch where the operator's rows have one."""
    rows: dict[str, Case] = {}
    for row in sorted(all_rows(), key=lambda row: not row.dynamic):
        if vjp.entries[row.op].rule:
            rows.setdefault(row.op, row)
    return tuple(sorted(rows.values(), key=lambda row: row.op))
