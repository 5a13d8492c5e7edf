"""Aims: what a target means for the samples at hand, from what is fed to what is scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from xgraph.compiler import class_role, explained_shape
from xgraph.errors import TargetError
from xgraph.model import Model
from xgraph.plan import Feeds, Recipe, Stage
from xgraph.reducing import Take
from xgraph.result import ResolvedTarget
from xgraph.sampling import Once
from xgraph.scores import probability, scores
from xgraph.target import Target

Look: TypeAlias = Callable[[Feeds, Target], np.ndarray]
"""Runs the model on samples and returns what the target picks from."""


@dataclass(frozen=True, slots=True)
class Aim:
    """One target for the samples at hand."""

    target: Target
    seeds: np.ndarray
    """What ``xg_target`` (-1: the predicted class) or ``xg_seed`` is; first axis: the samples."""
    classes: np.ndarray | None = None
    """The class of each sample; None: not known before the run, or the target is no class."""
    explained: np.ndarray | None = None
    """float64, what the target picks from at each sample; None: not known before the run."""

    def settled(self, outputs: Mapping[str, np.ndarray], number: int) -> Aim:
        """Returns the aim with all that a run tells about it, as target ``number`` of that run."""
        if self.explained is not None:
            return self
        classes = outputs[class_role(number)].astype(np.int64) if self.target.seed == "index" else None
        return replace(self, classes=classes, explained=outputs["explained"].astype(np.float64))

    def scores(self, at: np.ndarray | None = None) -> np.ndarray:
        """Returns the explained number of each row, at the samples or where the model gave ``at``; settled aims."""
        explained = self.explained if at is None else at
        assert explained is not None
        return scores(explained, self.classes, self.seeds)

    def probability(self, head: str) -> np.ndarray | None:
        """Returns the probability of each row's class; None where there is none; settled aims."""
        if self.explained is None or self.classes is None:
            return None
        found = probability(head, self.target.of, self.explained)
        return None if found is None else found[np.arange(len(self.classes)), self.classes].astype(np.float32)

    def resolved(self, model: Model) -> ResolvedTarget:
        """Returns the target as results name it."""
        names = model.preprocess.labels if model.preprocess else ()
        target, classes = self.target, self.classes
        if classes is None:
            text = str(target)
            if target.kind == "contrast" and all(isinstance(c, int) and c < len(names) for c in target.value):
                text = " rather than ".join(names[c] for c in target.value)
            labels = (text,) * len(self.seeds)
        else:
            labels = tuple(names[c] if c < len(names) else str(c) for c in classes)
        output = model.output(target.output).name
        return ResolvedTarget(kind=target.kind, labels=labels, classes=classes, of=target.of, output=output)


def take_aim(model: Model, targets: Sequence[Target], inputs: Feeds, look: Look, *, ahead: bool) -> list[Aim]:
    """Returns one aim per target of a run.

    Args:
        model: the model.
        targets: all of one kind, of one output.
        inputs: the samples.
        look: runs the model where a rank, or a dynamic shape, is to be known.
        ahead: the run is at perturbed inputs. A class is that of the sample itself, so it is looked up first.

    Raises:
        TargetError: A target does not exist in the output.
    """
    if ahead:
        explained = look(inputs, targets[0])
        return [_ahead(target, inputs, explained, look) for target in targets]
    shape = _shape(model, inputs, targets[0], look)
    return [Aim(target, _seeds(target, inputs, shape, look)) for target in targets]


def forward(model: Model, target: Target) -> Stage:
    """Returns a forward pass, whose ``explained`` is what the target picks from."""
    return Stage(Recipe(output=model.output(target.output).name, of=target.of), Once(), Take())


def fitting(model: Model, compiled: Target, given: Any) -> Target:
    """Returns the target that a program gets, whose graphs are for ``compiled``.

    Raises:
        TargetError: It is of another output, or of another number than the graphs explain.
    """
    if given is None:
        return compiled
    target = Target.parse(given, of=None if isinstance(given, Target) else compiled.of)
    target = replace(target, output=target.output or compiled.output)
    asked, built = ((t.of, model.output(t.output).name) for t in (target, compiled))
    if asked != built:
        raise TargetError(
            f"the program explains the {built[0]} of '{built[1]}'; compile another one for the {asked[0]} of "
            f"'{asked[1]}'"
        )
    return target


def _ahead(target: Target, inputs: Feeds, explained: np.ndarray, look: Look) -> Aim:
    """Returns an aim that is settled before the run."""
    known = explained.astype(np.float64)
    if target.seed == "given":
        return Aim(target, target.seeds(explained.shape), None, known)
    classes = target.classes(*explained.shape[:2])
    if target.kind == "top":
        classes = _ranked(target, explained if target.of == "logit" else _logits(target, inputs, look))
    return Aim(target, classes, classes, known)


def _seeds(target: Target, inputs: Feeds, shape: Sequence[int], look: Look) -> np.ndarray:
    """Returns what ``xg_target`` or ``xg_seed`` is; asks the model first where a rank is to be explained."""
    if target.seed == "given":
        return target.seeds(shape)
    classes = target.classes(shape[0], shape[1])
    if target.kind == "top" and target.value > 1:
        return _ranked(target, _logits(target, inputs, look))
    return classes


def _logits(target: Target, inputs: Feeds, look: Look) -> np.ndarray:
    """Ranks are by logits, as in the graph: probabilities that are 1 in float32 have no order."""
    return look(inputs, replace(target, of="logit"))


def _ranked(target: Target, logits: np.ndarray) -> np.ndarray:
    order = np.argsort(-logits, axis=1, kind="stable")
    return np.asarray(order[:, target.value - 1], np.int64)


def _shape(model: Model, inputs: Feeds, target: Target, look: Look) -> tuple[int, ...]:
    """Returns the shape of what targets pick from; where it is dynamic, one sample is run to know it."""
    shape = explained_shape(model, target.output)
    rows = len(next(iter(inputs.values())))
    if not all(isinstance(size, int) for size in shape[1:]):
        shape = look({name: array[:1] for name, array in inputs.items()}, target).shape
    return (rows, *(int(size) for size in shape[1:] if size is not None))
