"""Feature ablation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from xgraph.methods.masked import baselines_for, feature_map, masked_parts, score_plan, score_recipe
from xgraph.methods.registry import register
from xgraph.reducing import FeatureMeans
from xgraph.sampling import LeaveOut, MaskedFeatures

if TYPE_CHECKING:
    from xgraph.model import Model
    from xgraph.plan import Plan
    from xgraph.target import Target


@register
@dataclass(frozen=True, slots=True, eq=False)
class FeatureAblation:
    """Feature ablation: f(x) - f(x without the feature), one feature at a time.

    Leave-one-out, as in Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2013,
    arXiv:1311.2901, with features in the place of patches. Needs one run per feature and one more.

    Attributes:
        segments: what the features are: of pictures ``slic``, ``quickshift``, ``felzenszwalb`` or ``grid`` (with
            options: ``"slic:n_segments=80"``, ``"grid:8x8"``), a label map (h, w) or one per row, or a function of a
            picture; tokens, columns and pieces of a signal are features by themselves.
        words: tokens of one word go together (needs the model's vocab.txt).
        baseline: what shows where a feature is off: a number, ``zero``, ``mean``, ``blur``, ``segment_mean``, an array
            of one sample or one per row; of tokens a token number. Default: zero, or the mask, unknown or padding
            token.
        wrt: ``"input:NAME"``; default: the image, token or float inputs.
    """

    name: ClassVar[str] = "feature_ablation"
    kind: ClassVar[Literal["attribution"]] = "attribution"
    needs: ClassVar[str] = "forward"

    segments: str | np.ndarray | Callable[..., Any] | None = None
    words: bool = False
    baseline: str | float | np.ndarray | None = None
    wrt: str | None = None

    def plan(self, model: Model, target: Target) -> Plan:
        """Returns one run per feature."""
        places, parts = masked_parts(model, self.wrt, target.output)
        features = feature_map(model, parts, self.segments, self.words)
        sampler = MaskedFeatures(features, LeaveOut(), baselines_for(model, parts, self.baseline))
        return score_plan(score_recipe(model, target, places, "segments"), places, sampler, FeatureMeans())
