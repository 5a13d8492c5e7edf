"""Exported models, each written and loaded once per session."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import xgraph


@pytest.fixture(scope="session")
def from_torch(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], xgraph.Model]:
    """Returns the function (model, exporter) -> loaded model."""
    import torch
    from e2e.oracle_torch import export

    torch.set_num_threads(1)  # small models; waiting threads would take the cores from the tests beside this one
    folder = tmp_path_factory.mktemp("torch")
    return cache(lambda name, exporter: xgraph.load(export(name, exporter, folder / f"{name}-{exporter}.onnx")))


@pytest.fixture(scope="session")
def paddle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of Paddle models as ``.json``, each with what Paddle's own backward pass says."""
    if not (find_spec("paddle") and find_spec("paddle2onnx")):
        pytest.skip("needs the paddle extra")
    folder = tmp_path_factory.mktemp("paddle")
    # In a process of its own: Paddle warns when imported, and gets in torch's way.
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "e2e.oracle_paddle", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="session")
def from_paddle(paddle_folder: Path) -> Callable[[str], tuple[xgraph.Model, Mapping[str, np.ndarray]]]:
    """Returns the function model -> (loaded model, what the reference holds)."""

    @cache
    def load(name: str) -> tuple[xgraph.Model, Mapping[str, np.ndarray]]:
        with np.load(paddle_folder / f"{name}.npz") as stored:
            return xgraph.load(paddle_folder / name / f"{name}.json"), dict(stored)

    return load
