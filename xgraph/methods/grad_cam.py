"""Grad-CAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from xgraph.methods.registry import register
from xgraph.methods.single import pullback
from xgraph.plan import Plan

if TYPE_CHECKING:
    from xgraph.model import Model
    from xgraph.of import Of
    from xgraph.target import Target


@register
@dataclass(frozen=True, slots=True)
class GradCam:
    """Grad-CAM: ReLU(Σ_k α_k A_k) with α_k the spatial mean of ∂f/∂A_k, at the layer's resolution.

    Selvaraju, Cogswell, Das, Vedantam, Parikh and Batra, "Grad-CAM: Visual Explanations from Deep Networks via
    Gradient-based Localization", 2017, arXiv:1610.02391. The backward pass stops at the layer.

    Attributes:
        layer: name of a layer with output (N, channels, height, width); default: the last one with spatial axes.
        relu: keep only what speaks for the target, as the paper does.
        variant: ``"interpretdl"``: the mean over channels instead of the sum, of the probability, as InterpretDL 0.8.0
            computes it.
    """

    name: ClassVar[str] = "grad_cam"
    kind: ClassVar[Literal["cam"]] = "cam"
    needs: ClassVar[str] = "gradient"

    layer: str | None = None
    relu: bool = True
    variant: Literal["paper", "interpretdl"] = "paper"

    def objective(self, model: Model, output: str | None = None) -> Of:
        """Returns what is explained unless the caller says."""
        return "probability" if self.variant == "interpretdl" else "logit"

    def plan(self, model: Model, target: Target) -> Plan:
        """Returns one backward pass down to the layer."""
        channels = "mean" if self.variant == "interpretdl" else "sum"
        return pullback(
            model, target, [model.resolve_layer(self.layer, target.output)], "cam", relu=self.relu, channels=channels
        )
