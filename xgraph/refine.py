"""Refinement: more nodes for the rows whose shares do not add up yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from xgraph.plan import Plan, Stage
from xgraph.scores import completeness

Finer: TypeAlias = Callable[[Stage, np.ndarray], Mapping[str, np.ndarray]]
"""Runs a stage for some rows; returns the values by what is explained."""


def refined(
    plan: Plan, values: Mapping[str, np.ndarray], covered: np.ndarray, finer: Finer
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Adds nodes to rows whose completeness gap is above the plan's tolerance.

    Args:
        plan: what to run, and how often at most.
        values: from the last of the plan's stages.
        covered: f(x) - f(b) per row.
        finer: runs a refinement.

    Returns:
        The values, and the nodes that each row took.
    """
    values = {label: array.copy() for label, array in values.items()}
    used = np.full(len(covered), plan.stages[-1].sampler.draws)
    for stage in plan.refinements:
        gap = completeness(values, covered)["completeness_gap"]
        rows = np.flatnonzero(gap > (plan.tolerance or 0.0) * np.abs(covered))
        if not len(rows):
            break
        for label, added in finer(stage, rows).items():
            values[label][rows] = (values[label][rows] + added[rows]) / 2
        used[rows] += stage.sampler.draws
    return values, used
