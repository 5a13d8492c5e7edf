"""CAM, the class activation map of networks that end in global average pooling and one linear layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from xgraph.errors import MethodError
from xgraph.methods.registry import register
from xgraph.methods.single import pullback
from xgraph.plan import Plan

if TYPE_CHECKING:
    from xgraph.model import Model
    from xgraph.target import Target


@register
@dataclass(frozen=True, slots=True)
class Cam:
    """CAM: Σ_k W[c, k] A_k for a head that is global average pooling of A and a linear layer W; signed.

    Zhou, Khosla, Lapedriza, Oliva and Torralba, "Learning Deep Features for Discriminative Localization", 2016,
    arXiv:1512.04150. No convolution is passed backwards: the weights are those of the linear layer. For the logit
    Grad-CAM at A is ReLU(CAM) / (height · width).
    """

    name: ClassVar[str] = "cam"
    kind: ClassVar[Literal["cam"]] = "cam"
    needs: ClassVar[str] = "gradient"

    def plan(self, model: Model, target: Target) -> Plan:
        """Returns the weights of the head applied to its maps.

        Raises:
            MethodError: The head is another one, or something else than the logit is explained.
        """
        place = model.pooled_maps(target.output)
        if place is None:
            raise MethodError(
                "cam needs a model that ends in global average pooling and one linear layer; use grad_cam"
            )
        if target.of != "logit":
            raise MethodError(f"cam explains the logit, not the {target.of}; use grad_cam")
        return pullback(model, target, [place], "cam", relu=False, pool="sum")
