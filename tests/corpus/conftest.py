"""What the model corpus shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

import xgraph
from xgraph.graph.evaluator import detach_weights
from xgraph.runtime.evaluate import evaluate


@pytest.fixture(scope="session")
def evaluated() -> Callable[[xgraph.Model, Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Returns the function (model, feeds) -> outputs by name, of the normalised graph."""

    def run(model: xgraph.Model, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = evaluate(*detach_weights(model.graph), feeds)
        return {port.name: array for port, array in zip(model.outputs, found, strict=True)}

    return run
