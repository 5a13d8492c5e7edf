"""RISE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from xgraph.errors import MethodError
from xgraph.methods.masked import (
    baselines_for,
    counted,
    feature_map,
    masked_parts,
    picture_part,
    probability_if_any,
    score_plan,
    score_recipe,
    stopping,
)
from xgraph.methods.registry import register
from xgraph.reducing import FeatureMeans, GridMeans
from xgraph.sampling import Bernoulli, Grids, MaskedFeatures

if TYPE_CHECKING:
    from xgraph.model import Model
    from xgraph.of import Of
    from xgraph.plan import Plan
    from xgraph.target import Target


@register
@dataclass(frozen=True, slots=True, eq=False)
class Rise:
    """RISE: the mean of random masks, weighted by f of the masked sample: S = Σ_i f(x ⊙ M_i) M_i / (N p).

    Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", 2018,
    arXiv:1806.07421. Masks are coarse random grids, upsampled bilinearly and moved at random by up to one cell. Of
    tokens, columns and signals the masks are of features.

    Attributes:
        samples: masks per sample (the paper has 4000 for VGG16 and 8000 for ResNet-50).
        cells: rows and columns of the grid.
        probability: that a cell is on.
        segments: features instead of a grid, as in ``lime``.
        words: tokens of one word go together (needs the model's vocab.txt).
        baseline: what shows where a mask is 0: a number, ``zero``, ``mean``, ``blur``, an array of one sample or one
            per row; of tokens a token number. Default: zero, or the mask, unknown or padding token.
        tolerance: stop when the largest standard error is below this share of the largest deviation from the mean, and
            the ranking of cells is settled (checked every 100 samples); None: spend the budget.
        wrt: ``"input:NAME"``; default: the image, token or float inputs.
    """

    name: ClassVar[str] = "rise"
    kind: ClassVar[Literal["cam"]] = "cam"
    needs: ClassVar[str] = "forward"

    samples: int = 4000
    cells: tuple[int, ...] = (7, 7)
    probability: float = 0.5
    segments: str | np.ndarray | Callable[..., Any] | None = None
    words: bool = False
    baseline: str | float | np.ndarray | None = None
    tolerance: float | None = None
    wrt: str | None = None

    def objective(self, model: Model, output: str | None = None) -> Of:
        """Returns what is explained unless the caller says: the probability, as in the paper."""
        return probability_if_any(model, output)

    def plan(self, model: Model, target: Target) -> Plan:
        """Returns random masks and their mean.

        Raises:
            MethodError: A number is out of range.
        """
        counted("rise", samples=self.samples)
        if not 0 < self.probability < 1 or len(self.cells) != 2 or min(self.cells) < 1:
            raise MethodError(
                f"rise: probability={self.probability}, cells={list(self.cells)}; give a probability between 0 and 1, "
                "and rows and columns from 1"
            )
        stop = stopping("rise", self.tolerance)
        places, parts = masked_parts(model, self.wrt, target.output)
        if self.segments is None and any(part.role == "image" for part in parts):
            places, part = picture_part(model, self.wrt, target, "rise")
            baselines = baselines_for(model, parts, self.baseline)
            cells = (self.cells[0], self.cells[1])
            recipe = score_recipe(model, target, places, "grid", cells=cells, channel_axis=part.channel_axis)
            sampler = Grids(part, cells, self.probability, self.samples, baselines)
            return score_plan(recipe, places, sampler, GridMeans(self.probability, stop))
        features = feature_map(model, parts, self.segments, self.words)
        design = Bernoulli(self.samples, self.probability, clean=False, shared=False)
        masked = MaskedFeatures(features, design, baselines_for(model, parts, self.baseline))
        means = FeatureMeans("on", self.probability, stop)
        return score_plan(score_recipe(model, target, places, "segments"), places, masked, means)
