"""Samplers: where the inputs of a graph come from."""

from xgraph.sampling.designs import Bernoulli, Coalitions, Given, LeaveOut, Permutations, Sequential
from xgraph.sampling.features import FeatureMap, Part
from xgraph.sampling.grids import Grids
from xgraph.sampling.maps import ActivationMaps, Places
from xgraph.sampling.masked import MaskedFeatures
from xgraph.sampling.noise import Noise
from xgraph.sampling.once import Once
from xgraph.sampling.path import RandomPath, RandomStart, StraightPath
from xgraph.sampling.table import TableDraws
from xgraph.sampling.windows import Windows

__all__ = [
    "ActivationMaps",
    "Bernoulli",
    "Coalitions",
    "FeatureMap",
    "Given",
    "Grids",
    "LeaveOut",
    "MaskedFeatures",
    "Noise",
    "Once",
    "Part",
    "Permutations",
    "Places",
    "RandomPath",
    "RandomStart",
    "Sequential",
    "StraightPath",
    "TableDraws",
    "Windows",
]
