"""SmoothGrad and its relatives: what a method says, averaged over noisy copies of the input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from xgraph.errors import MethodError
from xgraph.methods.registry import register
from xgraph.methods.wrapped import base_plan, on_embeddings, places, wrapped_kind
from xgraph.plan import Plan, Stage
from xgraph.reducing import WeightedSum
from xgraph.sampling import Noise

if TYPE_CHECKING:
    from xgraph.model import Model
    from xgraph.of import Of
    from xgraph.plan import Perturbation
    from xgraph.result import Kind
    from xgraph.target import Target


@register
@dataclass(frozen=True, slots=True)
class SmoothGrad:
    """SmoothGrad: the mean over samples of ∂f/∂x at x + ε, ε ~ N(0, σ²), σ = noise · (max x - min x) of each sample.

    Smilkov, Thorat, Kim, Viégas and Wattenberg, "SmoothGrad: removing noise by adding noise", 2017,
    arXiv:1706.03825. ``moment="square"`` is SmoothGrad², ``"variance"`` is VarGrad (Adebayo et al., "Sanity Checks for
    Saliency Maps", 2018, arXiv:1810.03292). The class is that of the clean sample. Memory does not grow with samples.

    Attributes:
        samples: noisy copies of each sample.
        noise: standard deviation, as a share of the sample's range (or in the input's units, see ``relative``).
        relative: whether ``noise`` is a share of the range.
        moment: ``mean``, ``square`` or ``variance`` over samples.
        base: the method that is averaged, one backward pass (``gradient``, ``input_x_gradient``, ``grad_cam`` ...).
        at: what noise is added to: ``"input:NAME"``, ``"layer:NAME"``, ``"embedding:INPUT"``; default: as of
            ``wrt`` in ``gradient``.
        wrt: of the base method.
        layer: of the base method.
        reduce: of the base method.
        variant: ``"interpretdl"`` explains the probability unless told otherwise, as InterpretDL 0.8.0 does. For
            images the formula is the same; to token embeddings it adds one number u · noise · mean(w) per sample.
    """

    name: ClassVar[str] = "smooth_grad"
    needs: ClassVar[str] = "gradient"

    samples: int = 50
    noise: float = 0.1
    relative: bool = True
    moment: Literal["mean", "square", "variance"] = "mean"
    base: str = "gradient"
    at: str | None = None
    wrt: str | None = None
    layer: str | None = None
    reduce: Literal["sum"] | None = None
    variant: Literal["paper", "interpretdl"] = "paper"

    @property
    def kind(self) -> Kind:
        """That of the base method; squares and variances have no sign to read."""
        kind = wrapped_kind(self.base)
        return "sensitivity" if kind == "attribution" and self.moment != "mean" else kind

    def objective(self, model: Model, output: str | None = None) -> Of:
        """Returns what is explained unless the caller says."""
        return "probability" if self.variant == "interpretdl" else "logit"

    def plan(self, model: Model, target: Target) -> Plan:
        """Returns the base method's backward pass at noisy inputs.

        Raises:
            MethodError: A number is out of range.
        """
        if self.samples < 1 or self.noise < 0:
            raise MethodError(
                f"smooth_grad: samples={self.samples}, noise={self.noise}; samples count from 1, noise from 0"
            )
        given = {"wrt": self.wrt, "layer": self.layer, "reduce": self.reduce}
        plan = base_plan(self.base, given, model, target)
        at = places(model, self.at, target.output)
        shared = self.variant == "interpretdl" and on_embeddings(at)
        kind: Perturbation = "mean_noise" if shared else "relative_noise" if self.relative else "noise"
        recipe = replace(plan.stages[-1].recipe, perturb=(kind,), at=at)
        stage = Stage(recipe, Noise(self.samples, self.noise, shared), WeightedSum(self.moment))
        return replace(plan, stages=(stage,))
