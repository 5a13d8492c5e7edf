"""Channels in blocks (domain com.microsoft.nchwc): what ONNX Runtime's highest level of optimisation leaves.

A value (N, C, H, W) of this layout is stored as (N, C / B, H, W, B), with C padded to whole blocks. Here it is plain
(N, C, H, W), still padded, and weights are put back into their order. B belongs to the machine that wrote the file
and runs it, and the file does not say it (``block_size``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit, Value
from xgraph.graph.normalise.decompose.integers import channels_first, channels_last
from xgraph.graph.normalise.decompose.microsoft.activation import activated
from xgraph.graph.normalise.decompose.microsoft.block_size import INSTEAD, block_of, padded
from xgraph.graph.normalise.grid import array_of, weight
from xgraph.graph.shapes import dims, rank
from xgraph.graph.site import Site

DOMAIN = "com.microsoft.nchwc"
_BLOCK = "xgraph.block"


def refuse_blocked(model: ir.Model, known: Mapping[str, object]) -> None:
    """Notes the size of the blocks on every node of this domain, in place, so that each can be taken apart alone.

    Raises:
        GraphError: There are operators that are not in ``known``; beside plain ones they would read nonsense. Or no
            size of the blocks explains the others.
    """
    nodes = [node for node in model.graph.all_nodes() if node.domain == DOMAIN]
    unknown = sorted({node.op_type for node in nodes} - {op.removeprefix(f"{DOMAIN}::") for op in known})
    if unknown:
        raise GraphError(
            f"the model has the operators {', '.join(unknown)} of {DOMAIN}, which depend on the machine that optimised "
            f"it and cannot be taken apart; {INSTEAD}"
        )
    if nodes:
        block, values = block_of(list(model.graph.all_nodes()), DOMAIN)
        for node in nodes:
            node.meta[_BLOCK] = block
        _drop_reshapes(model, values)


def _drop_reshapes(model: ir.Model, blocked: Collection[ir.Value]) -> None:
    """Adds values as they are, in place, which ONNX Runtime reshapes to (N, C / B, H, W, B) where one may broadcast."""
    for node in list(model.graph.all_nodes()):
        x = node.inputs[0] if node.op_type == "Reshape" else None
        if x is not None and x in blocked and node.graph is not None:
            node.outputs[0].replace_all_uses_with(x)
            node.graph.remove(node, safe=True)


def reorder_input(b: Emit, s: Site) -> Sequence[Value]:
    """Pads the channels to whole blocks."""
    x = channels_first(b, s.input(0)) if s.attr("channels_last", 0) else s.input(0)
    channels = _channels(s, x)
    missing = padded(channels, int(s.node.meta[_BLOCK])) - channels
    if not missing:
        return [b.Identity(x)]
    return [b.Pad(x, [0] * (rank(x) + 1) + [missing] + [0] * (rank(x) - 2), b.scalar(0.0, x))]


def reorder_output(b: Emit, s: Site) -> Sequence[Value]:
    """Takes off the padding of the channels."""
    x, channels = s.input(0), int(s.attr("channels"))
    y = x if _channels(s, x) == channels else b.Slice(x, [0], [channels], [1])
    return [channels_last(b, y) if s.attr("channels_last", 0) else b.Identity(y)]


def conv(b: Emit, s: Site) -> Sequence[Value]:
    """The activation of ``Conv(x, w) + bias + sum``."""
    attributes = {name: value for name, value in s.attributes().items() if not name.startswith("activation")}
    blocked = array_of(s.input(1))
    if blocked is None:
        raise GraphError(f"{s.op} '{s.node.name}' computes its weights, whose blocks cannot be undone")
    numbers = unblocked(blocked, int(s.attr("group", 1)), int(s.node.meta[_BLOCK]))
    plain = weight(b.model.graph, s.input(1), numbers)
    y = b.Conv(s.input(0), plain, s.input(2) if s.has(2) else None, **attributes)
    return [activated(b, s, b.Add(y, s.input(3)) if s.has(3) else y)]


def unblocked(stored: np.ndarray, group: int, block: int) -> np.ndarray:
    """Returns (O, I, kh, kw) of weights whose numbers lie as (O/B, I/B, kh, kw, B of I, B of O).

    Input channels have no blocks where the input is plain (fewer than B channels) or each channel is on its own.
    """
    outputs, inputs, *kernel = stored.shape
    if inputs < block and (group == 1 or inputs == 1):
        parts = stored.reshape(outputs // block, inputs, *kernel, block)
        return np.ascontiguousarray(np.moveaxis(parts, -1, 1)).reshape(stored.shape)
    parts = stored.reshape(outputs // block, inputs // block, *kernel, block, block)
    # (O/B, I/B, kh, kw, BI, BO) -> (O/B, BO, I/B, BI, kh, kw)
    return np.ascontiguousarray(np.moveaxis(parts, (-1, -2), (1, 3))).reshape(stored.shape)


def max_pool(b: Emit, s: Site) -> Sequence[Value]:
    """MaxPool of every channel, padding included."""
    return [b.MaxPool(s.input(0), **s.attributes())]


def average_pool(b: Emit, s: Site) -> Sequence[Value]:
    """AveragePool of every channel, padding included."""
    return [b.AveragePool(s.input(0), **s.attributes())]


def global_average_pool(b: Emit, s: Site) -> Sequence[Value]:
    """GlobalAveragePool of every channel, padding included."""
    return [b.GlobalAveragePool(s.input(0))]


def global_max_pool(b: Emit, s: Site) -> Sequence[Value]:
    """GlobalMaxPool of every channel, padding included."""
    return [b.GlobalMaxPool(s.input(0))]


def upsample(b: Emit, s: Site) -> Sequence[Value]:
    """Resize by whole factors."""
    scales = np.asarray(s.attr("scales"), np.float32)
    mode = s.attr("mode", "nearest")
    coordinates = s.attr("coordinate_transformation_mode", "asymmetric")
    rounding = "floor" if mode == "nearest" else None
    resize = b.Resize(
        s.input(0), None, scales, mode=mode, coordinate_transformation_mode=coordinates, nearest_mode=rounding
    )
    return [resize]


def _channels(s: Site, x: Value) -> int:
    channels = (dims(x) or (None, None))[1]
    if not isinstance(channels, int):
        raise GraphError(f"{s.op} '{s.node.name}' needs a static number of channels, and finds {channels}")
    return channels


BLOCKED = {
    "AveragePool": average_pool,
    "Conv": conv,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "MaxPool": max_pool,
    "ReorderInput": reorder_input,
    "ReorderOutput": reorder_output,
    "Upsample": upsample,
}
