"""Models as Paddle 2.6 exported them, against the gradients it stored beside them."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from e2e.closeness import distance
from tolerances import IMPORT, RULE

import xgraph

pytestmark = [
    pytest.mark.paddle,
    pytest.mark.skipif(not (find_spec("paddle") and find_spec("paddle2onnx")), reason="needs the paddle extra"),
]

FOLDER = Path(__file__).parents[1] / "data" / "legacy"
MODELS = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())


@cache
def loaded(name: str) -> tuple[xgraph.Model, dict[str, np.ndarray]]:
    with np.load(FOLDER / name / f"{name}.npz") as stored:
        return xgraph.load(FOLDER / name / f"{name}.pdmodel"), dict(stored)


def feeds(model: xgraph.Model, stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {port.name: stored[port.name] for port in model.inputs}


@pytest.mark.parametrize("name", MODELS)
def test_gradient_is_what_paddle_stored(name: str) -> None:
    model, stored = loaded(name)
    found = xgraph.explain(model, feeds(model, stored), "gradient", stored["target"])
    picked = stored["logits"][np.arange(len(stored["target"])), stored["target"]]
    assert distance(found.scores, picked) < IMPORT
    ((key, values),) = found.values.items()
    assert key == model.inputs[0].name
    (exact,) = (array for name, array in stored.items() if name.startswith("grad_"))
    # Stored in float32 only, and these nets are small: two roundings apart.
    assert distance(values, exact) < RULE


@pytest.mark.parametrize("name", ["cnn", "vit", "bert"])
def test_rows_run_one_by_one(name: str) -> None:
    model, stored = loaded(name)
    together = xgraph.explain(model, feeds(model, stored), "gradient", stored["target"])
    for row, chosen in enumerate(stored["target"]):
        one = {key: array[row : row + 1] for key, array in feeds(model, stored).items()}
        alone = xgraph.explain(model, one, "gradient", int(chosen))
        for key, values in alone.values.items():
            assert distance(values, together.values[key][row : row + 1]) < RULE
