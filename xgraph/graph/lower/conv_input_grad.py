"""ConvInputGrad: the gradient of a convolution with respect to its input, ``dx = W^T g``.

It is a transposed convolution. Where ConvTranspose is slow, it is written as a convolution of ``g`` with the
weight whose taps are reversed and whose channels are swapped; with strides, as one such convolution for each
position of an input modulo the stride, interleaved afterwards.
"""

from __future__ import annotations

import onnx_ir as ir

from xgraph.graph.emit import Emit
from xgraph.graph.lower.blocked import anchored
from xgraph.graph.lower.crop import crop_negative
from xgraph.graph.lower.polyphase import phases_pay, polyphase, zero_inserted
from xgraph.graph.lower.spread import spread
from xgraph.graph.lower.weights import flipped, kernel_of
from xgraph.graph.lower.window import Window, read_window
from xgraph.graph.site import Site


def conv_input_grad(b: Emit, s: Site, profile: str) -> ir.Value:
    """Emits ``dx[o * stride + k * dilation - begin] += W[:, :, k]^T g[o]``."""
    g, weight, shape = s.input(0), s.input(1), s.input(2)
    group = int(s.attr("group", 1))
    window = read_window(s, kernel_of(s, weight))
    if profile in ("cpu", "openvino"):
        if window.unit_stride and window.begins is not None:
            return _as_conv(b, g, weight, window, group)
        if window.sizes is not None and window.begins is not None:
            if all(k == 1 for k in window.kernel):
                image = zero_inserted(b, g, weight, window, group)
                return anchored(b, image) if profile == "cpu" else image
            if phases_pay(window):
                return polyphase(b, g, weight, window, group)
    return spread(b, g, weight, shape, window, group)


def _as_conv(b: Emit, g: ir.Value, weight: ir.Value, window: Window, group: int) -> ir.Value:
    """Emits the adjoint of a convolution with stride 1: a convolution with the complementary padding."""
    assert window.begins is not None
    assert window.ends is not None
    begins = [r - 1 - p for r, p in zip(window.reach, window.begins, strict=True)]
    ends = [r - 1 - p for r, p in zip(window.reach, window.ends, strict=True)]
    return b.Conv(
        crop_negative(b, g, begins, ends),
        flipped(b, weight, len(window.kernel), group),
        pads=[max(p, 0) for p in (*begins, *ends)],
        dilations=window.dilations,
        group=group,
    )
