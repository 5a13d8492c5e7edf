"""Reducers: what becomes of the outputs of a graph. Streaming: memory does not grow with draws."""

from xgraph.reducing.mean import WeightedSum
from xgraph.reducing.take import Take

__all__ = ["Take", "WeightedSum"]
