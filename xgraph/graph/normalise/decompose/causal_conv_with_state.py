"""CausalConvWithState (opset 27): a depthwise convolution that looks back, over ``(past, x)``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dims
from xgraph.graph.site import Site


def causal_conv_with_state(b: Emit, s: Site) -> Sequence[Value | None]:
    """Returns (the convolution, the last k - 1 values of what was convolved)."""
    x, weight = s.input(0), s.input(1)
    channels, _, taps = dims(weight) or (None,) * 3
    if not isinstance(channels, int) or not isinstance(taps, int):
        raise GraphError(f"CausalConvWithState '{s.node.name}' needs a kernel of static size, and finds {dims(weight)}")
    bias = s.input(2) if s.has(2) else None
    sequence = b.Concat(s.input(3), x, axis=2) if s.has(3) else b.Pad(x, [taps - 1, 0], None, [2])
    y = b.Conv(sequence, weight, bias, group=channels, kernel_shape=[taps])
    activation = s.attr("activation", "none")
    if activation in ("silu", "swish"):
        y = b.Mul(y, b.Sigmoid(y))
    elif activation != "none":
        raise GraphError(f"CausalConvWithState '{s.node.name}' has activation='{activation}'; it may be silu or swish")
    first = [1 - taps] if taps > 1 else [np.iinfo(np.int64).max]
    return [y, b.Slice(sequence, first, [np.iinfo(np.int64).max], [2])][: len(s.y)]
