"""What Paddle deploys: imported, differentiated as Paddle itself does, and explained by several methods."""

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
from e2e.closeness import distance
from tolerances import FLOOR, FORMULA, IMPORT, WHOLE_MODEL

import xgraph
from xgraph import Target

pytestmark = [
    pytest.mark.paddle,
    pytest.mark.slow,
    pytest.mark.skipif(not (find_spec("paddle") and find_spec("paddle2onnx")), reason="needs the paddle extra"),
]

Stored = Mapping[str, np.ndarray]
Loaded = Callable[[str, str], tuple[xgraph.Model, Stored]]
VISION = (
    "lenet", "alexnet", "vgg11", "resnet18", "resnext", "wide_resnet", "densenet121", "googlenet", "inception_v3",
    "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "shufflenet_v2", "squeezenet1_1",
)  # fmt: skip
OTHERS = ("segmenter", "detector", "lstm", "gru", "lstm_lengths", "gru_lengths")
LEGACY = ("resnet18", "mobilenet_v1", "densenet121", "squeezenet1_1")
"""Also written as ``.pdmodel``: what Paddle 3 still can write so."""
MODELS = [(name, "json") for name in VISION + OTHERS] + [(name, "pdmodel") for name in LEGACY]
CHOSEN = 3
TARGETS = {
    "segmenter": Target.pixel(CHOSEN, 7, 9),
    "detector": Target.box(37, CHOSEN, output="fetch_name_1"),
}
LAYERS = {"googlenet": "Inception_8"}
"""Where Grad-CAM looks: the last maps by default, and GoogLeNet's last maps belong to an auxiliary output."""
STEPS = 3


def write(folder: Path, *names: str, pir: bool) -> Path:
    """Runs Paddle in a process of its own: it warns when imported, and gets in torch's way."""
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "FLAGS_enable_pir_api": str(int(pir))}
    command = [sys.executable, "-m", "corpus.paddle_reference", str(folder), *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """Returns the function (model, format) -> (loaded model, Paddle's own numbers)."""
    reference = write(tmp_path_factory.mktemp("corpus"), pir=True)
    folders = {"json": reference, "pdmodel": write(tmp_path_factory.mktemp("legacy"), *LEGACY, pir=False)}

    @cache
    def load(name: str, suffix: str) -> tuple[xgraph.Model, Stored]:
        with np.load(reference / f"{name}.npz") as stored:
            return xgraph.load(folders[suffix] / name / f"{name}.{suffix}"), dict(stored)

    return load


def explain(model: xgraph.Model, stored: Stored, name: str, method: str, **options: object) -> xgraph.Attribution:
    feeds = {key.removeprefix("feed:"): array for key, array in stored.items() if key.startswith("feed:")}
    return xgraph.explain(model, feeds, method, TARGETS.get(name, CHOSEN), **options)


def off(found: np.ndarray, exact: np.ndarray) -> float:
    """Returns the second smallest distance of a row.

    In nets of this depth a ReLU or a pool of some rows is so near its kink that rounding flips it, in Paddle's float32
    as in ours. A wrong rule is wrong in every row.
    """
    axes = tuple(range(1, exact.ndim))
    size = np.maximum(np.abs(exact).max(axes), 1e-3 * np.abs(exact).max())
    return float(np.sort(np.abs(found.astype(np.float64) - exact).max(axes) / size)[1])


@pytest.mark.parametrize(("name", "suffix"), MODELS)
def test_model_is_explained(name: str, suffix: str, loaded: Loaded) -> None:
    model, stored = loaded(name, suffix)
    gradient = explain(model, stored, name, "gradient")
    own = distance(stored["scores:float32"], stored["scores:float64"])
    assert distance(gradient.scores, stored["scores:float64"]) < max(IMPORT, WHOLE_MODEL * own)
    ((key, values),) = gradient.values.items()
    exact = stored["gradient:float64"]
    assert off(values, exact) <= WHOLE_MODEL * off(stored["gradient:float32"], exact) + FLOOR
    assert off(stored["gradient:float32"], exact) < IMPORT  # or the reference proves nothing

    product = explain(model, stored, name, "input_x_gradient")
    assert distance(product.values[key], values.astype(np.float64) * stored[f"feed:{key}"]) < FORMULA

    path = explain(model, stored, name, "integrated_gradients", steps=STEPS)
    assert path.values[key].shape == values.shape
    assert distance(path.scores, gradient.scores) < IMPORT
    assert (np.abs(path.values[key]) > 0).any()

    if name in VISION:
        options = {"layer": LAYERS[name]} if name in LAYERS else {}
        (maps,) = explain(model, stored, name, "grad_cam", relu=False, **options).values.values()
        assert maps.ndim == 3
    else:
        maps = explain(model, stored, name, "smooth_grad", samples=2).values[key]
        assert maps.shape == values.shape
    assert np.isfinite(maps).all()
    assert (np.abs(maps) > 0).any()
