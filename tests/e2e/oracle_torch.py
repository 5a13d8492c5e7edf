"""What torch's autograd says, in either precision, and what its exporters write."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from e2e.models_torch import MODELS, build, inputs
from torch import Tensor, nn

EXPORTERS: Mapping[str, tuple[bool, int]] = {"dynamo18": (True, 18), "dynamo22": (True, 22), "script17": (False, 17)}
"""Name -> (torch.export based?, opset)."""


@dataclass(frozen=True)
class Reference:
    """One backward pass."""

    outputs: np.ndarray
    """What the model returns."""
    scores: np.ndarray
    """The explained number of each row."""
    values: Mapping[str, np.ndarray]
    """Inputs and modules -> what they hold, or return."""
    gradients: Mapping[str, np.ndarray]
    """Of each row's score."""


def feeds(name: str) -> dict[str, np.ndarray]:
    """Returns the seeded inputs as arrays."""
    return {key: value.numpy() for key, value in inputs(name).items()}


@cache
def reference(name: str, classes: tuple[int, ...], of: str, dtype: torch.dtype) -> Reference:
    """Returns gradients of row i's class ``classes[i]`` at float inputs, at the embedding and at the case's layers."""
    return backward(name, inputs(name), entry(name, classes), of, dtype)


def entry(name: str, classes: Sequence[int]) -> tuple[Any, ...]:
    """Returns where in the logits the explained numbers are: one per row."""
    position = MODELS[name].position
    return (np.arange(len(classes)), list(classes)) if position is None else (slice(None), *position)


def backward(name: str, example: Mapping[str, Tensor], at: tuple[Any, ...], of: str, dtype: torch.dtype) -> Reference:
    """Returns gradients of the entries ``at`` of the logits, probabilities or losses."""
    case = MODELS[name]
    model = build(name).to(dtype)
    given = {key: value.to(dtype) if value.is_floating_point() else value for key, value in example.items()}
    seen = {key: value.requires_grad_() for key, value in given.items() if value.is_floating_point()}

    def keep(key: str, value: Tensor) -> None:
        value.retain_grad()
        seen[key] = value

    for key in {*case.layers, *([case.embedding] if case.embedding else []), *(["head"] if case.softmax else [])}:
        model.get_submodule(key).register_forward_hook(lambda _module, _args, value, key=key: keep(key, value))
    outputs = model(*given.values())
    logits = seen.pop("head") if case.softmax else outputs
    scores = _of(logits, of)[at]
    scores.sum().backward()
    gradients = {key: value.grad for key, value in seen.items()}
    return Reference(
        outputs.detach().numpy(),
        scores.detach().numpy(),
        {key: value.detach().numpy() for key, value in seen.items()},
        {key: value.numpy() for key, value in gradients.items() if value is not None},
    )


def _of(logits: Tensor, of: str) -> Tensor:
    axis = 1 if logits.dim() == 4 else -1
    if of == "logit":
        return logits
    return logits.softmax(axis) if of == "probability" else -logits.log_softmax(axis)


def export(name: str, exporter: str, path: Path) -> Path:
    """Writes the model as ONNX, with a free batch, and a free number of tokens where the case says so."""
    case, (dynamo, opset) = MODELS[name], EXPORTERS[exporter]
    axes = {0: "batch", 1: "sequence"} if case.sequence else {0: "batch"}
    return write(build(name), inputs(name, 2), axes, path, dynamo=dynamo, opset=opset)


def write(
    model: nn.Module, example: Mapping[str, Tensor], axes: Mapping[int, str], path: Path, *, dynamo: bool, opset: int
) -> Path:
    """Exports ``model``; every input has the free ``axes``."""
    names = list(example)
    common: dict[str, Any] = {"opset_version": opset, "input_names": names, "output_names": ["output"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both exporters warn about themselves
        if dynamo:
            free = tuple({axis: torch.export.Dim(label) for axis, label in axes.items()} for _ in names)
            options: dict[str, Any] = {"dynamic_shapes": free if axes else None, "verbose": False}
        else:
            options = {"dynamic_axes": {key: dict(axes) for key in names}}
        torch.onnx.export(model, tuple(example.values()), path, dynamo=dynamo, **common, **options)
    return path
