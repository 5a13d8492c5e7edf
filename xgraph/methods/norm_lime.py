"""NormLIME."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

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


@register
@dataclass(frozen=True, slots=True, eq=False)
class NormLime:
    """NormLIME: each segment gets the mean of w² / Σ|w| over all segments like it, in all samples of its class.

    Ahern, Noack, Guzman-Nateras, Dou, Li and Huan, "NormLime: A New Feature Importance Metric for Explaining Deep
    Neural Networks", 2019, arXiv:1909.04200. Explain many samples in one call: w are their LIME coefficients, and what
    is alike is found by k-means over segments (of tokens, the token). The result keeps its prior in
    ``details["prior"]``; a saved result is a prior file for other calls.

    Attributes:
        samples: masks per sample.
        segments: what the features are, as in ``lime``.
        words: tokens of one word go together (needs the model's vocab.txt).
        baseline: what shows where a feature is off, as in ``lime``.
        alpha: strength of LIME's ridge.
        clusters: how many kinds of segments there are, or a function (picture, labels) -> one number per segment.
        cluster_features: what segments are compared by: ``picture`` (colour, texture and place), or ``layer:NAME``, the
            explained model's own activations.
        prior: a ``Prior``, or a file with one, to use instead of what the samples of this call say.
        variant: ``fast`` asks the model about no masks: a ridge of its probabilities on which clusters a sample has,
            over a grid of 10 x 10 segments; ``"interpretdl"`` is InterpretDL 0.8.0's LIME, and its words go by
            position.
        wrt: ``"input:NAME"``; default: the image, token or float inputs.
    """

    name: ClassVar[str] = "norm_lime"
    kind: ClassVar[Literal["attribution"]] = "attribution"
    needs: ClassVar[str] = "forward"
    together: ClassVar[bool] = True
    """What it says of a sample depends on the others of the call."""

    samples: int = 1000
    segments: str | np.ndarray | Callable[..., Any] | None = None
    words: bool = False
    baseline: str | float | np.ndarray | None = None
    alpha: float = 1.0
    clusters: int | Callable[..., Any] = 64
    cluster_features: str = "picture"
    prior: Any = None
    variant: Literal["paper", "fast", "interpretdl"] = "paper"
    wrt: str | None = None

    def objective(self, model: Model, output: str | None = None) -> Of:
        """Returns what is explained unless the caller says: the probability, as in the paper."""
        return probability_if_any(model, output)

    def plan(self, model: Model, target: Target) -> Plan:
        """Returns LIME's samples, put together over all samples of a call.

        Raises:
            MethodError: A parameter is out of range, or does not fit the input.
        """
        fast = self.variant == "fast"
        counted("norm_lime", samples=self.samples, clusters=None if callable(self.clusters) else self.clusters)
        prior = given_prior("norm_lime", self.prior)
        lime = Lime(
            samples=1 if fast or prior is not None else self.samples,
            segments=self.segments,
            words=self.words,
            baseline=self.baseline,
            alpha=self.alpha,
            wrt=self.wrt,
            variant="interpretdl" if self.variant == "interpretdl" else "paper",
        )
        reducer = GlobalPrior(
            lime.surrogate(),
            "ridge" if fast else "normlime",
            "knowledge",
            clustering(model, self.clusters, self.cluster_features),
            prior,
            positions=self.variant == "interpretdl",
        )
        return informed_plan(lime, model, target, reducer, cut="grid:10x10" if fast else "slic")
