"""Input times gradient."""

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
class InputXGradient:
    """The input times its gradient: x ⊙ ∂f/∂x, a first-order share of the output per entry.

    Exact (it sums to the output) for piecewise linear networks without biases. Shrikumar, Greenside, Shcherbina
    and Kundaje, "Not Just a Black Box: Learning Important Features Through Propagating Activation Differences",
    2016, arXiv:1605.01713.

    Attributes:
        wrt: ``"input:NAME"``, ``"layer:NAME"`` or ``"embedding:INPUT"``; default: the image inputs; if
            there are none, the embeddings of the token inputs; if there are none, the float inputs but for masks.
        reduce: ``"sum"`` adds up the last axis, which turns a token embedding into one number per token.
    """

    name: ClassVar[str] = "input_x_gradient"
    kind: ClassVar[Literal["attribution"]] = "attribution"
    needs: ClassVar[str] = "gradient"

    wrt: str | None = None
    reduce: Literal["sum"] | None = None

    def plan(self, model: Model, target: Target) -> Plan:
        """Returns one backward pass."""
        return pullback(model, target, model.resolve_wrt(self.wrt, target.output), "product", reduce=self.reduce)
