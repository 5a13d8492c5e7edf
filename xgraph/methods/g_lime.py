"""G-LIME."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from xgraph.errors import MethodError
from xgraph.methods.global_knowledge import clustering, given_prior, informed_plan
from xgraph.methods.lime import Lime
from xgraph.methods.masked import counted, probability_if_any
from xgraph.methods.registry import register
from xgraph.reducing import GlobalPrior

if TYPE_CHECKING:
    from xgraph.model import Model
    from xgraph.of import Of
    from xgraph.plan import Plan
    from xgraph.target import Target

_KINDS = ("normlime", "average", "squares", "ridge")


@register
@dataclass(frozen=True, slots=True, eq=False)
class GLime:
    """G-LIME: LIME's fit pulled towards what is known of such segments: (XᵀWX + βI)⁻¹ (XᵀWt + β a₀), standardised.

    Li, Xiong, Li, Zhang, Liu and Dou, "G-LIME: Statistical Learning for Local Interpretations of Deep Neural Networks
    Using Global Priors", Artificial Intelligence 2023, doi:10.1016/j.artint.2022.103823. Coefficients are in the
    standardised scale, as in InterpretDL 0.8.0. The prior comes from the samples of the call, or from a file.

    Attributes:
        samples: masks per sample.
        prior: how the prior is made of the samples of this call: ``normlime``, ``average`` (of |w|), ``squares`` (of
            w²) or ``ridge`` (of the probabilities on the clusters); or a ``Prior``, a file with one, or None for none.
        beta: how much the prior counts.
        segments: what the features are, as in ``lime``.
        words: tokens of one word go together (needs the model's vocab.txt).
        baseline: what shows where a feature is off, as in ``lime``.
        clusters: how many kinds of segments there are, or a function (picture, labels) -> one number per segment.
        cluster_features: what segments are compared by: ``picture`` (colour, texture and place), or ``layer:NAME``, the
            explained model's own activations.
        variant: ``"interpretdl"``: the segments, masks and mean colours of InterpretDL 0.8.0 too.
        wrt: ``"input:NAME"``; default: the image, token or float inputs.
    """

    name: ClassVar[str] = "g_lime"
    kind: ClassVar[Literal["attribution"]] = "attribution"
    needs: ClassVar[str] = "forward"
    together: ClassVar[bool] = True
    """What it says of a sample depends on the others of the call."""

    samples: int = 1000
    prior: Any = "normlime"
    beta: float = 1.0
    segments: str | np.ndarray | Callable[..., Any] | None = None
    words: bool = False
    baseline: str | float | np.ndarray | None = None
    clusters: int | Callable[..., Any] = 64
    cluster_features: str = "picture"
    variant: Literal["paper", "interpretdl"] = "paper"
    wrt: str | None = None

    def objective(self, model: Model, output: str | None = None) -> Of:
        """Returns what is explained unless the caller says: the probability, as in the paper."""
        return probability_if_any(model, output)

    def plan(self, model: Model, target: Target) -> Plan:
        """Returns LIME's samples, fitted with a prior.

        Raises:
            MethodError: A parameter is out of range, or does not fit the input.
        """
        counted("g_lime", samples=self.samples, clusters=None if callable(self.clusters) else self.clusters)
        if not 0 <= self.beta < np.inf:
            raise MethodError(f"g_lime: beta={self.beta} counts from 0")
        named = isinstance(self.prior, str) and self.prior in _KINDS
        if isinstance(self.prior, str) and not named and not Path(self.prior).suffix:
            raise MethodError(f"g_lime: prior='{self.prior}' is no file and not one of {', '.join(_KINDS)}")
        kind: Any = self.prior if named else "normlime"
        lime = Lime(
            samples=self.samples,
            segments=self.segments,
            words=self.words,
            baseline=self.baseline,
            alpha=0.0,
            wrt=self.wrt,
            variant=self.variant,
        )
        reducer = GlobalPrior(
            lime.surrogate(plain=True),
            kind,
            "glime",
            clustering(model, self.clusters, self.cluster_features),
            None if named else given_prior("g_lime", self.prior, none=True),
            self.beta,
            positions=self.variant == "interpretdl",
        )
        return informed_plan(lime, model, target, reducer)
