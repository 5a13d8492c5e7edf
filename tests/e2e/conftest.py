"""Exported models, each written and loaded once per session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

import xgraph


@pytest.fixture(scope="session")
def from_torch(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], xgraph.Model]:
    """Returns the function (model, exporter) -> loaded model."""
    from e2e.oracle_torch import export

    folder = tmp_path_factory.mktemp("torch")
    return cache(lambda name, exporter: xgraph.load(export(name, exporter, folder / f"{name}-{exporter}.onnx")))
