"""The Python API: thin, no logic of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

from xgraph.bundle import is_bundle, read_bundle
from xgraph.compiler import coverage_of, explained_shape
from xgraph.errors import ExportError, TargetError
from xgraph.inputs import prepare
from xgraph.loading import load_model
from xgraph.methods import Method, MethodInfo, create, infos, objective
from xgraph.model import Model
from xgraph.of import Of
from xgraph.preprocess import Preprocess
from xgraph.program import Program
from xgraph.result import Attribution
from xgraph.runtime.run import Progress
from xgraph.target import Target

_TOGETHER = 8
"""Most targets in one graph: each adds a backward pass to it, and to the time it takes to open."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What each rule book says about one node."""

    node: str
    """Its name; for a node in the body of If, Loop or Scan those of the nodes around it come in front: ``loop/add``."""
    op: str
    books: Mapping[str, str]
    """Book -> ``rule``, ``rule, needs WHAT``, ``constant: reason`` or ``missing: reason``."""
    part_of: str | None = None
    """The operator and node of the file that import took apart into this node and others."""

    def missing(self, book: str) -> bool:
        """Tells whether ``book`` says nothing about the operator."""
        return self.books[book].startswith("missing")


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
        if params is not None:
            raise ExportError(f"{path} is a bundle, which holds its parameters; leave {params} out")
        return read_bundle(path, preprocess)
    return load_model(path, params=Path(params) if params else None, preprocess=preprocess, verify=verify)


def compile(
    model: Model,
    method: str,
    *,
    profile: str = "auto",
    precision: str | None = None,
    of: Of | None = None,
    output: str | None = None,
    target: Any = None,
    **parameters: Any,
) -> Program:
    """Compiles a method for a model, for any class.

    Where the output has more axes than classes (maps, boxes), there is no predicted class: the program is then called
    with a Target, and its file takes ``xg_seed``, as it does for a ``target`` that is not one class per row.

    Args:
        model: from ``load``.
        method: a name from ``list_methods``.
        profile: ``auto``, ``portable``, ``cpu``, ``openvino`` or ``cuda``: where the graphs are to run fast.
        precision: ``fp32``, or ``bf16`` for openvino; default: that of the bundle, else ``fp32``.
        of: explain the ``logit``, ``probability`` or ``loss``; default: what the method explains, mostly the logit.
        output: the model output to explain; default: the first float one.
        target: what the program explains when it is called without one, and what kind of target its file takes;
            default: the predicted class.
        parameters: of the method.

    Raises:
        MethodError: The method or a parameter does not exist.
        UnsupportedOpError: Some operators have no rule (when the program first runs or is saved).
    """
    made = create(method, parameters)
    chosen = of or objective(made, model, output)
    if target is not None:
        aim = _target(target, of, made, model)
        aim = aim if output is None else replace(aim, output=output)
    elif len(explained_shape(model, output)) == 2:
        aim = Target.top(output=output, of=chosen)
    else:
        aim = Target.index((), output=output, of=chosen)
    return Program(model, made, aim, profile=profile, precision=precision)


def explain(
    model: Model,
    x: Any,
    method: str = "gradient",
    target: Any = None,
    *,
    of: Of | None = None,
    device: str = "auto",
    precision: str | None = None,
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
        precision: ``fp32``, or ``bf16`` on openvino; default: that of the bundle, else ``fp32``.
        batch: samples at once; default: from a quarter of the free memory.
        threads: threads of the engine; default: all cores.
        seed: of random draws.
        progress: called with (runs done, runs in all).
        parameters: of the method.

    Raises:
        XGraphError: Something does not fit; the message says what, where, and what to do.
    """
    made = create(method, parameters)
    chosen = _target(target, of, made, model)
    program = Program(model, made, chosen, precision=precision)
    return program(x, chosen, device=device, batch=batch, threads=threads, seed=seed, progress=progress)


def explain_each(
    model: Model,
    x: Any,
    method: str = "gradient",
    targets: Sequence[Any] = (),
    *,
    of: Of | None = None,
    device: str = "auto",
    precision: str | None = None,
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
        of: as in ``explain``; here and below.
        device: where to run.
        precision: what to compute in.
        batch: samples at once.
        threads: of the engine.
        seed: of random draws.
        progress: called with (runs done, runs in all).
        parameters: of the method.

    Returns:
        One Attribution of N rows per target.
    """
    made = create(method, parameters)
    chosen = [_target(target, of, made, model) for target in targets]
    if not chosen:
        raise TargetError("explain_each needs at least one target")
    if len({(target.seed, target.of, model.output(target.output).name) for target in chosen}) > 1:
        raise TargetError(
            "the targets of explain_each must be of one kind, of one output, and all logit, probability or loss"
        )
    groups = ceil(len(chosen) / _TOGETHER)
    size = ceil(len(chosen) / groups)
    program = Program(model, made, chosen[0], precision=precision, targets=size)
    inputs = prepare(model, x)
    settings = program.settings(device, precision, batch=batch, threads=threads, progress=progress)
    results: list[Attribution] = []
    for start in range(0, len(chosen), size):
        group = chosen[start : start + size]
        padded = group + [group[-1]] * (size - len(group))
        results += program.explain(padded, inputs, settings, seed)[: len(group)]
    return results


def coverage(model: Model) -> list[Coverage]:
    """Returns for every node of the model, bodies included, what each rule book says, before anything runs."""
    return [Coverage(*row) for row in coverage_of(model)]


def list_methods() -> list[MethodInfo]:
    """Returns all methods: names, parameters with defaults, what they need."""
    return infos()


def _target(given: Any, of: Of | None, method: Method, model: Model) -> Target:
    """Returns the target; where neither the caller nor a Target says what of it, the method does."""
    return Target.parse(given, of if of or isinstance(given, Target) else objective(method, model))
