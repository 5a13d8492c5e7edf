"""Reducers: what becomes of the outputs of a graph. Streaming: memory does not grow with draws."""

from xgraph.reducing.drops import FeatureMeans
from xgraph.reducing.global_prior import Clustering, GlobalPrior
from xgraph.reducing.grids import GridMeans
from xgraph.reducing.maps import ChannelWeights, PlaceScores
from xgraph.reducing.mean import WeightedSum
from xgraph.reducing.occlusion import WindowDrops
from xgraph.reducing.permutations import Contributions
from xgraph.reducing.prior import Prior
from xgraph.reducing.scores import Stop
from xgraph.reducing.surrogate import Surrogate
from xgraph.reducing.take import Keep, Take

__all__ = [
    "ChannelWeights",
    "Clustering",
    "Contributions",
    "FeatureMeans",
    "GlobalPrior",
    "GridMeans",
    "Keep",
    "PlaceScores",
    "Prior",
    "Stop",
    "Surrogate",
    "Take",
    "WeightedSum",
    "WindowDrops",
]
