"""Gradient SHAP."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from xgraph.errors import MethodError
from xgraph.methods.registry import register
from xgraph.methods.wrapped import base_plan, channel_axes, on_embeddings
from xgraph.plan import Plan, Recipe, Stage
from xgraph.reducing import WeightedSum
from xgraph.sampling import RandomPath, RandomStart, StraightPath
from xgraph.sampling.baseline import RANDOM, specs_of

if TYPE_CHECKING:
    from xgraph.model import Model
    from xgraph.of import Of
    from xgraph.plan import Perturbation
    from xgraph.target import Target


@register
@dataclass(frozen=True, slots=True, eq=False)
class GradientShap:
    """Gradient SHAP: the mean over samples of (x + ε - b) ⊙ ∂f/∂x (b + α (x + ε - b)), α uniform, b drawn, ε normal.

    An estimate of SHAP values by expected gradients. Lundberg and Lee, "A Unified Approach to Interpreting Model
    Predictions", 2017, arXiv:1705.07874; Erion et al., "Improving performance of deep learning models with axiomatic
    attribution priors and expected gradients", 2021, arXiv:1906.10670.

    Attributes:
        samples: random points for each sample.
        noise: standard deviation of ε, as a share of the sample's range; 0: none.
        baseline: as in ``integrated_gradients``; of a tuple, one is drawn for each point, and so are random ones.
        wrt: ``"input:NAME"``, ``"layer:NAME"`` or ``"embedding:INPUT"``; default: as of ``gradient``.
        reduce: ``"sum"`` adds up the last axis.
        variant: ``"interpretdl"``: 5 samples, noise 0.1 and the probability are its defaults. For images the formula is
            the same; on token embeddings w the noise is one number u · noise · mean(w) per sample, and the gradient is
            multiplied by w itself.
    """

    name: ClassVar[str] = "gradient_shap"
    kind: ClassVar[Literal["attribution"]] = "attribution"
    needs: ClassVar[str] = "gradient"

    samples: int = 50
    noise: float = 0.0
    baseline: str | float | np.ndarray | tuple[Any, ...] = "zero"
    wrt: str | None = None
    reduce: Literal["sum"] | None = None
    variant: Literal["paper", "interpretdl"] = "paper"

    def objective(self, model: Model, output: str | None = None) -> Of:
        """Returns what is explained unless the caller says."""
        return "probability" if self.variant == "interpretdl" else "logit"

    def plan(self, model: Model, target: Target) -> Plan:
        """Returns a backward pass at random points of the paths.

        Raises:
            MethodError: A number is out of range.
        """
        if self.samples < 1 or self.noise < 0:
            raise MethodError(
                f"gradient_shap: samples={self.samples}, noise={self.noise}; samples count from 1, noise from 0"
            )
        plan = base_plan("gradient", {"wrt": self.wrt, "reduce": self.reduce}, model, target)
        recipe = plan.stages[-1].recipe
        at = recipe.wrt
        channels = channel_axes(model, at)
        specs = specs_of(self.baseline)
        shared = self.variant == "interpretdl" and on_embeddings(at)
        drawn = RandomPath(self.samples, at, specs, self.noise, channels, shared)
        # Where all draws begin at one place, one forward pass finds what the target is there.
        several = len(specs) > 1 or (isinstance(specs[0], str) and specs[0] in RANDOM)
        start = RandomStart(drawn) if several else StraightPath(at, specs, np.zeros(1), np.ones(1), channels)
        noise: Perturbation = "mean_noise" if shared else "relative_noise"
        random = replace(recipe, perturb=(noise, "path"), at=at, difference="sample" if shared else "path")
        forward = Recipe(output=recipe.output, of=recipe.of, perturb=("path",), at=at)
        return replace(
            plan,
            stages=(Stage(random, drawn, WeightedSum()),),
            ends=Stage(forward, start, WeightedSum()),
        )
