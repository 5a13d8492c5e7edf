"""Program: a method compiled for a model, reusable over inputs and targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from xgraph.compiler import attribution_names, build, class_role, explained_shape, seed_name
from xgraph.errors import MethodError, TargetError
from xgraph.graph.artifact import Artifact
from xgraph.graph.write import read_artifact, write_file
from xgraph.inputs import prepare
from xgraph.methods import Method
from xgraph.model import Model
from xgraph.plan import Feeds, Plan, Recipe, Stage
from xgraph.reducing import Take
from xgraph.result import Attribution, Provenance, ResolvedTarget
from xgraph.runtime.providers import choose
from xgraph.runtime.run import Progress, Settings, run
from xgraph.sampling import Once
from xgraph.target import Target


class Program:
    """A method compiled for one model.

    Made by ``xgraph.compile``. The class is fed when the program runs, never baked in.
    """

    def __init__(
        self,
        model: Model,
        method: Method,
        target: Target,
        *,
        profile: str = "auto",
        precision: str = "fp32",
        targets: int = 1,
    ) -> None:
        self.model = model
        self.method = method
        self.target = target
        self.profile = profile
        self.precision = precision
        self.plan = _for_targets(method.plan(model, target), targets)
        self._artifacts: dict[tuple[Recipe, str], Artifact] = {}

    @property
    def recipes(self) -> Sequence[Recipe]:
        """What the graphs of this program compute, stage by stage."""
        return self.plan.recipes

    def __call__(
        self,
        x: Any,
        target: Any = None,
        *,
        device: str = "auto",
        precision: str | None = None,
        batch: int | None = None,
        threads: int | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Attribution:
        """Explains samples.

        Args:
            x: an array (first axis: N samples), a mapping input name -> array, or image paths.
            target: a class number, one per row, or a Target that differs from the compiled one in its classes
                only; None: the compiled target, by default the predicted class.
            device: ``auto``, ``cpu``, ``openvino`` or ``cuda``.
            precision: ``fp32``, or ``bf16`` on openvino; default: the program's.
            batch: samples at once; default: from a quarter of the free memory.
            threads: threads of the engine; default: all cores.
            seed: of random draws.
            progress: called with (runs done, runs in all).

        Returns:
            An Attribution of N rows.

        Raises:
            XGraphError: the input, target or device does not fit.
        """
        chosen = self._target(target)
        provider = choose(device, precision or self.precision)
        settings = Settings(provider, threads, batch, self.model.batch, progress)
        return self.explain([chosen], prepare(self.model, x), settings, seed)[0]

    def artifact(self, recipe: Recipe, profile: str) -> Artifact:
        """Returns the graph of a recipe: from the bundle, from an earlier call, or compiled now."""
        key = (recipe, profile)
        if key not in self._artifacts:
            ready = [c for c in self.model.compiled if c.recipe == recipe.key() and c.profile == profile]
            self._artifacts[key] = (
                read_artifact(ready[0].file, self.model.digest) if ready else build(self.model, recipe, profile)
            )
        return self._artifacts[key]

    def save(self, path: str | Path) -> Path:
        """Writes the program as one self-contained ONNX file and returns its path.

        Inputs: the model's, and ``xg_target`` (int64[batch], -1 = the predicted class) or ``xg_seed``. Outputs:
        the model's, and ``xg_attribution`` (``xg_attribution_NAME`` where several things are explained).

        Raises:
            MethodError: The method is more than one graph.
            BundleError: The file cannot be written.
        """
        stages = self.plan.stages
        if len(stages) > 1 or stages[0].sampler.draws > 1:
            raise MethodError(
                f"{self.method.name} samples outside the graph, so it is no single ONNX file; compile a bundle "
                "instead (-o NAME.xgraph)"
            )
        return write_file(self.artifact(stages[0].recipe, self.resolved_profile), Path(path))

    @property
    def resolved_profile(self) -> str:
        """The profile that ``auto`` stands for: that of this machine's default device."""
        return choose().profile if self.profile == "auto" else self.profile

    def _target(self, given: Any) -> Target:
        compiled = self.target
        if given is None:
            return compiled
        target = Target.parse(given, of=None if isinstance(given, Target) else compiled.of)
        asked, built = ((t.seed, t.of, self.model.output(t.output or compiled.output).name) for t in (target, compiled))
        if asked != built:
            raise TargetError(
                f"the program explains the {compiled.of} of '{built[2]}' by {compiled.seed}; compile another one for "
                f"the {target.of} of '{asked[2]}' at {target}"
            )
        return target

    def explain(self, targets: Sequence[Target], inputs: Feeds, settings: Settings, seed: int) -> list[Attribution]:
        """Returns one attribution per target, which share the forward pass; as many as the program was built for."""
        rows = len(next(iter(inputs.values())))
        stage = self.plan.stages[-1]
        recipe = stage.recipe
        shape = self._explained_shape(inputs, targets[0], settings)
        extra = {
            seed_name(recipe, k): self._seed_feed(inputs, target, shape, settings) for k, target in enumerate(targets)
        }
        names = [attribution_names(recipe, k) for k in range(len(targets))]
        outputs = self.run_stage(stage, inputs, extra, [name for group in names for name in group], settings)
        explained = outputs["explained"].astype(np.float64)
        results = []
        for k, target in enumerate(targets):
            if target.seed == "index":
                classes = outputs[class_role(k)].astype(np.int64)
                scores = explained[np.arange(rows), classes]
            else:
                classes = None
                scores = (explained * extra[seed_name(recipe, k)]).reshape(rows, -1).sum(axis=1)
            results.append(
                Attribution(
                    values={label: outputs[name] for label, name in zip(self.plan.names, names[k], strict=True)},
                    target=self._resolved(target, classes, rows),
                    scores=scores.astype(np.float32),
                    method=self.method.name,
                    parameters=asdict(self.method),  # type: ignore[call-overload]
                    provenance=self._provenance(stage, settings, seed),
                )
            )
        return results

    def _provenance(self, stage: Stage, settings: Settings, seed: int) -> Provenance:
        engine = {"numpy": version("numpy"), "onnxruntime": settings.provider.version}
        return Provenance(
            model_digest=self.model.digest,
            opset=self.model.opset,
            versions={**self.model.versions, **engine},
            provider=str(settings.provider),
            seed=seed if stage.sampler.draws > 1 else None,
            samples=stage.sampler.draws,
        )

    def run_stage(
        self,
        stage: Stage,
        inputs: Feeds,
        extra: Feeds,
        names: Sequence[str],
        settings: Settings,
    ) -> dict[str, np.ndarray]:
        """Runs a stage; the values that are no outputs of the file come under their roles."""
        profile = settings.provider.profile if self.profile == "auto" else self.profile
        artifact = self.artifact(stage.recipe, profile)
        wanted = [*names, *artifact.hidden.values()]
        outputs = run(artifact, stage.sampler, stage.reducer, inputs, extra, wanted, settings)
        outputs.update({role: outputs[name] for role, name in artifact.hidden.items()})
        return outputs

    def _explained_shape(self, inputs: Feeds, target: Target, settings: Settings) -> tuple[int, ...]:
        """Returns the shape of what targets pick from; where it is dynamic, one sample is run to know it."""
        shape = explained_shape(self.model, target.output)
        rows = len(next(iter(inputs.values())))
        if not all(isinstance(size, int) for size in shape[1:]):
            first = {name: array[:1] for name, array in inputs.items()}
            shape = self._look(first, target, settings).shape
        return (rows, *(int(size) for size in shape[1:] if size is not None))

    def _seed_feed(self, inputs: Feeds, target: Target, shape: Sequence[int], settings: Settings) -> np.ndarray:
        """Returns what ``xg_target`` or ``xg_seed`` is; asks the model first where a rank is to be explained."""
        if target.seed == "given":
            return target.seeds(shape)
        classes = target.classes(shape[0], shape[1])
        if target.kind == "top" and target.value > 1:
            looked = self._look(inputs, target, settings)
            order = np.argsort(looked if target.of == "loss" else -looked, axis=1, kind="stable")
            classes = order[:, target.value - 1].astype(np.int64)
        return classes

    def _look(self, inputs: Feeds, target: Target, settings: Settings) -> np.ndarray:
        recipe = Recipe(output=self.model.output(target.output).name, of=target.of)
        return self.run_stage(Stage(recipe, Once(), Take()), inputs, {}, (), settings)["explained"]

    def _resolved(self, target: Target, classes: np.ndarray | None, rows: int) -> ResolvedTarget:
        names = self.model.preprocess.labels if self.model.preprocess else ()
        if classes is None:
            labels = (str(target),) * rows
        else:
            labels = tuple(names[c] if c < len(names) else str(c) for c in classes)
        output = self.model.output(target.output).name
        return ResolvedTarget(kind=target.kind, labels=labels, classes=classes, of=target.of, output=output)


def _for_targets(plan: Plan, count: int) -> Plan:
    """Returns the plan for so many targets per run."""
    if count == 1:
        return plan
    *before, last = plan.stages
    last = replace(last, recipe=replace(last.recipe, targets=count))
    return replace(plan, stages=(*before, last))
