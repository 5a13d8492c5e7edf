"""Score-CAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from xgraph.methods.masked import baselines_for, counted, picture_part, score_recipe
from xgraph.methods.registry import register
from xgraph.plan import Plan, Recipe, Stage
from xgraph.reducing import ChannelWeights, Take
from xgraph.sampling import ActivationMaps, Once

if TYPE_CHECKING:
    from xgraph.model import Model
    from xgraph.of import Of
    from xgraph.target import Target


@register
@dataclass(frozen=True, slots=True, eq=False)
class ScoreCam:
    """Score-CAM: ReLU(Σ_k α_k A_k) with α the softmax over channels of f(x ⊙ s(up(A_k))), s scaling each map to [0, 1].

    Wang, Wang, Du, Yang, Zhang, Ding, Mardziel and Hu, "Score-CAM: Score-Weighted Visual Explanations for Convolutional
    Neural Networks", 2019, arXiv:1910.01279. One run per channel, no gradient. At the layer's resolution.

    Attributes:
        layer: name of a layer with output (N, channels, height, width); default: the last one with spatial axes.
        channels: only so many channels, those of the largest energy Σ A²; None: all.
        baseline: what shows where a map is 0: a number, ``zero``, ``mean``, ``blur``, an array of one sample or one per
            row.
        wrt: the image input that is masked, ``"input:NAME"``; default: the only one.
        variant: ``"interpretdl"``: Σ_k p_k up(A_k) at the picture's resolution, with p_k the probability and no ReLU,
            as InterpretDL 0.8.0 computes it.
    """

    name: ClassVar[str] = "score_cam"
    kind: ClassVar[Literal["cam"]] = "cam"
    needs: ClassVar[str] = "forward"

    layer: str | None = None
    channels: int | None = None
    baseline: str | float | np.ndarray | None = None
    wrt: str | None = None
    variant: Literal["paper", "interpretdl"] = "paper"

    def objective(self, model: Model, output: str | None = None) -> Of:
        """Returns what is explained unless the caller says."""
        return "probability" if self.variant == "interpretdl" else "logit"

    def plan(self, model: Model, target: Target) -> Plan:
        """Returns a run that keeps the layer's maps, and one run per channel.

        Raises:
            MethodError: A number is out of range, or the layer has no maps.
        """
        counted("score_cam", channels=self.channels)
        places, part = picture_part(model, self.wrt, target, "score_cam")
        place = model.resolve_layer(self.layer, target.output)
        value = model.value_of(place.wrt)
        model.check_maps(place, "score_cam")
        interpretdl = self.variant == "interpretdl"
        look = Recipe(output=model.output(target.output).name, of=target.of, taps=(value,))
        flat = "keep" if interpretdl else "zero"
        recipe = score_recipe(model, target, places, "maps", channel_axis=part.channel_axis, flat=flat)
        sampler = ActivationMaps(part, value, self.channels, baselines_for(model, (part,), self.baseline))
        reducer = ChannelWeights("score", relu=False, upsample=True) if interpretdl else ChannelWeights()
        return Plan((Stage(look, Once(), Take()), Stage(recipe, sampler, reducer)), (place.label,), by_row=True)
