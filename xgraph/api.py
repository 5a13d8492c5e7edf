"""The Python API: thin, no logic of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from xgraph.bundle import is_bundle, read_bundle
from xgraph.compiler import coverage_of
from xgraph.errors import TargetError
from xgraph.inputs import prepare
from xgraph.loading import load_model
from xgraph.methods import MethodInfo, create, infos
from xgraph.model import Model
from xgraph.plan import Of
from xgraph.preprocess import Preprocess
from xgraph.program import Program
from xgraph.result import Attribution
from xgraph.runtime.providers import choose
from xgraph.runtime.run import Progress, Settings
from xgraph.target import Target

_TOGETHER = 8
"""Most targets in one graph: each adds a backward pass to it, and to the time it takes to open."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What each rule book says about one node."""

    node: str
    op: str
    books: Mapping[str, str]
    """Book -> ``rule``, ``constant: reason`` or ``missing``."""


def load(
    path: str | Path,
    *,
    params: str | Path | None = None,
    preprocess: Preprocess | None = None,
    verify: bool = True,
) -> Model:
    """Loads an exported model.

    Args:
        path: a ``.pdmodel``, ``.json`` or ``.onnx`` file, the prefix of Paddle's two files, a folder that holds one
            model, or a bundle.
        params: Paddle's parameter file, where it is not beside the model under the same name.
        preprocess: how images become the model's input; default: read from ``inference.yml`` beside the model.
        verify: run the imported graph against the source model and refuse it where they differ.

    Raises:
        ExportError: The model cannot be read or converted.
        GraphError: Its graph is invalid, or does not compute what the source model computes.
        BundleError: The bundle is damaged.
    """
    path = Path(path)
    if is_bundle(path):
        return read_bundle(path, preprocess)
    return load_model(path, params=Path(params) if params else None, preprocess=preprocess, verify=verify)


def compile(
    model: Model,
    method: str,
    *,
    profile: str = "auto",
    precision: str = "fp32",
    of: Of | None = None,
    output: str | None = None,
    **parameters: Any,
) -> Program:
    """Compiles a method for a model, for any class.

    Args:
        model: from ``load``.
        method: a name from ``list_methods``.
        profile: ``auto``, ``portable``, ``cpu``, ``openvino`` or ``cuda``: where the graphs are to run fast.
        precision: ``fp32``, or ``bf16`` for openvino.
        of: explain the ``logit``, ``probability`` or ``loss``.
        output: the model output to explain; default: the first float one.
        parameters: of the method.

    Raises:
        MethodError: The method or a parameter does not exist.
        UnsupportedOpError: Some operators have no rule (when the program first runs or is saved).
    """
    target = Target.top(output=output, of=of or "logit")
    return Program(model, create(method, parameters), target, profile=profile, precision=precision)


def explain(
    model: Model,
    x: Any,
    method: str = "gradient",
    target: Any = None,
    *,
    of: Of | None = None,
    device: str = "auto",
    precision: str = "fp32",
    batch: int | None = None,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    **parameters: Any,
) -> Attribution:
    """Explains N samples with one method.

    Args:
        model: from ``load``.
        x: an array (first axis: samples), a mapping input name -> array, or image paths.
        method: a name from ``list_methods``.
        target: a class number, one number per row, an ``xgraph.Target``, or None for the predicted class.
        of: explain the ``logit``, ``probability`` or ``loss``; default: the target's, else the logit.
        device: ``auto``, ``cpu``, ``openvino`` or ``cuda``.
        precision: ``fp32``, or ``bf16`` on openvino.
        batch: samples at once; default: from a quarter of the free memory.
        threads: threads of the engine; default: all cores.
        seed: of random draws.
        progress: called with (runs done, runs in all).
        parameters: of the method.

    Raises:
        XGraphError: Something does not fit; the message says what, where, and what to do.
    """
    chosen = Target.parse(target, of)
    program = Program(model, create(method, parameters), chosen, precision=precision)
    return program(x, chosen, device=device, batch=batch, threads=threads, seed=seed, progress=progress)


def explain_each(
    model: Model,
    x: Any,
    method: str = "gradient",
    targets: Sequence[Any] = (),
    *,
    of: Of | None = None,
    device: str = "auto",
    precision: str = "fp32",
    batch: int | None = None,
    threads: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    **parameters: Any,
) -> list[Attribution]:
    """Explains N samples once per target; the targets share the forward pass.

    Args:
        model: from ``load``.
        x: as in ``explain``.
        method: a name from ``list_methods``.
        targets: each as in ``explain``; all of one kind (class numbers, or entries of one output).
        of, device, precision, batch, threads, seed, progress, parameters: as in ``explain``.

    Returns:
        One Attribution of N rows per target.
    """
    chosen = [Target.parse(target, of) for target in targets]
    if not chosen:
        raise TargetError("explain_each needs at least one target")
    if len({(target.seed, target.of, target.output) for target in chosen}) > 1:
        raise TargetError(
            "the targets of explain_each must be of one kind, of one output, and all logit, probability or loss"
        )
    groups = ceil(len(chosen) / _TOGETHER)
    size = ceil(len(chosen) / groups)
    program = Program(model, create(method, parameters), chosen[0], precision=precision, targets=size)
    inputs = prepare(model, x)
    settings = Settings(choose(device, precision), threads, batch, model.batch, progress)
    results: list[Attribution] = []
    for start in range(0, len(chosen), size):
        group = chosen[start : start + size]
        padded = group + [group[-1]] * (size - len(group))
        results += program.explain(padded, inputs, settings, seed)[: len(group)]
    return results


def coverage(model: Model) -> list[Coverage]:
    """Returns for every node of the model what each rule book says, before anything runs."""
    return [Coverage(node, op, said) for node, op, said in coverage_of(model)]


def list_methods() -> list[MethodInfo]:
    """Returns all methods: names, parameters with defaults, what they need."""
    return infos()
