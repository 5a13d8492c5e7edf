"""What torch's autograd says, in either precision, and what its exporters write."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from e2e.closeness import NUDGES, steadiest
from e2e.models_torch import MODELS, build
from torch import Tensor, nn

NEWEST = min(onnx.defs.onnx_opset_version(), 23)
"""Attention is an operator from 23 on, which Paddle's converter keeps onnx below."""
EXPORTERS = ("script17", "dynamo18", f"dynamo{NEWEST}")
"""torch's older exporter and the one on torch.export, each followed by the opset."""
ROWS, CANDIDATES = 5, 12


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


@cache
def inputs(name: str) -> dict[str, Tensor]:
    """Returns seeded inputs of the ``ROWS`` candidates that are farthest from a kink."""
    torch.manual_seed(1)
    candidates = MODELS[name].inputs(CANDIDATES)
    model = build(name).double()
    exact = {key: value.clone() for key, value in model.state_dict().items()}
    draws = [{key: torch.randn(value.shape, dtype=torch.float64) for key, value in exact.items()} for _ in range(2)]
    seen = []
    for nudge, draw in NUDGES:
        floats = {key: value for key, value in exact.items() if value.is_floating_point()}
        model.load_state_dict({**exact, **{k: v * (1 + nudge * draws[draw][k]) for k, v in floats.items()}})
        seen.append(_at_the_input(name, model, candidates))
    rows = steadiest(seen[0], seen[1:], ROWS)
    return {key: value[rows] for key, value in candidates.items()}


def feeds(name: str) -> dict[str, np.ndarray]:
    """Returns the inputs as arrays."""
    return {key: value.numpy() for key, value in inputs(name).items()}


def _at_the_input(name: str, model: nn.Module, example: Mapping[str, Tensor]) -> np.ndarray:
    """Returns the gradient of the sum of the outputs' squares: every unit has a say in it."""
    seen = _differentiate(model, [], MODELS[name].embedding, example, lambda outputs, _: outputs.square().sum())[1]
    return next(value.grad for value in seen.values() if value.grad is not None).numpy()


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
    logits = "head" if case.softmax else None

    def scores_of(outputs: Tensor, seen: Mapping[str, Tensor]) -> Tensor:
        return _of(seen[logits] if logits else outputs, of)[at]

    places = [*case.layers, *([logits] if logits else [])]
    model = build(name).to(dtype)
    outputs, seen = _differentiate(model, places, case.embedding, example, lambda *given: scores_of(*given).sum())
    scores = scores_of(outputs, seen)
    gradients = {key: value.grad for key, value in seen.items()}
    return Reference(
        outputs.detach().numpy(),
        scores.detach().numpy(),
        {key: value.detach().numpy() for key, value in seen.items()},
        {key: value.numpy() for key, value in gradients.items() if value is not None},
    )


def _differentiate(
    model: nn.Module,
    places: Sequence[str],
    embedding: str | None,
    example: Mapping[str, Tensor],
    explained: Callable[[Tensor, Mapping[str, Tensor]], Tensor],
) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns the outputs, and the float inputs and what ``places`` return, with their gradients."""
    dtype = next(model.parameters()).dtype
    given = {key: value.to(dtype, copy=True) if value.is_floating_point() else value for key, value in example.items()}
    seen = {key: value.requires_grad_() for key, value in given.items() if value.is_floating_point()}

    def keep(key: str, value: Tensor) -> None:
        value.retain_grad()
        seen[key] = value

    hooks = [
        model.get_submodule(key).register_forward_hook(lambda _module, _args, value, key=key: keep(key, value))
        for key in [*([embedding] if embedding else []), *places]
    ]
    outputs = model(*given.values())
    explained(outputs, seen).backward()
    for hook in hooks:
        hook.remove()
    return outputs, seen


def _of(logits: Tensor, of: str) -> Tensor:
    axis = 1 if logits.dim() == 4 else -1
    if of == "logit":
        return logits
    return logits.softmax(axis) if of == "probability" else -logits.log_softmax(axis)


def export(name: str, exporter: str, path: Path) -> Path:
    """Writes the model as ONNX, with a free batch, and a free number of tokens where the case says so."""
    case, dynamo, opset = MODELS[name], exporter.startswith("dynamo"), int(exporter.removeprefix("script")[-2:])
    axes = {0: "batch", 1: "sequence"} if case.sequence else {0: "batch"}
    example = {key: value[:2] for key, value in inputs(name).items()}
    return write(build(name), example, axes, path, dynamo=dynamo, opset=opset)


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
            options = {"dynamic_axes": {key: dict(axes) for key in names} if axes else None}
        torch.onnx.export(model, tuple(example.values()), path, dynamo=dynamo, **common, **options)
    return path
