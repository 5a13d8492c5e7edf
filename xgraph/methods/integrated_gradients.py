"""Integrated gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from xgraph.errors import MethodError
from xgraph.methods.registry import register
from xgraph.methods.wrapped import base_plan, channel_axes, on_embeddings, places
from xgraph.plan import Plan, Recipe, Stage
from xgraph.reducing import WeightedSum
from xgraph.sampling import StraightPath
from xgraph.sampling.baseline import specs_of
from xgraph.sampling.quadrature import nodes

if TYPE_CHECKING:
    from xgraph.model import Model
    from xgraph.of import Of
    from xgraph.sampling.quadrature import Rule
    from xgraph.target import Target


@register
@dataclass(frozen=True, slots=True, eq=False)
class IntegratedGradients:
    """Integrated gradients: (x - b) ⊙ ∫₀¹ ∂f/∂x (b + α (x - b)) dα, the share of f(x) - f(b) that each entry has.

    Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", 2017, arXiv:1703.01365. The shares add up to
    f(x) - f(b) but for the error of the quadrature, which is in ``checks["completeness_gap"]``. The class is that of
    the sample itself.

    Attributes:
        steps: nodes of the quadrature.
        rule: ``gauss_legendre``, ``riemann_left``, ``riemann_right``, ``riemann_middle`` or ``trapezoid``.
        baseline: a number, ``zero``, ``mean``, ``blur``, ``uniform`` or ``gaussian`` (random), an array of one sample
            or one per row, or a tuple of these, over which the mean is taken.
        trials: how many baselines are drawn where it is random.
        tolerance: with it, rows whose gap is above this share of f(x) - f(b) get twice the nodes, and so on; nodes are
            reused (trapezoid rule). None: exactly ``steps`` nodes.
        max_steps: most nodes from one baseline under ``tolerance``.
        base: the method that is integrated; of its shape are the results.
        wrt: ``"input:NAME"``, ``"layer:NAME"`` or ``"embedding:INPUT"``; the path is of this value. Default: as of
            ``gradient``.
        reduce: ``"sum"`` adds up the last axis.
        variant: ``"interpretdl"``: equal weights on steps that include both ends, as InterpretDL 0.8.0 computes it (50
            steps are its default, and for images the probability).
    """

    name: ClassVar[str] = "integrated_gradients"
    kind: ClassVar[Literal["attribution"]] = "attribution"
    needs: ClassVar[str] = "gradient"

    steps: int = 32
    rule: Literal["gauss_legendre", "riemann_left", "riemann_right", "riemann_middle", "trapezoid"] = "gauss_legendre"
    baseline: str | float | np.ndarray | tuple[Any, ...] = "zero"
    trials: int = 1
    tolerance: float | None = None
    max_steps: int = 512
    base: str = "gradient"
    wrt: str | None = None
    reduce: Literal["sum"] | None = None
    variant: Literal["paper", "interpretdl"] = "paper"

    def objective(self, model: Model, output: str | None = None) -> Of:
        """Returns what is explained unless the caller says; InterpretDL takes the probability for images only."""
        if self.variant == "paper" or on_embeddings(places(model, self.wrt, output)):
            return "logit"
        return "probability"

    def plan(self, model: Model, target: Target) -> Plan:
        """Returns the base method's backward pass along the path, and a forward pass at its beginning.

        Raises:
            MethodError: A number is out of range, or the base method explains something else than the path's value.
        """
        if self.steps < 1 or self.trials < 1:
            raise MethodError(f"integrated_gradients: steps={self.steps}, trials={self.trials}; both count from 1")
        if self.tolerance is not None and (self.tolerance < 0 or self.max_steps < max(2, self.steps)):
            raise MethodError(
                f"integrated_gradients: tolerance={self.tolerance}, max_steps={self.max_steps}; a tolerance counts "
                f"from 0, and the nodes start with steps={max(2, self.steps)}"
            )
        if self.tolerance is not None and self.base != "gradient":
            raise MethodError(
                f"integrated_gradients: tolerance needs base='gradient'; the shares of '{self.base}' do not add up"
            )
        plan = base_plan(self.base, {"wrt": self.wrt, "reduce": self.reduce}, model, target)
        recipe = plan.stages[-1].recipe
        at = tuple(place.wrt for place in model.resolve_wrt(self.wrt, target.output))
        if recipe.wrt != at:
            raise MethodError(
                f"integrated_gradients: '{self.base}' explains {recipe.wrt[0]}, not {at[0]}, which the path is of"
            )
        recipe = replace(recipe, perturb=("path",), at=at, difference="path")
        channels = channel_axes(model, at)
        specs = specs_of(self.baseline) * self.trials

        def stage(rule: Rule, steps: int) -> Stage:
            positions, weights = nodes(rule, steps)
            return Stage(recipe, StraightPath(at, specs, positions, weights, channels), WeightedSum())

        forward = Recipe(output=recipe.output, of=recipe.of, perturb=("path",), at=at)
        # Only shares that come of the gradient add up to f(x) - f(b).
        complete = self.base == "gradient"
        start = StraightPath(at, specs, np.zeros(1), np.ones(1), channels)
        ends = Stage(forward, start, WeightedSum()) if complete else None
        if self.tolerance is None:
            rule: Rule = "interpretdl" if self.variant == "interpretdl" else self.rule
            return replace(plan, stages=(stage(rule, self.steps),), ends=ends)
        cells, refinements = max(1, self.steps - 1), []
        used = cells + 1
        while used + cells <= self.max_steps:
            refinements.append(stage("riemann_middle", cells))
            used, cells = used + cells, 2 * cells
        first = stage("trapezoid", max(2, self.steps))
        return replace(plan, stages=(first,), ends=ends, refinements=tuple(refinements), tolerance=self.tolerance)
