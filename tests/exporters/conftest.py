"""Paddle models for the exporters' tests, each exported once per session: a child process costs seconds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from xgraph.exporters import Exported, find

DATA = Path(__file__).parents[1] / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what needs Paddle before any fixture of the session starts it."""
    if find_spec("paddle") and find_spec("paddle2onnx"):
        return
    for item in items:
        if item.get_closest_marker("paddle"):
            item.add_marker(pytest.mark.skip(reason="needs the paddle extra"))


@pytest.fixture(scope="session")
def legacy() -> Path:
    """Folder of the ``.pdmodel`` fixtures, written by Paddle 2.6."""
    return DATA / "legacy"


@pytest.fixture(scope="session")
def pir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the same models as ``.json``, written by the installed Paddle."""
    folder = tmp_path_factory.mktemp("pir")
    # In a process of its own: Paddle warns when imported, and keeps what it registers.
    subprocess.run([sys.executable, str(DATA / "make_pir.py"), str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def exported(pir: Path, legacy: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Exported]:
    """Exports ``(format, model)`` the first time it is asked for; ``traps`` are legacy files too."""
    done: dict[tuple[str, str], Exported] = {}

    def export(kind: str, name: str) -> Exported:
        if (kind, name) not in done:
            folder = {"pir": pir, "legacy": legacy, "traps": DATA / "traps"}[kind]
            exporter, files = find(folder / name)
            done[kind, name] = exporter.export(files, tmp_path_factory.mktemp(f"{kind}-{name}"))
        return done[kind, name]

    return export
