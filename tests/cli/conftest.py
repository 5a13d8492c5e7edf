"""Running the command line: in this process, or as a user does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import builders
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

Run = Callable[..., Result]
Shell = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``xgraph ...`` in an empty folder."""
    from xgraph.cli import command

    home = tmp_path / "here"
    home.mkdir()
    monkeypatch.chdir(home)

    def call(*arguments: object) -> Result:
        result = CliRunner().invoke(command, [str(a) for a in arguments], prog_name="xgraph")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Runs ``python -m xgraph ...`` in a process of its own; ``before`` is run first, in it."""
    home = tmp_path / "shell"
    home.mkdir()

    def call(*arguments: object, before: str = "") -> subprocess.CompletedProcess[str]:
        code = f"import sys\n{before}\nfrom xgraph.cli import main\nmain()"
        command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=home, timeout=120)

    return call


@pytest.fixture
def array(tmp_path: Path) -> Path:
    """Three samples for the tiny CNN."""
    path = tmp_path / "samples.npy"
    shape = (3, 3, builders.SIZE, builders.SIZE)
    np.save(path, np.random.default_rng(1).standard_normal(shape).astype(np.float32))
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of three pictures of different sizes, and the masks of an earlier run."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(2)
    for name, size in (("a.png", (20, 30)), ("b.jpg", (16, 16)), ("c.png", (40, 9))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(folder / name)
    np.savez(folder / "masks.npz", circle=np.ones(3))
    return folder


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("cat\ndog\nfox/vixen\ncrane\ncrane\n")
    return path
