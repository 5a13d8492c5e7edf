"""Writes the corpus as Paddle exports it, with what Paddle's own backward pass says; a program of its own.

``<folder>/<name>/<name>.json`` and ``<folder>/<name>.npz`` with the keys ``feed:<input>``, ``scores:<precision>`` and
``gradient:<precision>`` (at the float input). With ``FLAGS_enable_pir_api=0`` Paddle writes ``.pdmodel`` instead, and
this no reference: weights are drawn the same again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import paddle
from corpus.paddle_models import CASES, Case
from paddle import nn
from paddle.base import framework

ROWS = 6
RECURRENT = (nn.LSTM, nn.GRU)


def gradient(model: nn.Layer, case: Case, feeds: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns scores, and their gradients at the first input."""
    leaf, *others = (paddle.to_tensor(value) for value in feeds.values())
    leaf = leaf.astype(next(iter(model.parameters())).dtype)
    leaf.stop_gradient = False
    scores = case.score(model(leaf, *others))
    scores.sum().backward()
    return scores.numpy(), leaf.grad.numpy()


def double(model: nn.Layer, case: Case) -> nn.Layer:
    """Returns a copy in float64."""
    paddle.set_default_dtype("float64")
    copy = case.make()
    paddle.set_default_dtype("float32")
    if not any(isinstance(layer, RECURRENT) for layer in copy.sublayers()):
        copy.to(dtype="float64")  # it cannot convert a recurrent layer, and the default does not reach an old BatchNorm
    copy.set_state_dict({key: value.astype("float64") for key, value in model.state_dict().items()})
    copy.eval()
    return copy


def write(name: str, folder: Path) -> None:
    """Exports one model and its reference."""
    case = CASES[name]
    # Parameters and the layers of paths are counted per process: count each model's from 0.
    framework._name_struct = type(framework._name_struct)()
    with paddle.utils.unique_name.guard():
        model = case.build()
    paddle.jit.save(model, str(folder / name / name), input_spec=case.specs())
    if not paddle.get_flags("FLAGS_enable_pir_api")["FLAGS_enable_pir_api"]:
        return
    exact = double(model, case)
    for layer in [*model.sublayers(), *exact.sublayers()]:
        if isinstance(layer, RECURRENT):
            layer.train()  # they have no backward pass in evaluation mode
    feeds = case.feeds(ROWS)
    stored = {f"feed:{key}": value for key, value in feeds.items()}
    for precision, computed in (("float32", model), ("float64", exact)):
        stored[f"scores:{precision}"], stored[f"gradient:{precision}"] = gradient(computed, case, feeds)
    np.savez(folder / f"{name}.npz", **stored)


if __name__ == "__main__":
    for chosen in sys.argv[2:] or CASES:
        write(chosen, Path(sys.argv[1]))
