"""Convolutions and pooling with activations, sums and channels-last layouts fused into them."""

from __future__ import annotations

from collections.abc import Sequence

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit, Value
from xgraph.graph.normalise.decompose.integers import channels_first, channels_last
from xgraph.graph.normalise.decompose.microsoft.activation import activated
from xgraph.graph.normalise.grid import array_of
from xgraph.graph.site import Site


def fused_conv(b: Emit, s: Site) -> Sequence[Value]:
    """The activation of ``Conv(x, w) + bias + z``."""
    y = b.Conv(s.input(0), s.input(1), s.input(2) if s.has(2) else None, **_window(s))
    return [activated(b, s, b.Add(y, s.input(3)) if s.has(3) else y)]


def nhwc_conv(b: Emit, s: Site) -> Sequence[Value]:
    """The same on (N, H, W, C) with weights (M, kh, kw, C)."""
    weight = channels_first(b, s.input(1))
    y = b.Conv(channels_first(b, s.input(0)), weight, s.input(2) if s.has(2) else None, **_window(s))
    if s.has(3):
        y = b.Add(y, channels_first(b, s.input(3)))
    return [channels_last(b, activated(b, s, y))]


def nhwc_max_pool(b: Emit, s: Site) -> Sequence[Value]:
    """MaxPool on (N, H, W, C)."""
    return [channels_last(b, b.MaxPool(channels_first(b, s.input(0)), **s.attributes()))]


def conv_transpose_with_dynamic_pads(b: Emit, s: Site) -> Sequence[Value]:
    """ConvTranspose whose pads are an input, which must be constant."""
    attributes = s.attributes()
    if s.has(2):
        pads = array_of(s.input(2))
        if pads is None:
            raise GraphError(f"{s.op} '{s.node.name}' computes its pads; export the model with fixed sizes")
        attributes["pads"] = [int(pad) for pad in pads]
    return [b.ConvTranspose(s.input(0), s.input(1), s.input(3) if s.has(3) else None, **attributes)]


def _window(s: Site) -> dict[str, object]:
    return {name: value for name, value in s.attributes().items() if not name.startswith("activation")}


CONVOLUTIONS = {
    "ConvTransposeWithDynamicPads": conv_transpose_with_dynamic_pads,
    "FusedConv": fused_conv,
    "NhwcConv": nhwc_conv,
    "NhwcFusedConv": nhwc_conv,
    "NhwcMaxPool": nhwc_max_pool,
}
