"""Writes models of the corpus as Paddle exports them, with what Paddle's own backward pass says; a program of its own.

It reads their names from the standard input, a line each, and answers with the name when the files are there:
``<folder>/<name>/<name>.json`` and ``<folder>/<name>.npz`` with the keys ``feed:<input>``, ``values`` (what is
explained: the float input, or word embeddings), ``scores:<precision>`` and ``gradient:<precision>``, of the inputs that
are farthest from a kink. With ``FLAGS_enable_pir_api=0`` Paddle writes ``.pdmodel`` instead, and this no reference:
weights are drawn the same again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import paddle
from corpus.paddle_models import CASES, Case
from e2e.closeness import NUDGE, steadiest
from paddle import nn
from paddle.base import framework

CANDIDATES = 7
ROWS = 4
RECURRENT = (nn.LSTM, nn.GRU)


def gradient(model: nn.Layer, case: Case, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns what is explained, the scores, and their gradients."""
    leaf, scores = case.explained(model, feeds)
    scores.sum().backward()
    return {"values": leaf.numpy(), "scores": scores.numpy(), "gradient": leaf.grad.numpy()}


def nudged(model: nn.Layer, case: Case, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Returns the gradients of a model whose weights are a little off."""
    random = np.random.Generator(np.random.Philox(5))
    kept = {key: value.numpy() for key, value in model.state_dict().items()}
    draw = {key: random.standard_normal(value.shape) for key, value in kept.items()}
    found = []
    for nudge in (NUDGE, -NUDGE):
        model.set_state_dict({key: value * (1 + nudge * draw[key]) for key, value in kept.items()})
        found.append(gradient(model, case, feeds)["gradient"])
    return found


def in_double(model: nn.Layer, case: Case) -> nn.Layer:
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
    exact = in_double(model, case)
    for layer in [*model.sublayers(), *exact.sublayers()]:
        if isinstance(layer, RECURRENT):
            layer.train()  # they have no backward pass in evaluation mode
    feeds = case.feeds(CANDIDATES)
    single, double = gradient(model, case, feeds), gradient(exact, case, feeds)
    others = [single["gradient"], *nudged(exact, case, feeds)]
    rows = steadiest(double["gradient"], others, ROWS)
    stored = {f"feed:{key}": value[rows] for key, value in feeds.items()} | {"values": single["values"][rows]}
    for key in ("scores", "gradient"):
        stored |= {f"{key}:float32": single[key][rows], f"{key}:float64": double[key][rows]}
    np.savez(folder / f"{name}.npz", **stored)


if __name__ == "__main__":
    for line in sys.stdin:
        write(line.strip(), Path(sys.argv[1]))
        print(line.strip(), flush=True)
