"""Samplers: where the inputs of a graph come from."""

from xgraph.sampling.once import Once

__all__ = ["Once"]
