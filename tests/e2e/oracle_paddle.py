"""Writes Paddle models as ``.json`` and what Paddle's own backward pass says; a program of its own.

``<folder>/<name>/<name>.json``, ``.pdiparams`` and ``<folder>/<name>.npz`` with the keys ``feed:<input>``,
``<what>:<of>:<precision>`` where ``what`` is ``scores``, ``values`` or ``gradient`` (at the float input or the word
embeddings), ``last_values`` or ``last_gradient`` (at the last maps).

Gradients come from the full backward pass with trainable parameters: with a frozen scale, Paddle's LayerNorm forgets
it in the gradient of its input.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TypeAlias

import numpy as np
import paddle
from e2e.closeness import NUDGES, steadiest
from e2e.models_paddle import MODELS, build, candidates, double
from paddle import nn
from paddle.base import framework
from paddle.nn import functional as F

CLASSES = (1, 3, 0)
CANDIDATES = {"bert": 4}
"""More rows of text would be all padding."""
MOST_CANDIDATES = 16
Feeds: TypeAlias = dict[str, np.ndarray]
OF = ("logit", "probability", "loss")


def explain(model: nn.Layer, name: str, feeds: Feeds, of: str) -> Feeds:
    """Returns scores and gradients of row i's class ``CLASSES[i]``."""
    seen: dict[str, paddle.Tensor] = {}

    def keep(_layer: nn.Layer, _inputs: object, output: paddle.Tensor) -> None:
        output.retain_grads()
        seen["last_"] = output

    place = MODELS[name].last
    hook = model.get_sublayer(place).register_forward_post_hook(keep) if place else None
    seen[""], logits = forward(model, name, feeds)
    explained = {"logit": lambda x: x, "probability": F.softmax, "loss": lambda x: -F.log_softmax(x)}[of](logits)
    scores = (explained * F.one_hot(paddle.to_tensor(CLASSES), explained.shape[1]).astype(explained.dtype)).sum(1)
    scores.sum().backward()
    if hook:
        hook.remove()
    result = {"scores": scores.numpy()}
    for prefix, tensor in seen.items():
        result[f"{prefix}values"], result[f"{prefix}gradient"] = tensor.numpy(), tensor.grad.numpy()
    return result


def forward(model: nn.Layer, name: str, feeds: Feeds) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Returns the explained leaf (the float input, or the word embeddings) and the logits."""
    dtype = next(iter(model.parameters())).dtype
    given = [paddle.to_tensor(value) for value in feeds.values()]
    if name == "bert":
        words = model.words(given[0]).detach()
        words.stop_gradient = False
        return words, model.after_embedding(words, *given)
    leaf = given[0].astype(dtype)
    leaf.stop_gradient = False
    return leaf, getattr(model, "logits", model)(leaf)


def steady_feeds(name: str, model: nn.Layer) -> Feeds:
    """Returns the inputs, of some candidates, that are farthest from a kink."""
    found = candidates(name, CANDIDATES.get(name, MOST_CANDIDATES))
    random = np.random.Generator(np.random.Philox(5))
    exact = {key: value.numpy() for key, value in model.state_dict().items()}
    draws = [{key: random.standard_normal(value.shape) for key, value in exact.items()} for _ in range(2)]
    seen = []
    for nudge, draw in NUDGES:
        model.set_state_dict({key: value * (1 + nudge * draws[draw][key]) for key, value in exact.items()})
        leaf, logits = forward(model, name, found)
        logits.square().sum().backward()
        seen.append(leaf.grad.numpy())
    model.set_state_dict(exact)
    rows = steadiest(seen[0], seen[1:], len(CLASSES))
    return {key: value[rows] for key, value in found.items()}


def write(name: str, folder: Path) -> None:
    """Exports one model and its reference."""
    # Parameters and the layers of paths are counted per process: count each model's from 0.
    framework._name_struct = type(framework._name_struct)()
    with paddle.utils.unique_name.guard():
        model, specs = build(name)
    paddle.jit.save(model, str(folder / name / name), input_spec=specs)
    exact = double(name, model)
    for layer in [*model.sublayers(), *exact.sublayers()]:
        if isinstance(layer, nn.LSTM):
            layer.train()  # it has no backward pass in evaluation mode
    feeds = steady_feeds(name, exact)
    stored = {f"feed:{key}": value for key, value in feeds.items()}
    for of in OF:
        for dtype, computed in (("float32", model), ("float64", exact)):
            stored |= {f"{key}:{of}:{dtype}": value for key, value in explain(computed, name, feeds, of).items()}
    np.savez(folder / f"{name}.npz", **stored)


if __name__ == "__main__":
    for chosen in sys.argv[2:] or MODELS:
        write(chosen, Path(sys.argv[1]))
