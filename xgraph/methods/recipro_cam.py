"""Recipro-CAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from xgraph.methods.masked import probability_if_any, score_plan, score_recipe
from xgraph.methods.registry import register
from xgraph.reducing import PlaceScores
from xgraph.sampling import Part, Places

if TYPE_CHECKING:
    from xgraph.model import Model
    from xgraph.of import Of
    from xgraph.plan import Plan
    from xgraph.target import Target


@register
@dataclass(frozen=True, slots=True)
class ReciproCam:
    """Recipro-CAM: at each place of a layer, f of the sample with only that place of the layer left.

    Byun and Lee, "Recipro-CAM: Fast gradient-free visual explanations for convolutional neural networks", 2022,
    arXiv:2209.14074. What leads to the layer runs once per sample, what follows once per place.

    Attributes:
        layer: name of a layer with output (N, channels, height, width); default: the last one with spatial axes.
        gaussian: a 3 x 3 Gaussian is left around each place, as in the paper, instead of the place alone.
    """

    name: ClassVar[str] = "recipro_cam"
    kind: ClassVar[Literal["cam"]] = "cam"
    needs: ClassVar[str] = "forward"

    layer: str | None = None
    gaussian: bool = True

    def objective(self, model: Model, output: str | None = None) -> Of:
        """Returns what is explained unless the caller says: the probability, as in the paper."""
        return probability_if_any(model, output)

    def plan(self, model: Model, target: Target) -> Plan:
        """Returns one run of the head per place.

        Raises:
            LayerError: The layer has no maps.
        """
        place = model.resolve_layer(self.layer, target.output)
        model.check_maps(place, "recipro_cam")
        recipe = score_recipe(model, target, [place], "given", channel_axis=1)
        sampler = Places(Part(place.wrt, "layer", 1), self.gaussian)
        return score_plan(recipe, [place], sampler, PlaceScores())
