"""Writes Paddle models as ``.json`` and what Paddle's own backward pass says; a program of its own.

``<folder>/<name>/<name>.json``, ``.pdiparams`` and ``<folder>/<name>.npz`` with the keys ``feed:<input>``,
``<what>:<of>:<precision>`` where ``what`` is ``scores``, ``values`` or ``gradient`` (at the float input or the word
embeddings), ``layer_values`` or ``layer_gradient``.

Gradients come from the full backward pass with trainable parameters: with a frozen scale, Paddle's LayerNorm forgets
it in the gradient of its input.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import paddle
from e2e.models_paddle import MODELS, build, double, feeds
from paddle import nn
from paddle.base import framework
from paddle.nn import functional as F

CLASSES = (1, 3, 0)
OF = ("logit", "probability", "loss")


def explain(model: nn.Layer, name: str, of: str, dtype: str) -> dict[str, np.ndarray]:
    """Returns scores and gradients of row i's class ``CLASSES[i]``."""
    given = {
        key: paddle.to_tensor(value.astype(dtype) if value.dtype.kind == "f" else value)
        for key, value in feeds(name).items()
    }
    seen: dict[str, paddle.Tensor] = {}

    def keep(_layer: nn.Layer, _inputs: object, output: paddle.Tensor) -> None:
        output.retain_grads()
        seen["layer_"] = output

    place = MODELS[name].layer
    hook = model.get_sublayer(place).register_forward_post_hook(keep) if place else None
    logits_of = getattr(model, "logits", model)
    if name == "bert":
        ids, mask = given.values()
        words = paddle.to_tensor(model.words(ids).numpy(), stop_gradient=False)
        seen[""], logits = words, model.after_embedding(words, ids, mask)
    else:
        (image,) = given.values()
        image.stop_gradient = False
        seen[""], logits = image, logits_of(image)
    explained = {"logit": lambda x: x, "probability": F.softmax, "loss": lambda x: -F.log_softmax(x)}[of](logits)
    picked = F.one_hot(paddle.to_tensor(CLASSES), explained.shape[1]).astype(dtype)
    scores = (explained * picked).sum(1)
    scores.sum().backward()
    if hook:
        hook.remove()
    result = {"scores": scores.numpy()}
    for prefix, tensor in seen.items():
        result[f"{prefix}values"], result[f"{prefix}gradient"] = tensor.numpy(), tensor.grad.numpy()
    model.clear_gradients()
    return {f"{key}:{of}:{dtype}": value for key, value in result.items()}


def write(name: str, folder: Path) -> None:
    """Exports one model and its reference."""
    # Parameters and the layers of paths are counted per process: count each model's from 0.
    framework._name_struct = type(framework._name_struct)()
    with paddle.utils.unique_name.guard():
        model, specs = build(name)
    paddle.jit.save(model, str(folder / name / name), input_spec=specs)
    stored = {f"feed:{key}": value for key, value in feeds(name).items()}
    for model, dtype in ((model, "float32"), (double(name, model), "float64")):
        for layer in model.sublayers():
            if isinstance(layer, nn.LSTM):
                layer.train()  # it has no backward pass in evaluation mode
        for of in OF:
            stored |= explain(model, name, of, dtype)
    np.savez(folder / f"{name}.npz", **stored)


if __name__ == "__main__":
    for chosen in sys.argv[2:] or MODELS:
        write(chosen, Path(sys.argv[1]))
