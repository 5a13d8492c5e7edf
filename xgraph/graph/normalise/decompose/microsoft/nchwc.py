"""Channels in blocks (domain com.microsoft.nchwc): what ONNX Runtime's highest level of optimisation leaves.

A value (N, C, H, W) of this layout is stored as (N, C / B, H, W, B), with C padded to whole blocks. Here it is plain
(N, C, H, W), still padded, and weights are put back into their order. B belongs to the machine that wrote the file
and runs it, and the file does not say it: 16 with AVX-512, else 8, unless a size shows that it must be 8.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit, Value
from xgraph.graph.normalise.decompose.integers import channels_first, channels_last
from xgraph.graph.normalise.decompose.microsoft.activation import activated
from xgraph.graph.normalise.grid import array_of
from xgraph.graph.shapes import dims, rank
from xgraph.graph.site import Site

DOMAIN = "com.microsoft.nchwc"
_BLOCK = "xgraph.block"
_WIDE, _NARROW = 16, 8


def refuse_blocked(model: ir.Model, known: Mapping[str, object]) -> None:
    """Notes the size of the blocks on every node of this domain.

    Raises:
        GraphError: There are operators that are not in ``known``; beside plain ones they would read nonsense.
    """
    nodes = [node for node in model.graph if node.domain == DOMAIN]
    unknown = sorted({node.op_type for node in nodes} - {op.removeprefix(f"{DOMAIN}::") for op in known})
    if unknown:
        raise GraphError(
            f"the model has the operators {', '.join(unknown)} of {DOMAIN}, which depend on the machine that optimised "
            "it and cannot be taken apart; save it at ORT_ENABLE_EXTENDED, or give the model as it was exported"
        )
    if nodes:
        block = _block(nodes)
        for node in nodes:
            node.meta[_BLOCK] = block


def reorder_input(b: Emit, s: Site) -> Sequence[Value]:
    """Pads the channels to whole blocks."""
    x = channels_first(b, s.input(0)) if s.attr("channels_last", 0) else s.input(0)
    channels = _channels(s, x)
    missing = -channels % int(s.node.meta[_BLOCK])
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
    weight = b.constant(unblocked(blocked, int(s.attr("group", 1)), int(s.node.meta[_BLOCK])))
    weight.name = f"{s.input(1).name}_plain"
    y = b.Conv(s.input(0), weight, s.input(2) if s.has(2) else None, **attributes)
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


def _block(nodes: Iterable[ir.Node]) -> int:
    """Returns the size of the blocks: 8 where some number of channels has no blocks of 16, else the machine's."""
    for node in nodes:
        if node.op_type != "Conv":
            continue
        outputs, inputs, *_ = dims(node.inputs[1]) or (None, None)  # type: ignore[arg-type]
        group = node.attributes.get_int("group", 1)
        plain = inputs == 1 or (group == 1 and isinstance(inputs, int) and inputs < _NARROW)
        if _is_narrow(outputs) or (not plain and _is_narrow(inputs)):
            return _NARROW
    return _WIDE if _has_wide_vectors() else _NARROW


def _is_narrow(channels: int | str | None) -> bool:
    return isinstance(channels, int) and channels % _WIDE != 0


def _has_wide_vectors() -> bool:
    found = np.show_config(mode="dicts")["SIMD Extensions"]
    present = [*found.get("baseline", ()), *found.get("found", ())]
    return any("AVX512" in name or name == "X86_V4" for name in present)


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
