"""Program: a method compiled for a model, reusable over inputs and targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from xgraph.aim import Aim, fitting, forward, take_aim
from xgraph.compiler import attribution_names, build, build_path, score_name, seed_name, shape_of
from xgraph.errors import MethodError, ProviderError
from xgraph.graph.artifact import Artifact
from xgraph.graph.write import read_artifact, write_file
from xgraph.inputs import feed, pictures, prepare
from xgraph.kernels import backend_name
from xgraph.methods import Method, told_parameters
from xgraph.model import Model
from xgraph.plan import Feeds, Finding, Plan, Recipe, Samples, Seed, Stage, Wrt
from xgraph.reducing import Take
from xgraph.refine import refined
from xgraph.result import Attribution, Provenance
from xgraph.runtime.providers import Provider, choose
from xgraph.runtime.run import Progress, Settings, run
from xgraph.sampling import Once
from xgraph.sampling.philox import checked_seed
from xgraph.scores import completeness
from xgraph.target import Target


@dataclass(frozen=True, slots=True)
class _Call:
    """What one call explains, and how it runs."""

    samples: Samples
    settings: Settings


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
        if plan.stages[-1].recipe.ahead:
            found.append(forward(self.model, self.target).recipe)
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
        chosen = fitting(self.model, self.target, target)
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
                read_artifact(ready[0].file, self.model.digest, ready[0].digest)
                if ready
                else build(self.model, recipe, profile)
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
        steps = stage.sampler.in_graph
        if plan.tolerance is not None:
            raise MethodError(
                f"{self.method.name} with a tolerance chooses its nodes as it runs, so it is no single ONNX file; "
                "leave the tolerance out, or compile a bundle instead (-o NAME.xgraph)"
            )
        if before or (stage.recipe.ahead and steps is None):
            raise MethodError(
                f"{self.method.name} samples outside the graph, so it is no single ONNX file; compile a bundle "
                "instead (-o NAME.xgraph)"
            )
        whole = (
            self.artifact(stage.recipe, profile)
            if steps is None
            else build_path(self.model, stage.recipe, steps, profile)
        )
        return write_file(whole, Path(path))

    @property
    def resolved_profile(self) -> str:
        """The profile that ``auto`` stands for: that of this machine's default device."""
        return choose().profile if self.profile == "auto" else self.profile

    def explain(
        self, targets: Sequence[Target], inputs: Feeds, settings: Settings, seed: int, first_row: int = 0
    ) -> list[Attribution]:
        """Explains samples that fit the model.

        Args:
            targets: as many as the program was built for; they share the forward pass.
            inputs: from ``prepare``.
            settings: from ``settings``.
            seed: of random draws.
            first_row: number of the first sample among all that share the seed, where they come in several calls.

        Returns:
            One attribution per target.
        """
        call = _Call(Samples(inputs, seed=checked_seed(seed), first_row=first_row), settings)
        plan = self._plan(targets[0])
        recipe = plan.stages[-1].recipe
        # Where many masks are to be counted, a look at the samples is no step of its own.
        looking = replace(settings, progress=None) if recipe.readout == "score" else settings
        aims = take_aim(self.model, targets, inputs, partial(self._look, looking), ahead=recipe.ahead)
        seeds = {seed_name(recipe, k): aim.seeds for k, aim in enumerate(aims)}
        if recipe.readout == "score":
            found = self._asked(call, plan, aims, seeds)
            names = [score_name(recipe, k) for k in range(len(aims))]
            return [self._told(call, plan, aim, found[name]) for aim, name in zip(aims, names, strict=True)]
        names = [name for k in range(len(aims)) for name in attribution_names(recipe, k)]
        outputs = self._run(call, plan.stages[-1], seeds, names)
        ends = None if plan.ends is None else self._run(call, plan.ends)["explained"].astype(np.float64)
        return [
            self._attribution(call, plan, k, aim.settled(outputs, k), outputs, ends, seeds)
            for k, aim in enumerate(aims)
        ]

    def _asked(self, call: _Call, plan: Plan, aims: Sequence[Aim], seeds: Feeds) -> Mapping[str, Finding]:
        """Returns by output name what the scores of perturbed samples say."""
        classes = [aim.classes for aim in aims if aim.classes is not None]
        samples = replace(
            call.samples,
            classes=np.stack(classes, axis=1) if classes else None,
            explained=aims[0].explained,
            scores=np.stack([aim.scores() for aim in aims], axis=1),
            pictures=cache(partial(pictures, self.model, call.samples.inputs)),
            feed=partial(feed, self.model),
        )
        names = [score_name(plan.stages[-1].recipe, k) for k in range(len(aims))]
        if not plan.by_row:
            return self._through(plan, samples, seeds, names, call.settings)
        found: dict[str, list[Finding]] = {name: [] for name in names}
        for row in range(samples.rows):
            own = {name: array[row : row + 1] for name, array in seeds.items()}
            settings = replace(call.settings, progress=_nth(call.settings.progress, row, samples.rows))
            for name, finding in self._through(plan, samples.row(row), own, names, settings).items():
                found[name].append(finding)
        return {name: Finding.joined(parts) for name, parts in found.items()}

    def _through(
        self, plan: Plan, samples: Samples, seeds: Feeds, names: Sequence[str], settings: Settings
    ) -> Mapping[str, Finding]:
        """Runs the stages of a plan, each of which knows what those before it returned."""
        quiet = replace(settings, progress=None)
        for stage in plan.stages[:-1]:
            outputs = self.run_stage(stage, samples, {}, stage.recipe.taps, quiet)
            samples = replace(samples, earlier={**samples.earlier, **outputs})
        return self.run_stage(plan.stages[-1], samples, seeds, names, settings)

    def _told(self, call: _Call, plan: Plan, aim: Aim, finding: Finding) -> Attribution:
        """Returns the result of a method that asks the model about perturbed samples."""
        return Attribution(
            values=dict(zip(plan.names, finding.values, strict=True)),
            target=aim.resolved(self.model),
            scores=aim.scores().astype(np.float32),
            checks=finding.checks,
            method=self.method.name,
            kind=self.method.kind,
            parameters=told_parameters(self.method),
            provenance=self._provenance(
                call, call.samples.seed, int(finding.details["draws"].max()), kernels=backend_name()
            ),
            details={**self._details(plan, aim, call.samples.inputs), **finding.details},
        )

    def _attribution(
        self,
        call: _Call,
        plan: Plan,
        number: int,
        aim: Aim,
        outputs: Mapping[str, np.ndarray],
        ends: np.ndarray | None,
        seeds: Feeds,
    ) -> Attribution:
        """Returns the result for target ``number``; ``ends`` is the explained output at the baselines, if known."""
        stage = plan.stages[-1]
        names = attribution_names(stage.recipe, number)

        def labelled(outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {label: outputs[name] for label, name in zip(plan.names, names, strict=True)}

        values, samples = labelled(outputs), stage.sampler.draws
        details = self._details(plan, aim, call.samples.inputs)
        checks: dict[str, np.ndarray] = {}
        if ends is not None:
            covered = aim.scores() - aim.scores(ends)
            if plan.tolerance is not None:
                values, used = refined(
                    plan, values, covered, lambda finer, rows: labelled(self._run(call, finer, seeds, names, rows))
                )
                details["steps"], samples = used, int(used.max())
            checks = completeness(values, covered)
        return Attribution(
            values=values,
            target=aim.resolved(self.model),
            scores=aim.scores().astype(np.float32),
            checks=checks,
            method=self.method.name,
            kind=self.method.kind,
            parameters=told_parameters(self.method),
            provenance=self._provenance(call, call.samples.seed if stage.recipe.perturb else None, samples),
            details=details,
        )

    def _details(self, plan: Plan, aim: Aim, inputs: Feeds) -> dict[str, Any]:
        """Returns what is known beyond the values: the probability of the class, and the tokens' numbers."""
        details: dict[str, Any] = {}
        probability = aim.probability(self.model.heads[self.model.output(aim.target.output).name].kind)
        if probability is not None:
            details["probability"] = probability
        recipe = plan.stages[-1].recipe
        tokens = [port.name for port in self.model.inputs if port.role == "tokens"]
        embedded = [w.name for w in recipe.wrt if w.kind == "embedding"] + [
            w.name for w in recipe.at if w.name in tokens
        ]
        embedded = list(dict.fromkeys(embedded))
        if len(embedded) == 1:
            details["token_ids"] = inputs[embedded[0]]
        return details

    def _provenance(self, call: _Call, seed: int | None, samples: int, **used: str) -> Provenance:
        provider = call.settings.provider
        engine = {"numpy": version("numpy"), "onnxruntime": provider.version, **used}
        return Provenance(
            model_digest=self.model.digest,
            opset=self.model.opset,
            versions={**self.model.versions, **engine},
            provider=str(provider),
            seed=seed,
            samples=samples,
        )

    def _run(
        self, call: _Call, stage: Stage, seeds: Feeds | None = None, names: Sequence[str] = (), only: Any = None
    ) -> dict[str, Any]:
        return self.run_stage(stage, call.samples, seeds or {}, names, call.settings, only)

    def _look(self, settings: Settings, inputs: Feeds, target: Target) -> np.ndarray:
        stage = forward(self.model, target)
        return np.asarray(self.run_stage(stage, Samples(inputs), {}, (), settings)["explained"])

    def run_stage(
        self,
        stage: Stage,
        samples: Samples,
        extra: Feeds,
        names: Sequence[str],
        settings: Settings,
        only: np.ndarray | None = None,
    ) -> dict[str, Any]:
        """Runs a stage, for all rows or for some; the values that are no outputs of the file come under their roles."""
        profile = self._profile_on(settings.provider)
        artifact = self.artifact(stage.recipe, profile)
        # At perturbed inputs the explained value is of interest only where nothing else is asked for.
        hidden = {} if stage.recipe.perturb and names else artifact.hidden
        samples = replace(samples, shapes=[self._shape_of(wrt, samples.inputs, settings) for wrt in stage.recipe.at])
        wanted = [*names, *hidden.values()]
        outputs = dict(run(artifact, stage.sampler, stage.reducer, samples, extra, wanted, settings, only))
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
        outputs = self.run_stage(Stage(recipe, Once(), Take()), Samples(first), {}, (name,), settings)
        return tuple(outputs[name].shape[1:])


def _nth(progress: Progress | None, number: int, count: int) -> Progress | None:
    """Returns what tells the progress of one of several runs as that of all of them."""
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, count * total)


def _for_targets(plan: Plan, count: int) -> Plan:
    """Returns the plan for so many targets per run."""
    if count == 1:
        return plan
    *before, last = plan.stages
    last, *finer = (replace(stage, recipe=replace(stage.recipe, targets=count)) for stage in (last, *plan.refinements))
    return replace(plan, stages=(*before, last), refinements=tuple(finer))
