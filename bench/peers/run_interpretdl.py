"""Runs one method of InterpretDL in its own environment; bench/black_box.py calls this, see setup.sh.

    .venv-interpretdl/bin/python run_interpretdl.py lime WEIGHTS.npz PICTURE.npy --target 5 --out found.npz

The model is Paddle's ResNet-50 with the weights of the file, in the order of its layers. Prints one JSON document: the
seconds that the explanation took (imports and the making of the model are not in it) and versions.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import redirect_stdout
from importlib import metadata
from pathlib import Path
from time import perf_counter

import interpretdl
import numpy as np
import paddle
from paddle.vision.models import resnet50


def model_with(weights: Path) -> paddle.nn.Layer:
    """Returns ResNet-50 with these weights, in evaluation mode."""
    model = resnet50(pretrained=False)
    with np.load(weights) as stored:
        arrays = [stored[name] for name in sorted(stored.files)]
    state = model.state_dict()
    if len(state) != len(arrays):
        raise SystemExit(f"{len(arrays)} arrays for {len(state)} parameters")
    for (name, parameter), array in zip(state.items(), arrays, strict=True):
        # A linear layer's matrix lies the other way round.
        found = array.T if name == "fc.weight" else array
        if list(found.shape) != list(parameter.shape):
            raise SystemExit(f"{name}: {list(found.shape)} for {list(parameter.shape)}")
        parameter.set_value(found)
    model.eval()
    return model


def lime(model: paddle.nn.Layer, picture: np.ndarray, arguments: argparse.Namespace) -> dict[str, np.ndarray]:
    """Returns the coefficients by feature, and the label map."""
    interpreter = interpretdl.LIMECVInterpreter(model, device="cpu", random_seed=arguments.seed)
    found = interpreter.interpret(
        picture,
        interpret_class=arguments.target,
        num_samples=arguments.samples,
        batch_size=arguments.batch,
        visual=False,
    )
    pairs = dict(found[arguments.target])
    segments = interpreter.lime_results["segmentation"]
    return {"coefficients": np.asarray([pairs[k] for k in range(len(pairs))]), "segments": segments}


def occlusion(model: paddle.nn.Layer, picture: np.ndarray, arguments: argparse.Namespace) -> dict[str, np.ndarray]:
    """Returns the map."""
    interpreter = interpretdl.OcclusionInterpreter(model, device="cpu")
    found = interpreter.interpret(
        picture,
        (3, arguments.window, arguments.window),
        labels=arguments.target,
        strides=(3, arguments.stride, arguments.stride),
        perturbations_per_eval=arguments.batch,
        visual=False,
    )
    return {"map": np.asarray(found[0])}


def main() -> None:
    """Runs the method that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", choices=("lime", "occlusion"))
    parser.add_argument("weights", type=Path)
    parser.add_argument("picture", type=Path, help="uint8 (1, H, W, 3), RGB")
    parser.add_argument("--target", type=int, default=0)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--stride", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.threads:
        paddle.base.core.set_num_threads(arguments.threads)
    picture = np.load(arguments.picture)
    model = model_with(arguments.weights)
    with redirect_stdout(sys.stderr):
        start = perf_counter()
        found = {"lime": lime, "occlusion": occlusion}[arguments.method](model, picture, arguments)
        seconds = perf_counter() - start
    if arguments.out:
        np.savez(arguments.out, **found)
    versions = {name: metadata.version(name) for name in ("interpretdl", "paddlepaddle", "scikit-learn", "numpy")}
    print(json.dumps({"seconds": seconds, "versions": versions}))


if __name__ == "__main__":
    main()
