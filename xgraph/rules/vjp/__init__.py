"""The gradient book: vector-Jacobian products of the ONNX operators (opset 18 and later meaning).

Conventions at kinks: MaxPool and ReduceMax-like operators give everything to the first maximum, elementwise
Max and Min share equally, and so do data and updates of a scatter that keeps the extremum, ReLU'(0) = 0, Clip is 1
strictly inside its bounds; of equal elements Unique keeps the first.
"""

from __future__ import annotations

from xgraph.rules.vjp import (  # noqa: F401  each module fills the book when it is imported
    activation,
    constants,
    control,
    convolution,
    elementwise,
    geometry_grid,
    geometry_patches,
    geometry_regions,
    indexing,
    linear,
    loss,
    microsoft,
    movement,
    normalisation,
    pooling,
    quantised,
    recurrent,
    reduction,
    resampling,
    scatter,
    signal,
    tabular,
)
from xgraph.rules.vjp.book import vjp

__all__ = ["vjp"]
