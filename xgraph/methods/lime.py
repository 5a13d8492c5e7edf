"""LIME."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from xgraph.errors import MethodError
from xgraph.methods.global_knowledge import clustering, given_prior, informed_plan
from xgraph.methods.lime_samples import lime_plan
from xgraph.methods.masked import counted, probability_if_any, stopping
from xgraph.methods.registry import register
from xgraph.reducing import GlobalPrior, Surrogate

if TYPE_CHECKING:
    from xgraph.model import Model
    from xgraph.of import Of
    from xgraph.plan import Plan
    from xgraph.target import Target


@register
@dataclass(frozen=True, slots=True, eq=False)
class Lime:
    """LIME: the coefficients of a linear model of f in which features are on, weighted by closeness to the sample.

    Ribeiro, Singh and Guestrin, "Why Should I Trust You?: Explaining the Predictions of Any Classifier", 2016,
    arXiv:1602.04938. The fit's weighted R² and condition number are in ``checks``, coefficients and features in
    ``details``. Samples with equally many features share their masks.

    Attributes:
        samples: masks per sample, the first of which changes nothing.
        segments: what the features are: of pictures ``slic``, ``quickshift``, ``felzenszwalb`` or ``grid`` (with
            options: ``"slic:n_segments=80"``, ``"grid:8x8"``), a label map (h, w) or one per row, or a function of a
            picture; tokens, columns and pieces of a signal are features by themselves.
        words: tokens of one word go together (needs the model's vocab.txt).
        baseline: what shows where a feature is off: a number, ``zero``, ``mean``, ``blur``, ``segment_mean``, an array
            of one sample or one per row; of tokens a token number. Default: the mean colour of each superpixel, zero
            for numbers, the mask, unknown or padding token.
        kernel: how masks are weighted, by their ``cosine`` or ``euclidean`` distance to the sample.
        kernel_width: default: 0.25 for the cosine distance, 0.75 √features for the Euclidean one.
        alpha: strength of the ridge; 0 is weighted least squares.
        selection: which features the model is fitted in: all (``none``), ``highest_weights``, ``forward_selection`` or
            ``lasso_path``.
        features: how many of them, where they are selected.
        data: a table (rows, columns) that column samples are drawn from; with it columns are perturbed as LIME does,
            in ``quartiles`` or ``gaussian``, instead of being set to the baseline.
        sampling: ``quartiles`` (on: in the sample's own quartile) or ``gaussian`` (around the table's mean).
        categorical: columns of ``data`` that hold categories.
        masks: a design of your own, 0 or 1 of (samples, features).
        prior: a ``Prior``, or a file with one (``norm_lime`` makes them): the ridge then pulls the coefficients towards
            it, with the strength ``alpha``, instead of towards 0.
        tolerance: stop when the largest standard error is below this share of the largest coefficient and the ranking
            is settled (checked every 100 samples); None: spend the budget.
        wrt: ``"input:NAME"``; default: the image, token or float inputs.
        variant: ``"interpretdl"``: what InterpretDL 0.8.0 computes: quickshift with its defaults, mean colours in whole
            grey levels, its random masks, and no ridge; of text, special tokens are features too.
    """

    name: ClassVar[str] = "lime"
    kind: ClassVar[Literal["attribution"]] = "attribution"
    needs: ClassVar[str] = "forward"

    samples: int = 1000
    segments: str | np.ndarray | Callable[..., Any] | None = None
    words: bool = False
    baseline: str | float | np.ndarray | None = None
    kernel: Literal["cosine", "euclidean"] | None = None
    kernel_width: float | None = None
    alpha: float = 1.0
    selection: Literal["none", "highest_weights", "forward_selection", "lasso_path"] = "none"
    features: int | None = None
    data: np.ndarray | None = None
    sampling: Literal["quartiles", "gaussian"] = "quartiles"
    categorical: tuple[int, ...] = ()
    masks: np.ndarray | None = None
    prior: Any = None
    tolerance: float | None = None
    wrt: str | None = None
    variant: Literal["paper", "interpretdl"] = "paper"

    def objective(self, model: Model, output: str | None = None) -> Of:
        """Returns what is explained unless the caller says: the probability, as in the paper."""
        return probability_if_any(model, output)

    def plan(self, model: Model, target: Target) -> Plan:
        """Returns random masks and a weighted ridge.

        Raises:
            MethodError: A parameter is out of range, or does not fit the input.
        """
        counted("lime", samples=self.samples, features=self.features)
        if self.samples < 2 and self.masks is None:
            raise MethodError(
                "lime: samples=1 is the sample itself, which a model cannot be fitted to; give 2 at least"
            )
        if not 0 <= self.alpha < np.inf or (self.kernel_width is not None and self.kernel_width <= 0):
            raise MethodError(
                f"lime: alpha={self.alpha}, kernel_width={self.kernel_width}; give alpha from 0, a width > 0"
            )
        if self.categorical and self.data is None:
            raise MethodError("lime: categorical columns are those of data, a table that is missing")
        if self.prior is not None and (self.data is not None or self.selection != "none"):
            raise MethodError("lime: a prior goes with masks and all features; leave out data and selection")
        if self.features is not None and self.selection == "none":
            raise MethodError("lime: features needs a selection: highest_weights, forward_selection or lasso_path")
        if self.selection != "none" and self.features is None:
            raise MethodError(f"lime: selection='{self.selection}' needs features, the number of features to select")
        if self.masks is not None and (self.masks.ndim != 2 or not len(self.masks)):
            raise MethodError(f"lime: masks of shape {list(self.masks.shape)} should be (samples, features)")
        if self.masks is not None and not np.isin(self.masks, (0, 1)).all():
            raise MethodError("lime: masks should hold 0 or 1, a feature off or on")
        masking = (self.masks, self.segments, self.baseline, self.words or None)
        if self.data is not None and (any(one is not None for one in masking) or self.kernel == "cosine"):
            raise MethodError(
                "lime: with data, columns are drawn instead of masked and their distance is Euclidean; leave out "
                "masks, segments, words, baseline and kernel='cosine'"
            )
        prior = given_prior("lime", self.prior)
        if prior is None:
            return lime_plan(self, model, target, self.surrogate())
        alike = clustering(model, len(prior.clusters or ()) or 1, "picture")
        reducer = GlobalPrior(self.surrogate(), prior.kind, "pull", alike, prior, self.alpha)
        return informed_plan(self, model, target, reducer)

    def surrogate(self, *, plain: bool = False) -> Surrogate:
        """Returns the fit; ``plain``: with unweighted sums too."""
        kernel = self.kernel or ("cosine" if self.data is None else "euclidean")
        alpha = 0.0 if self.variant == "interpretdl" else self.alpha
        stop = stopping("lime", self.tolerance)
        return Surrogate(kernel, self.kernel_width, alpha, self.selection, self.features, plain=plain, stop=stop)
