"""KernelSHAP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from xgraph.errors import MethodError
from xgraph.methods.masked import baselines_for, counted, feature_map, masked_parts, score_plan, score_recipe, stopping
from xgraph.methods.registry import register
from xgraph.reducing import Surrogate
from xgraph.sampling import Coalitions, MaskedFeatures

if TYPE_CHECKING:
    from xgraph.model import Model
    from xgraph.plan import Plan
    from xgraph.target import Target


@register
@dataclass(frozen=True, slots=True, eq=False)
class KernelShap:
    """KernelSHAP: Shapley values as a weighted least-squares fit over coalitions of features; they sum to f(x) - f(b).

    Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", 2017, arXiv:1705.07874. The sum is a
    constraint that is eliminated exactly. Coalition sizes are run whole, the smallest and largest first, while the
    budget lasts; the rest is drawn in pairs of complements (Covert and Lee, 2021, arXiv:2012.01536). With as many
    samples as coalitions the values are exact.

    Attributes:
        samples: coalitions per sample, f(x) and f(b) included.
        segments: what the features are: of pictures ``slic``, ``quickshift``, ``felzenszwalb`` or ``grid`` (with
            options: ``"slic:n_segments=80"``, ``"grid:8x8"``), a label map (h, w) or one per row, or a function of a
            picture; tokens, columns and pieces of a signal are features by themselves.
        words: tokens of one word go together (needs the model's vocab.txt).
        baseline: what shows where a feature is off: a number, ``zero``, ``mean``, ``blur``, ``segment_mean``, an array
            of one sample or one per row; of tokens a token number. Default: zero, or the mask, unknown or padding
            token.
        paired: each random coalition is followed by its complement.
        tolerance: stop when the largest standard error is below this share of the largest value and the ranking is
            settled (checked every 100 samples); None: spend the budget.
        wrt: ``"input:NAME"``; default: the image, token or float inputs.
    """

    name: ClassVar[str] = "kernel_shap"
    kind: ClassVar[Literal["attribution"]] = "attribution"
    needs: ClassVar[str] = "forward"

    samples: int = 1000
    segments: str | np.ndarray | Callable[..., Any] | None = None
    words: bool = False
    baseline: str | float | np.ndarray | None = None
    paired: bool = True
    tolerance: float | None = None
    wrt: str | None = None

    def plan(self, model: Model, target: Target) -> Plan:
        """Returns coalitions and a constrained fit.

        Raises:
            MethodError: A number is out of range.
        """
        counted("kernel_shap", samples=self.samples)
        if self.samples < 4:
            raise MethodError(f"kernel_shap: samples={self.samples}; it needs 4 at least, f(x) and f(b) among them")
        places, parts = masked_parts(model, self.wrt, target.output)
        features = feature_map(model, parts, self.segments, self.words)
        # A run that may end early must not end within a size.
        design = Coalitions(self.samples, self.paired, whole=self.tolerance is None)
        sampler = MaskedFeatures(features, design, baselines_for(model, parts, self.baseline))
        fit = Surrogate("design", alpha=0.0, constrained=True, stop=stopping("kernel_shap", self.tolerance))
        return score_plan(score_recipe(model, target, places, "segments"), places, sampler, fit)
