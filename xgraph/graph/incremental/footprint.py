"""Footprint: which nodes can be computed on a window of their maps, and what they read for it.

On a window (batch, C, h, w) a node is the same node without padding. It must treat all places of a map alike:
convolutions, pools, what works element by element, and what only mixes channels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from xgraph.graph.incremental.intervals import Slide
from xgraph.graph.shapes import static
from xgraph.graph.site import Site

Slides = tuple[Slide, Slide]
"""Rows, columns."""

_AT_EACH_PLACE = frozenset({
    "Abs", "Add", "Celu", "Clip", "Div", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity",
    "LRN", "LeakyRelu", "Log", "Max", "Mean", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow", "Reciprocal", "Relu", "Selu",
    "Sigmoid", "Sin", "Cos", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Tanh", "ThresholdedRelu",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Footprint:
    """How a node reads its maps.

    Attributes:
        maps: numbers of the inputs that are maps; the others are the same at every place.
        slides: how windows move over the maps.
        padding: what lies around the maps.
        count_inside: whether an average is over the places inside the map only.
    """

    maps: tuple[int, ...]
    slides: Slides = (Slide(), Slide())
    padding: float = 0.0
    count_inside: bool = False


def footprint(node: ir.Node, moving: Collection[str]) -> Footprint | None:
    """Returns how a node reads its maps, or None where it cannot be computed on windows.

    Args:
        node: any node.
        moving: names of all values that depend on the image.
    """
    if node.domain or any(static(y, slice(1, None)) is None or len(y.shape or ()) != 4 for y in _used(node)):
        return None
    site = Site(node)
    maps = tuple(i for i, x in enumerate(site.x) if x is not None and x.name in moving)
    if any(site.input(i).dtype != ir.DataType.FLOAT for i in maps):
        return None
    if any(len(static(site.input(i), slice(1, None)) or ()) != 3 for i in maps):
        return None
    if node.op_type in _AT_EACH_PLACE:
        return _at_each_place(site, maps)
    special = _SPECIAL.get(node.op_type)
    return None if special is None or (maps != (0,) and node.op_type != "Concat") else special(site, maps)


def plane(value: ir.Value) -> tuple[int, int]:
    """Returns height and width of a map whose sizes are known."""
    sizes = static(value, slice(2, None))
    assert sizes is not None
    height, width = sizes
    return height, width


def _used(node: ir.Node) -> list[ir.Value]:
    return [y for y in node.outputs if y.uses() or y.is_graph_output()] or list(node.outputs[:1])


def _same_planes(s: Site, maps: tuple[int, ...]) -> bool:
    return all(plane(s.input(i)) == plane(s.y[0]) for i in maps)


def _at_each_place(s: Site, maps: tuple[int, ...]) -> Footprint | None:
    rest = (x for i, x in enumerate(s.x) if x is not None and i not in maps)
    return Footprint(maps) if _same_planes(s, maps) and all(_even(x) for x in rest) else None


def _even(value: ir.Value) -> bool:
    """Tells whether a value that does not move is broadcast over all places and samples."""
    sizes = static(value)
    if sizes is None or len(sizes) > 4:
        return False
    return all(size == 1 for size in sizes[-2:]) and (len(sizes) < 4 or sizes[0] == 1)


def _first_only(s: Site, maps: tuple[int, ...]) -> Footprint | None:
    """Inference of BatchNormalization and Dropout: other outputs and training are left to the whole graph."""
    if len(_used(s.node)) > 1 or s.attr("training_mode", 0):
        return None
    if s.op == "Dropout" and s.has(2):
        training = s.const(2)
        if training is None or training.any():
            return None
    return Footprint(maps)


def _concat(s: Site, maps: tuple[int, ...]) -> Footprint | None:
    return Footprint(maps) if s.attr("axis") in (1, -3) and maps == tuple(range(len(s.x))) else None


def _split(s: Site, maps: tuple[int, ...]) -> Footprint | None:
    return Footprint(maps) if s.attr("axis", 0) in (1, -3) and not any(y.is_graph_output() for y in s.y) else None


def _slice(s: Site, maps: tuple[int, ...]) -> Footprint | None:
    axes = s.const(3)
    return Footprint(maps) if axes is not None and set(axes.ravel().tolist()) <= {1, -3} else None


def _pad(s: Site, maps: tuple[int, ...]) -> Footprint | None:
    pads, value = s.const(1), s.const(2) if s.has(2) else np.zeros(1, np.float32)
    if s.attr("mode", "constant") not in ("constant", b"constant") or pads is None or value is None or s.has(3):
        return None
    around = pads.ravel().tolist()
    if len(around) != 8 or min(around) < 0 or any(around[i] for i in (0, 1, 4, 5)):
        return None
    return Footprint(maps, (Slide(begin=around[2]), Slide(begin=around[3])), float(value.ravel()[0]))


def _conv(s: Site, maps: tuple[int, ...]) -> Footprint | None:
    weight = static(s.input(1))
    slides = None if weight is None else _slides(s, weight[2:])
    return None if slides is None else Footprint(maps, slides)


def _max_pool(s: Site, maps: tuple[int, ...]) -> Footprint | None:
    slides = None if len(_used(s.node)) > 1 else _slides(s, s.ints("kernel_shape", ()))
    return None if slides is None else Footprint(maps, slides, -np.inf)


def _average_pool(s: Site, maps: tuple[int, ...]) -> Footprint | None:
    slides = _slides(s, s.ints("kernel_shape", ()))
    if slides is None:
        return None
    if not s.attr("count_include_pad", 0):
        return Footprint(maps, slides, count_inside=True)
    ends = s.ints("pads", [0] * 4)[2:]
    places = zip(slides, plane(s.input(0)), plane(s.y[0]), ends, strict=True)
    # Of windows that hang over the padding, runtimes disagree about the divisor.
    overhang = any((outputs - 1) * q.stride + q.reach > size + q.begin + end for q, size, outputs, end in places)
    return None if overhang else Footprint(maps, slides)


def _slides(s: Site, kernel: tuple[int, ...] | list[int]) -> Slides | None:
    pads = s.ints("pads", [0] * 4)
    if s.attr("auto_pad", "NOTSET") != "NOTSET" or len(kernel) != 2 or min(pads) < 0:
        return None
    strides, dilations = s.ints("strides", [1, 1]), s.ints("dilations", [1, 1])
    rows, columns = (Slide(kernel[i], strides[i], dilations[i], pads[i]) for i in (0, 1))
    return rows, columns


_SPECIAL: Mapping[str, Callable[[Site, tuple[int, ...]], Footprint | None]] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _first_only,
    "Concat": _concat,
    "Conv": _conv,
    "Dropout": _first_only,
    "MaxPool": _max_pool,
    "Pad": _pad,
    "Slice": _slice,
    "Split": _split,
}
