"""GroupNormalization: instance normalisation over groups of channels.

``Reshape [0, groups, -1] -> InstanceNormalization -> Reshape back``, then scale and bias: one per group in opset 18,
one per channel from 21 on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dims, rank
from xgraph.graph.site import Site

_PER_CHANNEL = 21


def group_normalization(b: Emit, s: Site) -> Sequence[Value]:
    """Returns the normalised, scaled and shifted input 0."""
    x, scale, bias = s.input(0), s.input(1), s.input(2)
    groups = int(s.attr("num_groups", 0))
    known = dims(x)
    if known is None or groups < 1 or x.dtype is None:
        raise GraphError(f"GroupNormalization '{s.node.name}' needs num_groups and an input of known rank")
    per_channel = b.opset >= _PER_CHANNEL
    ones = b.constant(np.ones(groups, x.dtype.numpy())) if per_channel else scale
    zeros = b.constant(np.zeros(groups, x.dtype.numpy())) if per_channel else bias
    flat = b.Reshape(x, [0, groups, -1])
    normalised = b.InstanceNormalization(flat, ones, zeros, epsilon=float(s.attr("epsilon", 1e-5)))
    dynamic = [d for d in known[1:] if not isinstance(d, int)]
    back = [0, *known[1:]] if not dynamic else None
    result = b.Reshape(normalised, back if back is not None else b.Shape(x))
    if not per_channel:
        return [result]
    shape = [-1] + [1] * (rank(x) - 2)
    return [b.Add(b.Mul(result, b.Reshape(scale, shape)), b.Reshape(bias, shape))]
