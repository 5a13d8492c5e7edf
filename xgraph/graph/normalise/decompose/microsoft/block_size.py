"""How many channels lie in a block of ONNX Runtime's layout (N, C / B, H, W, B), which no file says.

B is 16 with AVX-512 or on ARM, else 8. It pads the channels of a blocked value to whole blocks, and a convolution with
fewer than B channels reads its input as it is. So most files have a size that only one of the two explains, or padding
that shows only with the right one; where there is neither, B is that of this machine.
"""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterable

import numpy as np
import onnx_ir as ir

from xgraph.errors import GraphError
from xgraph.graph.normalise.grid import array_of
from xgraph.graph.shapes import static

INSTEAD = "save it at ORT_ENABLE_EXTENDED, or give the model as it was exported"
_WIDE, _NARROW = 16, 8


def block_of(nodes: Collection[ir.Node], domain: str) -> tuple[int, Collection[ir.Value]]:
    """Returns the size of the blocks, and the values that lie in blocks.

    Args:
        nodes: Those of the whole graph, in topological order.
        domain: The operators that put values into blocks.

    Raises:
        GraphError: Neither size explains the graph.
    """
    explained = {block: _Hypothesis(domain, block) for block in (_WIDE, _NARROW)}
    possible = [block for block, hypothesis in explained.items() if hypothesis.explains(nodes)]
    if not possible:
        sizes = f"blocks of {_WIDE} nor of {_NARROW} channels"
        raise GraphError(f"neither {sizes} fit the model's operators of {domain}; {INSTEAD}")
    filters = [node.inputs[1] for node in nodes if node.domain == domain and node.op_type == "Conv"]
    weights = [weight for w in filters if w is not None and (weight := array_of(w)) is not None]
    seen = {block: sum(_ends_in_padding(weight, block) for weight in weights) for block in possible}
    best = [block for block in possible if seen[block] == max(seen.values())]
    block = best[0] if len(best) == 1 else _block_of_this_machine()
    return block, explained[block].stored


def padded(channels: int, block: int) -> int:
    """Returns the number of channels filled up to whole blocks."""
    return channels + -channels % block


class _Hypothesis:
    """That blocks have ``block`` channels; ``stored`` counts the channels, with padding, of the values in blocks."""

    def __init__(self, domain: str, block: int) -> None:
        self.domain = domain
        self.block = block
        self.stored: dict[ir.Value, int | None] = {}

    def explains(self, nodes: Iterable[ir.Node]) -> bool:
        """Tells whether ONNX Runtime could have written ``nodes``."""
        for node in nodes:
            ours = node.domain == self.domain
            if not ours and not any(x in self.stored for x in node.inputs if x is not None):
                continue
            if not self._fits(node):
                return False
            if not (ours and node.op_type == "ReorderOutput"):  # plain operators leave blocks as they are
                self.stored.update(dict.fromkeys(node.outputs, self._channels_of(node)))
        return True

    def _fits(self, node: ir.Node) -> bool:
        match node.op_type:
            case "Conv":
                return self._fits_convolution(node)
            case "ReorderOutput":
                return self._count(node.inputs[0]) in (None, padded(node.attributes["channels"].as_int(), self.block))
            case "Reshape":
                shape = array_of(node.inputs[1]) if node.inputs[1] is not None else None
                return shape is None or len(shape) < 5 or shape[-1] == self.block
        return True

    def _fits_convolution(self, node: ir.Node) -> bool:
        x, sizes = node.inputs[0], _sizes(node.inputs[1], 0, 2)
        if sizes is None:
            return True
        outputs, inputs = sizes
        group = node.attributes.get_int("group", 1)
        if group > 1:
            fits = inputs == 1 or (inputs % self.block == 0 and outputs // group % self.block == 0)
        elif x in self.stored:
            fits = inputs % self.block == 0 and self._count(x) in (None, inputs) and not self._is_left_plain(x)
        else:
            fits = inputs < self.block
        return fits and outputs % self.block == 0

    def _is_left_plain(self, x: ir.Value) -> bool:
        """Tells whether a convolution would have read what was put into blocks for it as it is."""
        node = x.producer()
        channels = None if node is None or node.op_type != "ReorderInput" else _reordered_channels(node)
        return channels is not None and channels < self.block

    def _channels_of(self, node: ir.Node) -> int | None:
        match node.op_type:
            case "Conv":
                sizes = _sizes(node.inputs[1], 0, 1)
                return sizes[0] if sizes else None
            case "ReorderInput":
                channels = _reordered_channels(node)
                return None if channels is None else padded(channels, self.block)
            case "Concat":
                counts = [self._count(x) for x in node.inputs]
                return sum(n for n in counts if n is not None) if None not in counts else None
        return self._count(node.inputs[0])

    def _count(self, x: ir.Value | None) -> int | None:
        return None if x is None else self.stored.get(x)


def _reordered_channels(node: ir.Node) -> int | None:
    sizes = _sizes(node.inputs[0], 3 if node.attributes.get_int("channels_last", 0) else 1, 1)
    return sizes[0] if sizes else None


def _sizes(value: ir.Value | None, axis: int, count: int) -> tuple[int, ...] | None:
    return None if value is None else static(value, slice(axis, axis + count)) or None


def _ends_in_padding(weight: np.ndarray, block: int) -> bool:
    """Tells whether the last output channel is 0; weights lie as (O / B, ..., B of O)."""
    return not weight.reshape(len(weight) // block, -1, block)[-1, :, -1].any()


def _block_of_this_machine() -> int:
    if platform.machine().lower() in ("aarch64", "arm64"):
        return _WIDE
    found = np.show_config(mode="dicts")["SIMD Extensions"]
    present = [*found.get("baseline", ()), *found.get("found", ())]
    return _WIDE if any("AVX512" in name or name == "X86_V4" for name in present) else _NARROW
