"""What LIME's relatives with global knowledge share: priors, clusters of segments, and the plan around them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xgraph.errors import MethodError
from xgraph.methods.lime_samples import lime_plan
from xgraph.methods.masked import masked_parts
from xgraph.plan import Recipe, Stage
from xgraph.reducing import Clustering, GlobalPrior, Prior, Take
from xgraph.reducing.global_prior import told_by
from xgraph.sampling import Once

if TYPE_CHECKING:
    from xgraph.methods.lime import Lime
    from xgraph.model import Model
    from xgraph.plan import Plan
    from xgraph.target import Target


def given_prior(method: str, given: Any, *, none: bool = False) -> Prior | None:
    """Returns the prior that the caller names; None where it is to be made of the samples (or, with ``none``, empty).

    Raises:
        MethodError: It is no prior.
        InputError: The file cannot be read.
    """
    if given is None:
        return Prior({}) if none else None
    if isinstance(given, Prior):
        return given
    if isinstance(given, str | Path):
        return Prior.load(given)
    raise MethodError(f"{method}: prior={given!r} is no Prior and no file with one")


def clustering(model: Model, clusters: Any, features: str) -> Clustering:
    """Returns how segments are told to be alike.

    Raises:
        MethodError: The features are not understood, or the layer has no maps.
    """
    if callable(clusters):
        return Clustering(features="picture", assign=clusters)
    if features == "picture":
        return Clustering(clusters)
    if not features.startswith("layer:"):
        raise MethodError(f"cluster_features='{features}' is not understood; write 'picture' or 'layer:NAME'")
    return Clustering(clusters, features, model.value_of(model.resolve_layer(features).wrt))


def informed_plan(lime: Lime, model: Model, target: Target, reducer: GlobalPrior, cut: str = "slic") -> Plan:
    """Returns LIME's plan with a reducer that knows of other samples; before it, a layer's activations if they count.

    Raises:
        MethodError: Several inputs are explained.
    """
    prior = reducer.prior
    if target.seed == "given":
        raise MethodError("a prior is kept by class, so the target must be a class, not an entry or a contrast")
    _, parts = masked_parts(model, lime.wrt, target.output)
    role = parts[0].role
    if prior is not None and prior.weights:
        pictured = prior.features == "picture" or prior.features.startswith("layer:")
        expected = prior.features if role == "image" and pictured else told_by(role, reducer.positions)
        if (role == "image") != pictured or prior.features != expected:
            raise MethodError(
                f"the prior is about {prior.features}, and the input '{parts[0].wrt.name}' ({role}) needs one about "
                f"{'picture' if role == 'image' else expected}; make it with norm_lime on this model"
            )
    if prior is not None and prior.features.startswith("layer:") and reducer.clustering.value is None:
        reducer = replace(reducer, clustering=clustering(model, reducer.clustering.count, prior.features))
    plan = lime_plan(lime, model, target, reducer, cut)
    if len(plan.names) != 1:
        raise MethodError(f"segments are compared within one input, not {', '.join(plan.names)}; choose one with wrt")
    value = reducer.clustering.value
    if value is None:
        return plan
    look = Recipe(output=model.output(target.output).name, of=target.of, taps=(value,))
    return replace(plan, stages=(Stage(look, Once(), Take()), *plan.stages))
