"""Shapley values by sampling permutations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from xgraph.methods.masked import baselines_for, counted, feature_map, masked_parts, score_plan, score_recipe, stopping
from xgraph.methods.registry import register
from xgraph.reducing import Contributions
from xgraph.sampling import MaskedFeatures, Permutations

if TYPE_CHECKING:
    from xgraph.model import Model
    from xgraph.plan import Plan
    from xgraph.target import Target


@register
@dataclass(frozen=True, slots=True, eq=False)
class ShapleySampling:
    """Shapley sampling: what each feature adds to those before it, in random orders; the means sum to f(x) - f(b).

    Castro, Gómez and Tejada, "Polynomial calculation of the Shapley value based on sampling", 2009,
    doi:10.1016/j.cor.2008.04.004. Unbiased; ``checks["standard_error"]`` is the largest of a sample's features.

    Attributes:
        samples: permutations per sample; each takes one run per feature but one.
        segments: what the features are: of pictures ``slic``, ``quickshift``, ``felzenszwalb`` or ``grid`` (with
            options: ``"slic:n_segments=80"``, ``"grid:8x8"``), a label map (h, w) or one per row, or a function of a
            picture; tokens, columns and pieces of a signal are features by themselves.
        words: tokens of one word go together (needs the model's vocab.txt).
        baseline: what shows where a feature is off: a number, ``zero``, ``mean``, ``blur``, ``segment_mean``, an array
            of one sample or one per row; of tokens a token number. Default: zero, or the mask, unknown or padding
            token.
        paired: every other order is the one before it backwards, which lowers the variance (Mitchell et al. 2022,
            arXiv:2104.12199).
        tolerance: stop when the largest standard error is below this share of the largest value and the ranking is
            settled (checked every 10 permutations); None: spend the budget.
        wrt: ``"input:NAME"``; default: the image, token or float inputs.
    """

    name: ClassVar[str] = "shapley_sampling"
    kind: ClassVar[Literal["attribution"]] = "attribution"
    needs: ClassVar[str] = "forward"

    samples: int = 25
    segments: str | np.ndarray | Callable[..., Any] | None = None
    words: bool = False
    baseline: str | float | np.ndarray | None = None
    paired: bool = True
    tolerance: float | None = None
    wrt: str | None = None

    def plan(self, model: Model, target: Target) -> Plan:
        """Returns runs along permutations.

        Raises:
            MethodError: A number is out of range.
        """
        counted("shapley_sampling", samples=self.samples)
        places, parts = masked_parts(model, self.wrt, target.output)
        features = feature_map(model, parts, self.segments, self.words)
        design = Permutations(self.samples, self.paired)
        sampler = MaskedFeatures(features, design, baselines_for(model, parts, self.baseline))
        reducer = Contributions(stopping("shapley_sampling", self.tolerance, every=10), self.paired)
        return score_plan(score_recipe(model, target, places, "segments"), places, sampler, reducer)
