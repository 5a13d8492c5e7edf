"""LIME's samples: what is cut into features, and how masks or columns are drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from xgraph.errors import MethodError
from xgraph.methods.masked import baselines_for, feature_map, masked_parts, score_plan, score_recipe
from xgraph.sampling import Bernoulli, Given, MaskedFeatures, Sequential, TableDraws

if TYPE_CHECKING:
    from xgraph.methods.lime import Lime
    from xgraph.model import Model
    from xgraph.plan import Plan, Reducer
    from xgraph.target import Target


def lime_plan(method: Lime, model: Model, target: Target, reducer: Reducer, cut: str = "slic") -> Plan:
    """Returns the plan of LIME's samples with a reducer of one's own.

    Raises:
        MethodError: A table is given for an input that is none.
    """
    places, parts = masked_parts(model, method.wrt, target.output)
    if method.data is not None:
        if len(parts) != 1 or parts[0].role != "features":
            raise MethodError("lime: data is a table for one input (N, columns); leave it out for other inputs")
        table = TableDraws(parts[0], method.data, method.sampling, method.categorical, method.samples)
        return score_plan(score_recipe(model, target, places, None), places, table, reducer)
    interpretdl = method.variant == "interpretdl"
    pictures = any(part.role == "image" for part in parts)
    features = feature_map(model, parts, method.segments, method.words, default="interpretdl" if interpretdl else cut)
    baseline = method.baseline
    if interpretdl and any(part.role == "tokens" for part in parts):
        # Every position up to the padding is a feature, and unknown is what is put there.
        known = model.vocabulary
        features = replace(features, special=() if known is None or known.pad_id is None else (known.pad_id,))
        baseline = (known.unk_id if known is not None else None) or 0 if baseline is None else baseline
    if baseline is None and pictures:
        baseline = "segment_grey" if interpretdl else "segment_mean"
    design: Any = Sequential(method.samples) if interpretdl else Bernoulli(method.samples)
    if method.masks is not None:
        design = Given(method.masks)
    sampler = MaskedFeatures(features, design, baselines_for(model, parts, baseline))
    return score_plan(score_recipe(model, target, places, "segments"), places, sampler, reducer)
