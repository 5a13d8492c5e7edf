"""``auto_pad`` becomes explicit pads, so that every rule and lowering reads ``pads`` only."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from xgraph.graph.shapes import Dim, dims

_WINDOWED = ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool")


def resolve_auto_pad(model: ir.Model) -> None:
    """Replaces ``auto_pad`` (and ConvTranspose's ``output_shape``) by ``pads``, in place.

    Acts on Conv, ConvTranspose, MaxPool, AveragePool and LpPool. SAME_* with a stride above 1 depends on the
    input's size: it stays where that is dynamic, as does a ConvTranspose whose padding would be negative.
    """
    for node in model.graph.all_nodes():
        if node.domain or node.op_type not in _WINDOWED:
            continue
        mode = node.attributes.get_string("auto_pad", "NOTSET") or "NOTSET"
        if mode == "NOTSET" and "output_shape" not in node.attributes:
            node.attributes.pop("auto_pad", None)
            continue
        pads = _pads(node, mode)
        if pads is None:
            continue
        node.attributes.pop("auto_pad", None)
        node.attributes.pop("output_shape", None)
        node.attributes["pads"] = ir.AttrInt64s("pads", pads)


def _pads(node: ir.Node, mode: str) -> list[int] | None:
    known = dims(node.inputs[0]) if node.inputs[0] is not None else None
    kernel = _kernel(node)
    if kernel is None:
        return None
    rank = len(kernel)
    if mode == "VALID" and "output_shape" not in node.attributes:
        return [0] * (2 * rank)
    strides = list(node.attributes.get_ints("strides", ()) or [1] * rank)
    dilations = list(node.attributes.get_ints("dilations", ()) or [1] * rank)
    spatial: Sequence[Dim] = known[2:] if known is not None else [None] * rank
    if node.op_type == "ConvTranspose":
        totals = _transposed_totals(node, kernel, strides, dilations, spatial)
    else:
        totals = [_total(*window) for window in zip(kernel, strides, dilations, spatial, strict=True)]
    begins: list[int] = []
    ends: list[int] = []
    # ConvTranspose puts the odd pixel at the other side unless SAME_UPPER asks; the others follow their name.
    small_first = mode == "SAME_UPPER"
    for total in totals:
        if total is None or total < 0:
            return None
        begins.append(total // 2 if small_first else total - total // 2)
        ends.append(total - begins[-1])
    return begins + ends


def _kernel(node: ir.Node) -> list[int] | None:
    given = node.attributes.get_ints("kernel_shape", ())
    if given:
        return list(given)
    weight = dims(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] is not None else None
    if weight is None or not all(isinstance(d, int) for d in weight[2:]):
        return None
    return [int(d) for d in weight[2:]]  # type: ignore[arg-type]


def _total(kernel: int, stride: int, dilation: int, size: Dim) -> int | None:
    reach = (kernel - 1) * dilation + 1
    if stride == 1:
        return reach - 1
    if not isinstance(size, int):
        return None
    return max((-(-size // stride) - 1) * stride + reach - size, 0)


def _transposed_totals(
    node: ir.Node, kernel: list[int], strides: list[int], dilations: list[int], spatial: Sequence[Dim]
) -> list[int | None]:
    rank = len(kernel)
    extra = list(node.attributes.get_ints("output_padding", ()) or [0] * rank)
    wanted = node.attributes.get_ints("output_shape", ())
    totals: list[int | None] = []
    for i in range(rank):
        reach = (kernel[i] - 1) * dilations[i] + 1
        size = spatial[i]
        if not wanted:
            # SAME: the output is stride times the input, whatever that is.
            totals.append(extra[i] + reach - strides[i])
        elif isinstance(size, int):
            totals.append(strides[i] * (size - 1) + extra[i] + reach - list(wanted)[-rank:][i])
        else:
            totals.append(None)
    return totals
