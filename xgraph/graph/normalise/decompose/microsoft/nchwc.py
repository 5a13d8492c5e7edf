"""Channels in blocks (domain com.microsoft.nchwc): what ONNX Runtime's highest level of optimisation leaves.

A value (N, C, H, W) of this layout is stored as (N, C / B, H, W, B), with C padded to whole blocks. Here it is plain
(N, C, H, W), still padded, and weights are put back into their order. B belongs to the machine that wrote the file
and runs it, and the file does not say it: 16 with AVX-512 or on ARM, else 8. Most files have a size that only one of
them explains; where none has, it is that of this machine.
"""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit, Value
from xgraph.graph.normalise.decompose.integers import channels_first, channels_last
from xgraph.graph.normalise.decompose.microsoft.activation import activated
from xgraph.graph.normalise.grid import array_of
from xgraph.graph.shapes import dims, rank, static
from xgraph.graph.site import Site

DOMAIN = "com.microsoft.nchwc"
_BLOCK = "xgraph.block"
_WIDE, _NARROW = 16, 8
_INSTEAD = "save it at ORT_ENABLE_EXTENDED, or give the model as it was exported"


def refuse_blocked(model: ir.Model, known: Mapping[str, object]) -> None:
    """Notes the size of the blocks on every node of this domain.

    Raises:
        GraphError: There are operators that are not in ``known``; beside plain ones they would read nonsense. Or no
            size of the blocks explains the others.
    """
    nodes = [node for node in model.graph.all_nodes() if node.domain == DOMAIN]
    unknown = sorted({node.op_type for node in nodes} - {op.removeprefix(f"{DOMAIN}::") for op in known})
    if unknown:
        raise GraphError(
            f"the model has the operators {', '.join(unknown)} of {DOMAIN}, which depend on the machine that optimised "
            f"it and cannot be taken apart; {_INSTEAD}"
        )
    if nodes:
        block = _block(list(model.graph.all_nodes()))
        for node in nodes:
            node.meta[_BLOCK] = block


def reorder_input(b: Emit, s: Site) -> Sequence[Value]:
    """Pads the channels to whole blocks."""
    x = channels_first(b, s.input(0)) if s.attr("channels_last", 0) else s.input(0)
    channels = _channels(s, x)
    missing = _padded(channels, int(s.node.meta[_BLOCK])) - channels
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


def _block(nodes: Collection[ir.Node]) -> int:
    """Returns the size of the blocks: the only one that explains the sizes in the graph, else the machine's."""
    possible = [block for block in (_WIDE, _NARROW) if _explains(nodes, block)]
    if not possible:
        raise GraphError(
            f"neither blocks of {_WIDE} nor of {_NARROW} channels fit its operators of {DOMAIN}; {_INSTEAD}"
        )
    if len(possible) == 1:
        return possible[0]
    return _WIDE if _has_wide_vectors() else _NARROW


def _explains(nodes: Collection[ir.Node], block: int) -> bool:
    """Tells whether ONNX Runtime could have written ``nodes`` with blocks of ``block`` channels."""
    stored: dict[ir.Value | None, int | None] = {}  # the channels, with padding, of the values in blocks
    for node in nodes:
        ours = node.domain == DOMAIN
        if not ours and not any(value in stored for value in node.inputs):
            continue
        if ours and not _fits(node, stored, block):
            return False
        if not ours or node.op_type != "ReorderOutput":  # what computes element by element leaves blocks as they are
            stored.update(dict.fromkeys(node.outputs, _stored_channels(node, stored, block)))
    return True


def _fits(node: ir.Node, stored: Mapping[ir.Value | None, int | None], block: int) -> bool:
    x = node.inputs[0]
    if node.op_type == "ReorderOutput":
        return stored.get(x) in (None, _padded(node.attributes["channels"].as_int(), block))
    sizes = static(node.inputs[1], slice(2)) if node.op_type == "Conv" and node.inputs[1] is not None else None
    if sizes is None:
        return True
    outputs, inputs = sizes
    group = node.attributes.get_int("group", 1)
    if group > 1:
        fits = inputs == 1 or (inputs % block == 0 and outputs // group % block == 0)
    elif x in stored:
        fits = inputs % block == 0 and stored[x] in (None, inputs)
    else:
        fits = inputs < block  # more would be put into blocks first
    return fits and outputs % block == 0


def _stored_channels(node: ir.Node, stored: Mapping[ir.Value | None, int | None], block: int) -> int | None:
    x, *others = node.inputs
    if x is None:
        return None
    if node.op_type == "Conv":
        sizes = static(others[0], slice(1)) if others[0] is not None else None
        return sizes[0] if sizes else None
    if node.op_type == "ReorderInput":
        sizes = static(x, slice(3, 4) if node.attributes.get_int("channels_last", 0) else slice(1, 2))
        return _padded(sizes[0], block) if sizes else None
    if node.op_type == "Concat":
        counts = [stored.get(value) for value in node.inputs]
        return sum(n for n in counts if n is not None) if None not in counts else None
    return stored.get(x)


def _padded(channels: int, block: int) -> int:
    return channels + -channels % block


def _has_wide_vectors() -> bool:
    if platform.machine().lower() in ("aarch64", "arm64"):
        return True
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
