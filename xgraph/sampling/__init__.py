"""Samplers: where the inputs of a graph come from."""

from xgraph.sampling.noise import Noise
from xgraph.sampling.once import Once
from xgraph.sampling.path import RandomPath, RandomStart, StraightPath

__all__ = ["Noise", "Once", "RandomPath", "RandomStart", "StraightPath"]
