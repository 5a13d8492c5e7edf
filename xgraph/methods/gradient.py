"""The plain gradient."""

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
class Gradient:
    """The gradient of the target with respect to an input, a layer or an embedding: ∂f/∂x.

    The change of the explained number per unit change of each entry; raw and signed. Simonyan, Vedaldi and
    Zisserman, "Deep Inside Convolutional Networks: Visualising Image Classification Models and Saliency
    Maps", 2013, arXiv:1312.6034 (whose saliency map is the largest absolute value over channels: that is left
    to drawing).

    Attributes:
        wrt: ``"input:NAME"``, ``"layer:NAME"`` or ``"embedding:INPUT"``; default: the image inputs; if
            there are none, the embeddings of the token inputs; if there are none, the float inputs but for masks.
        reduce: ``"sum"`` adds up the last axis, which turns a token embedding into one number per token.
    """

    name: ClassVar[str] = "gradient"
    kind: ClassVar[Literal["sensitivity"]] = "sensitivity"
    needs: ClassVar[str] = "gradient"

    wrt: str | None = None
    reduce: Literal["sum"] | None = None

    def plan(self, model: Model, target: Target) -> Plan:
        """Returns one backward pass."""
        return pullback(model, target, model.resolve_wrt(self.wrt, target.output), "cotangent", reduce=self.reduce)
