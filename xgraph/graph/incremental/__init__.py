"""Exact incremental occlusion: what a patch does not reach is taken from one clean run, the rest is computed anew.

A *clean graph* runs once per image and returns the activations that are needed again; a *window graph* computes the
model's outputs for a batch of patch positions from them.
"""

from __future__ import annotations

from xgraph.feeds import CLEAN, CORNER, PATCH
from xgraph.graph.incremental.emit import clean_graph, window_graph
from xgraph.graph.incremental.plan import Windows, plan_windows

__all__ = ["CLEAN", "CORNER", "PATCH", "Windows", "clean_graph", "plan_windows", "window_graph"]
