"""Program: a method compiled for a model, reusable over inputs and targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from xgraph.compiler import attribution_names, build, build_path, class_role, explained_shape, seed_name, shape_of
from xgraph.errors import MethodError, ProviderError, TargetError
from xgraph.graph.artifact import Artifact
from xgraph.graph.write import read_artifact, write_file
from xgraph.inputs import prepare
from xgraph.methods import Method
from xgraph.model import Model
from xgraph.of import Of
from xgraph.plan import Feeds, Plan, Recipe, Seed, Stage, Wrt
from xgraph.reducing import Take
from xgraph.result import Attribution, Provenance, ResolvedTarget
from xgraph.runtime.providers import Provider, choose
from xgraph.runtime.run import Progress, Settings, run
from xgraph.sampling import Once
from xgraph.sampling import Path as StraightPath
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
        precision: str | None = None,
        targets: int = 1,
    ) -> None:
        self.model = model
        self.method = method
        self.target = target
        self.profile = profile
        self.precision = precision
        self._count = targets
        self._plans: dict[Seed, Plan] = {}
        self.plan = self._plan(target)
        self._artifacts: dict[tuple[Recipe, str], Artifact] = {}

    @property
    def recipes(self) -> Sequence[Recipe]:
        """What the graphs of this program compute: those of its stages first, then what aims and checks them."""
        plan = self.plan
        found = [*plan.recipes, *(stage.recipe for stage in plan.refinements)]
        if plan.ends is not None:
            found.append(plan.ends.recipe)
        if plan.stages[-1].recipe.perturb:
            found.append(self._forward(self.target))
        return list(dict.fromkeys(found))

    def _plan(self, target: Target) -> Plan:
        """Returns the plan for targets of this kind: a class number and a seed array take different graphs."""
        if target.seed not in self._plans:
            self._plans[target.seed] = _for_targets(self.method.plan(self.model, target), self._count)
        return self._plans[target.seed]

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
            target: a class number, one per row, or a Target of the compiled output and of the compiled ``of``; None:
                the compiled target, by default the predicted class.
            device: ``auto``, ``cpu``, ``openvino`` or ``cuda``.
            precision: ``fp32``, or ``bf16`` on openvino; default: what the program, or else its graph in the
                bundle, was compiled for.
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
        settings = self.settings(device, precision, batch=batch, threads=threads, progress=progress)
        return self.explain([chosen], prepare(self.model, x), settings, seed)[0]

    def settings(
        self,
        device: str = "auto",
        precision: str | None = None,
        *,
        batch: int | None = None,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> Settings:
        """Returns how to run; see ``__call__``.

        Raises:
            ProviderError: The device is not there, or cannot compute at this precision.
            InputError: A number is out of range.
        """
        asked = precision or self.precision
        if asked is None:
            profile, keys = choose(device).profile, {recipe.key() for recipe in self.recipes}
            stored = {c.precision for c in self.model.compiled if c.recipe in keys and c.profile == profile}
            asked = stored.pop() if len(stored) == 1 else "fp32"
        return Settings(choose(device, asked), threads, batch, self.model.batch, progress)

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
        plan, profile = self.plan, self.resolved_profile
        *before, stage = plan.stages
        if isinstance(stage.sampler, StraightPath) and not before and plan.tolerance is None:
            return write_file(build_path(self.model, stage.recipe, stage.sampler, profile), Path(path))
        if plan.tolerance is not None:
            raise MethodError(
                f"{self.method.name} with a tolerance chooses its nodes as it runs, so it is no single ONNX file; "
                "leave the tolerance out, or compile a bundle instead (-o NAME.xgraph)"
            )
        if before or stage.recipe.perturb:
            raise MethodError(
                f"{self.method.name} samples outside the graph, so it is no single ONNX file; compile a bundle "
                "instead (-o NAME.xgraph)"
            )
        return write_file(self.artifact(stage.recipe, profile), Path(path))

    @property
    def resolved_profile(self) -> str:
        """The profile that ``auto`` stands for: that of this machine's default device."""
        return choose().profile if self.profile == "auto" else self.profile

    def _target(self, given: Any) -> Target:
        compiled = self.target
        if given is None:
            return compiled
        target = Target.parse(given, of=None if isinstance(given, Target) else compiled.of)
        target = replace(target, output=target.output or compiled.output)
        asked, built = ((t.of, self.model.output(t.output).name) for t in (target, compiled))
        if asked != built:
            raise TargetError(
                f"the program explains the {built[0]} of '{built[1]}'; compile another one for the {asked[0]} of "
                f"'{asked[1]}'"
            )
        return target

    def explain(self, targets: Sequence[Target], inputs: Feeds, settings: Settings, seed: int) -> list[Attribution]:
        """Returns one attribution per target, which share the forward pass; as many as the program was built for."""
        rows = len(next(iter(inputs.values())))
        plan = self._plan(targets[0])
        stage = plan.stages[-1]
        recipe = stage.recipe
        # A class is that of the sample itself, so perturbed inputs need it before they are run.
        first = self._look(inputs, targets[0], settings) if recipe.perturb else None
        shape = self._explained_shape(inputs, targets[0], settings) if first is None else first.shape
        extra = {
            seed_name(recipe, k): self._seed_feed(inputs, target, shape, first, settings)
            for k, target in enumerate(targets)
        }
        names = [attribution_names(recipe, k) for k in range(len(targets))]
        flat = [name for group in names for name in group]
        outputs = self.run_stage(stage, inputs, extra, flat, settings, seed)
        explained = outputs["explained"].astype(np.float64) if first is None else first.astype(np.float64)
        ends = None
        if plan.ends is not None:
            ends = self.run_stage(plan.ends, inputs, {}, (), settings, seed)["explained"].astype(np.float64)
        results = []
        for k, target in enumerate(targets):
            classes, weights = None, extra[seed_name(recipe, k)]
            if target.seed == "index":
                classes = weights if first is not None else outputs[class_role(k)].astype(np.int64)
            values = {label: outputs[name] for label, name in zip(plan.names, names[k], strict=True)}
            checks: dict[str, np.ndarray] = {}
            details = self._details(plan, target, explained, classes, inputs)
            if ends is not None:
                covered = _scores(explained, classes, weights) - _scores(ends, classes, weights)
                if plan.tolerance is not None:
                    values, details["steps"] = self._refine(
                        plan, values, covered, inputs, extra, names[k], settings, seed
                    )
                checks = _completeness(values, covered)
            results.append(
                Attribution(
                    values=values,
                    target=self._resolved(target, classes, rows),
                    scores=_scores(explained, classes, weights).astype(np.float32),
                    checks=checks,
                    method=self.method.name,
                    kind=self.method.kind,
                    parameters=asdict(self.method),  # type: ignore[call-overload]
                    provenance=self._provenance(stage, settings, seed),
                    details=details,
                )
            )
        return results

    def _details(
        self, plan: Plan, target: Target, explained: np.ndarray, classes: np.ndarray | None, inputs: Feeds
    ) -> dict[str, Any]:
        """Returns what is known beyond the values: the probability of the class, and the tokens' numbers."""
        details: dict[str, Any] = {}
        probability = _probability(self.model.heads[self.model.output(target.output).name].kind, target.of, explained)
        if probability is not None and classes is not None:
            details["probability"] = probability[np.arange(len(classes)), classes].astype(np.float32)
        embedded = [wrt.name for wrt in plan.stages[-1].recipe.wrt if wrt.kind == "embedding"]
        if len(embedded) == 1:
            details["token_ids"] = inputs[embedded[0]]
        return details

    def _refine(
        self,
        plan: Plan,
        values: dict[str, np.ndarray],
        covered: np.ndarray,
        inputs: Feeds,
        extra: Feeds,
        names: Sequence[str],
        settings: Settings,
        seed: int,
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Adds nodes to rows whose completeness gap is above the tolerance; returns the values and nodes per row."""
        values = {label: array.copy() for label, array in values.items()}
        used = np.full(len(covered), plan.stages[-1].sampler.draws)
        for stage in plan.refinements:
            gap = _completeness(values, covered)["completeness_gap"]
            rows = np.flatnonzero(gap > (plan.tolerance or 0.0) * np.abs(covered))
            if not len(rows):
                break
            finer = self.run_stage(stage, inputs, extra, names, settings, seed, rows)
            for label, name in zip(plan.names, names, strict=True):
                values[label][rows] = (values[label][rows] + finer[name][rows]) / 2
            used[rows] += stage.sampler.draws
        return values, used

    def _provenance(self, stage: Stage, settings: Settings, seed: int) -> Provenance:
        engine = {"numpy": version("numpy"), "onnxruntime": settings.provider.version}
        return Provenance(
            model_digest=self.model.digest,
            opset=self.model.opset,
            versions={**self.model.versions, **engine},
            provider=str(settings.provider),
            seed=seed if stage.recipe.perturb else None,
            samples=stage.sampler.draws,
        )

    def run_stage(
        self,
        stage: Stage,
        inputs: Feeds,
        extra: Feeds,
        names: Sequence[str],
        settings: Settings,
        seed: int = 0,
        only: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """Runs a stage, for all rows or for some; the values that are no outputs of the file come under their roles."""
        profile = self._profile_on(settings.provider)
        artifact = self.artifact(stage.recipe, profile)
        # At perturbed inputs the explained value is of interest only where nothing else is asked for.
        hidden = {} if stage.recipe.perturb and names else artifact.hidden
        shapes = [self._shape_of(wrt, inputs, settings) for wrt in stage.recipe.at]
        wanted = [*names, *hidden.values()]
        outputs = run(artifact, stage.sampler, stage.reducer, inputs, extra, wanted, settings, shapes, seed, only)
        outputs.update({role: outputs[name] for role, name in hidden.items()})
        return outputs

    def _profile_on(self, provider: Provider) -> str:
        """Returns the profile of graphs for a provider; those made for another may be wrong there, not just slow."""
        if self.profile not in ("auto", "portable", provider.profile):
            raise ProviderError(
                f"the program is compiled for the profile {self.profile}, which device {provider.device} does not run; "
                f"compile it with profile {provider.profile}, portable or auto"
            )
        return provider.profile if self.profile == "auto" else self.profile

    def _shape_of(self, wrt: Wrt, inputs: Feeds, settings: Settings) -> tuple[int, ...]:
        """Returns the shape of a value without the batch axis; where it is dynamic, one sample is run to know it."""
        if wrt.kind == "input":
            return inputs[wrt.name].shape[1:]
        name = self.model.value_of(wrt)
        known = shape_of(self.model, name)[1:]
        sizes = tuple(size for size in known if isinstance(size, int))
        if len(sizes) == len(known):
            return sizes
        recipe = Recipe(output=self.model.output(self.target.output).name, taps=(name,))
        first = {key: array[:1] for key, array in inputs.items()}
        return self.run_stage(Stage(recipe, Once(), Take()), first, {}, (name,), settings)[name].shape[1:]

    def _explained_shape(self, inputs: Feeds, target: Target, settings: Settings) -> tuple[int, ...]:
        """Returns the shape of what targets pick from; where it is dynamic, one sample is run to know it."""
        shape = explained_shape(self.model, target.output)
        rows = len(next(iter(inputs.values())))
        if not all(isinstance(size, int) for size in shape[1:]):
            first = {name: array[:1] for name, array in inputs.items()}
            shape = self._look(first, target, settings).shape
        return (rows, *(int(size) for size in shape[1:] if size is not None))

    def _seed_feed(
        self, inputs: Feeds, target: Target, shape: Sequence[int], first: np.ndarray | None, settings: Settings
    ) -> np.ndarray:
        """Returns what ``xg_target`` or ``xg_seed`` is; asks the model first where a rank is to be explained."""
        if target.seed == "given":
            return target.seeds(shape)
        classes = target.classes(shape[0], shape[1])
        if target.kind == "top" and (target.value > 1 or first is not None):
            # By logits, as the graph does: probabilities that are 1 in float32 have no order.
            looked = first
            if looked is None or target.of != "logit":
                looked = self._look(inputs, replace(target, of="logit"), settings)
            order = np.argsort(-looked, axis=1, kind="stable")
            classes = order[:, target.value - 1].astype(np.int64)
        return classes

    def _look(self, inputs: Feeds, target: Target, settings: Settings) -> np.ndarray:
        stage = Stage(self._forward(target), Once(), Take())
        return self.run_stage(stage, inputs, {}, (), settings)["explained"]

    def _forward(self, target: Target) -> Recipe:
        return Recipe(output=self.model.output(target.output).name, of=target.of)

    def _resolved(self, target: Target, classes: np.ndarray | None, rows: int) -> ResolvedTarget:
        names = self.model.preprocess.labels if self.model.preprocess else ()
        if classes is None:
            text = str(target)
            if target.kind == "contrast" and max(target.value) < len(names):
                text = " rather than ".join(names[c] for c in target.value)
            labels = (text,) * rows
        else:
            labels = tuple(names[c] if c < len(names) else str(c) for c in classes)
        output = self.model.output(target.output).name
        return ResolvedTarget(kind=target.kind, labels=labels, classes=classes, of=target.of, output=output)


def _scores(explained: np.ndarray, classes: np.ndarray | None, weights: np.ndarray) -> np.ndarray:
    """Returns the explained number of each row: the entry of its class, or the sum weighted by the seed."""
    rows = len(explained)
    if classes is not None:
        return np.asarray(explained[np.arange(rows), classes])
    return np.asarray((explained * weights).reshape(rows, -1).sum(axis=1))


def _probability(head: str, of: Of, explained: np.ndarray) -> np.ndarray | None:
    """Returns the probabilities of (rows, classes); None where the model's own head defines none."""
    if explained.ndim != 2 or head == "none":
        return None
    if of != "logit":
        return explained if of == "probability" else np.asarray(np.exp(-explained))
    if head == "sigmoid":
        return np.asarray(0.5 + 0.5 * np.tanh(explained / 2.0))
    powers = np.exp(explained - explained.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _completeness(values: Mapping[str, np.ndarray], covered: np.ndarray) -> dict[str, np.ndarray]:
    """Returns |Σ attribution - (f(x) - f(b))| and f(x) - f(b) per row."""
    total = sum(array.reshape(len(array), -1).sum(axis=1, dtype=np.float64) for array in values.values())
    return {
        "completeness_gap": np.abs(total - covered).astype(np.float32),
        "score_difference": covered.astype(np.float32),
    }


def _for_targets(plan: Plan, count: int) -> Plan:
    """Returns the plan for so many targets per run."""
    if count == 1:
        return plan
    *before, last = plan.stages
    last, *finer = (replace(stage, recipe=replace(stage.recipe, targets=count)) for stage in (last, *plan.refinements))
    return replace(plan, stages=(*before, last), refinements=tuple(finer))
