"""Grad-CAM++."""

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
class GradCamPlusPlus:
    """Grad-CAM++: ReLU(Σ_k w_k A_k), w_k = Σ_yx α_k ReLU(g_k), α_k = g_k² / (2 g_k² + g_k³ Σ_yx A_k), g = ∂f/∂A.

    Chattopadhyay, Sarkar, Howlader and Balasubramanian, "Grad-CAM++: Improved Visual Explanations for Deep
    Convolutional Networks", 2018, arXiv:1710.11063. The α are those of exp(f), as in the paper; the common factor
    exp(f) of the weights is left out, because it overflows and scales the whole map alike.

    Attributes:
        layer: name of a layer with output (N, channels, height, width); default: the last one with spatial axes.
        relu: keep only what speaks for the target.
    """

    name: ClassVar[str] = "grad_cam_plus_plus"
    kind: ClassVar[Literal["cam"]] = "cam"
    needs: ClassVar[str] = "gradient"

    layer: str | None = None
    relu: bool = True

    def plan(self, model: Model, target: Target) -> Plan:
        """Returns one backward pass down to the layer."""
        return pullback(
            model, target, [model.resolve_layer(self.layer, target.output)], "cam_plus_plus", relu=self.relu
        )
