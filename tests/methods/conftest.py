"""The small nets, exported and loaded once per session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

import xgraph


@pytest.fixture(scope="session")
def net_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], xgraph.Model]:
    """Returns the function name of a net -> loaded model."""
    pytest.importorskip("torch")
    from methods.nets import export

    folder = tmp_path_factory.mktemp("nets")
    return cache(lambda name: xgraph.load(export(name, folder / f"{name}.onnx")))
