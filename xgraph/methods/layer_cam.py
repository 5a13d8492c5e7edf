"""LayerCAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from xgraph.methods.registry import register
from xgraph.methods.single import pullback
from xgraph.plan import Plan

if TYPE_CHECKING:
    from xgraph.model import Model
    from xgraph.target import Target


@register
@dataclass(frozen=True, slots=True)
class LayerCam:
    """LayerCAM: ReLU(Σ_k ReLU(∂f/∂A_k) ⊙ A_k); fine maps also from early layers.

    Jiang, Zhang, Hou, Cheng and Wei, "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", IEEE
    TIP 2021, doi:10.1109/TIP.2021.3089943.

    Attributes:
        layer: name of a layer with output (N, channels, height, width); default: the last one with spatial axes.
        relu: keep only what speaks for the target.
    """

    name: ClassVar[str] = "layer_cam"
    kind: ClassVar[Literal["cam"]] = "cam"
    needs: ClassVar[str] = "gradient"

    layer: str | None = None
    relu: bool = True

    def plan(self, model: Model, target: Target) -> Plan:
        """Returns one backward pass down to the layer."""
        return pullback(model, target, [model.resolve_layer(self.layer, target.output)], "layer_cam", relu=self.relu)
