"""What Paddle deploys: imported, differentiated as Paddle itself does, and explained by several methods."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from e2e.closeness import STEADY, distance
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
OTHERS = ("segmenter", "detector", "lstm", "gru", "lstm_lengths", "gru_lengths", "bert")
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
KINKY = ("googlenet", "inception_v3")
"""Of these one row must have the right gradient, of the others all but one.

The rows are those farthest from a kink. Still, nets of this depth have millions of activations, and float32 takes a few
of most rows to the other side of a ReLU or a pool, in Paddle as in ONNX Runtime, which has no such kernels for float64.
A wrong rule is wrong in every row.
"""
STEPS = 3


class Writer:
    """Runs Paddle in a process of its own, for it warns when imported and gets in torch's way; writes what is asked."""

    def __init__(self, folder: Path, *, pir: bool) -> None:
        self.folder, self.log = folder, folder / "stderr"
        paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "FLAGS_enable_pir_api": str(int(pir))}
        command = [sys.executable, "-m", "corpus.paddle_reference", str(folder)]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, env=environment, stderr=log, text=True, bufsize=1, **streams)

    def write(self, name: str) -> Path:
        """Returns the folder that the model and its reference lie in."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{name}\n")
        assert any(line.strip() == name for line in self.process.stdout), self.log.read_text()[-3000:]
        return self.folder


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """Yields the function (model, format) -> (loaded model, Paddle's own numbers)."""
    with ExitStack() as stack:
        writers: dict[str, Writer] = {}

        @cache
        def written(name: str, suffix: str) -> Path:
            if suffix not in writers or writers[suffix].process.poll() is not None:
                writers[suffix] = Writer(tmp_path_factory.mktemp(suffix), pir=suffix == "json")
                stack.enter_context(writers[suffix].process)
            return writers[suffix].write(name)

        def load(name: str, suffix: str) -> tuple[xgraph.Model, Stored]:
            with np.load(written(name, "json") / f"{name}.npz") as stored:
                return xgraph.load(written(name, suffix) / name / f"{name}.{suffix}"), dict(stored)

        yield load


def explain(model: xgraph.Model, stored: Stored, name: str, method: str, **options: object) -> xgraph.Attribution:
    feeds = {key.removeprefix("feed:"): array for key, array in stored.items() if key.startswith("feed:")}
    return xgraph.explain(model, feeds, method, TARGETS.get(name, CHOSEN), **options)


def off(found: np.ndarray, exact: np.ndarray, agreeing: int) -> float:
    """Returns how far the best ``agreeing`` rows are off, relative to a row's largest entry."""
    axes = tuple(range(1, exact.ndim))
    distances = np.abs(found.astype(np.float64) - exact).max(axes) / np.abs(exact).max(axes)
    return float(np.sort(distances)[agreeing - 1])


@pytest.mark.parametrize(("name", "suffix"), MODELS)
def test_model_is_explained(name: str, suffix: str, loaded: Loaded) -> None:
    model, stored = loaded(name, suffix)
    gradient = explain(model, stored, name, "gradient")
    own = distance(stored["scores:float32"], stored["scores:float64"])
    assert distance(gradient.scores, stored["scores:float64"]) < max(IMPORT, WHOLE_MODEL * own)
    ((key, values),) = gradient.values.items()
    exact = stored["gradient:float64"]
    agreeing = 1 if name in KINKY else len(exact) - 1
    own = off(stored["gradient:float32"], exact, agreeing)
    assert own < STEADY  # or the reference proves nothing
    assert off(values, exact, agreeing) <= WHOLE_MODEL * own + FLOOR

    product = explain(model, stored, name, "input_x_gradient")
    assert distance(product.values[key], values.astype(np.float64) * stored["values"]) < FORMULA

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
