"""Which room may import which. A room imports from rooms before it, never sideways or back."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FOUNDATION = {"errors", "feeds", "files", "of", "plan", "target", "result"}
"""Plain data and errors: they import nothing of ours but one another."""

RULES_READ = ("adjoint", "arithmetic", "body", "emit", "shapes", "site", "tabular", "walk")
"""What rules are written with: of the graph room, what emits, and what answers questions about a node."""

ALLOWED: dict[str, set[str]] = {
    "kernels": set(),
    "exporters": {"errors"},
    "graph": {"errors", "feeds", "files"},
    "rules": {"errors", *(f"graph.{module}" for module in RULES_READ)},
    "sampling": {"kernels", "resample", *FOUNDATION},
    "reducing": {"kernels", "resample", *FOUNDATION},
    "methods": {"sampling", "reducing", *FOUNDATION},
    "runtime": {"kernels", "graph.artifact", "graph.evaluator", *FOUNDATION},
    "render": {"resample", *FOUNDATION},
}
"""Room -> what it may import at run time, besides itself. ``import xgraph`` alone is the version."""

OWNERS = {
    "onnx_ir": {"graph"},
    "onnx_shape_inference": {"graph"},
    "onnxscript": {"graph"},
    "onnxruntime": {"runtime"},
    "numba": {"kernels"},
    "paddle": {"exporters"},
    "paddle2onnx": {"exporters"},
    "matplotlib": {"render"},
    "torch": set(),
}
"""Library -> the only rooms that may import it."""


def sources() -> list[tuple[str, Path]]:
    """Returns (room, file) of every source file; files at the top level are rooms of their own."""
    found = []
    for folder, prefix in ((ROOT / "xgraph", ""), (ROOT / "kernels", "kernels"), (ROOT / "exporters", "exporters")):
        for path in sorted(folder.rglob("*.py")):
            inside = path.relative_to(folder)
            found.append((prefix or (inside.parts[0] if len(inside.parts) > 1 else inside.stem), path))
    return found


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yields (line, module) of what is imported when the code runs, not for type checking alone."""

    def visit(node: ast.AST) -> Iterator[tuple[int, str]]:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    yield from visit(ast.parse(path.read_text()))


@pytest.mark.parametrize(("room", "path"), sources(), ids=lambda item: str(item).removeprefix(f"{ROOT}/"))
def test_imports(room: str, path: Path) -> None:
    wrong = []
    for line, module in imports(path):
        library = module.partition(".")[0]
        if library in OWNERS and room not in OWNERS[library]:
            wrong.append(f"line {line}: {library} belongs to {sorted(OWNERS[library]) or 'no room'}")
        if library != "xgraph" or module == "xgraph":
            continue
        target = module.removeprefix("xgraph.")
        allowed = ALLOWED.get(room, FOUNDATION if room in FOUNDATION else None)
        if allowed is None or target.partition(".")[0] == room:
            continue
        if not any(target == name or target.startswith(f"{name}.") for name in allowed):
            wrong.append(f"line {line}: {room} may not import {target}")
    assert not wrong, "\n".join(wrong)


def test_the_table_names_rooms_that_exist() -> None:
    rooms = {room for room, _ in sources()}
    assert set(ALLOWED) <= rooms
    assert rooms >= FOUNDATION
