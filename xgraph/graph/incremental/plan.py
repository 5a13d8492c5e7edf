"""Plan: which values are computed on windows, and from where on the model runs on whole maps.

Dirty intervals only grow, so one threshold on the share of a map that its window covers decides: values below it are
windowed, all others dense. Of all thresholds the one with the smallest cost is taken,

    cost = multiply-adds + 12 numbers read and written by nodes + 150 numbers gathered for windows
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import onnx_ir as ir

from xgraph.graph.incremental.footprint import Footprint, footprint, plane
from xgraph.graph.incremental.intervals import Axis, Region, needed, patch, through, union
from xgraph.graph.incremental.work import multiply_adds, numbers
from xgraph.graph.operands import bodies, operands
from xgraph.graph.shapes import dims, static

_TOUCHED, _GATHERED = 12, 150
"""Multiply-adds that take as long as moving a float through a node, or out of one layout into a window of another.

Measured with ONNX Runtime on two Zen 3 cores, where a nanosecond is 60 multiply-adds; the best thresholds for
ResNet-50 and MobileNetV2 at 16/8 are among the fastest when all were timed."""
_MOST = 0.85
"""Of the whole model's cost: beyond this, windows are not worth a second graph."""
_WHOLE = 0.95
"""Of a map: windows that cover this much are taken for the map."""

Box = tuple[Axis, Axis]
"""Rows and columns of a window."""


@dataclass(frozen=True, slots=True)
class Windows:
    """What is computed on windows, for one model, image input, patch size and set of positions.

    Attributes:
        image: name of the image input.
        window: height and width of the patch.
        starts: tops and left edges of the patch; the positions are all pairs.
        boxes: value -> its windows.
        footprints: first output of a node that is windowed -> how the node reads.
        whole: windowed values that the rest of the model reads as whole maps.
        caches: values whose clean activations are needed, in the order of ``xg_clean_0``, ``xg_clean_1`` ...
        share: multiply-adds per position, as a share of the whole model's.
        cost: time per position, likewise, as estimated.
    """

    image: str
    window: tuple[int, int]
    starts: tuple[tuple[int, ...], tuple[int, ...]]
    boxes: Mapping[str, Box]
    footprints: Mapping[str, Footprint]
    whole: tuple[str, ...]
    caches: tuple[str, ...]
    share: float
    cost: float


def plan_windows(
    model: ir.Model, image: str, window: tuple[int, int], starts: tuple[Sequence[int], Sequence[int]]
) -> Windows | str:
    """Returns the cheapest plan, or one line that says why there is none or why it would not pay.

    Args:
        model: a normalised model.
        image: its only input, (batch, channels, height, width).
        window: height and width of the patch.
        starts: tops and left edges that the patch can have; a patch may hang over the lower and the right edge.
    """
    problem = _refused(model, image, window, starts)
    if problem is not None:
        return problem
    given = next(value for value in model.graph.inputs if value.name == image)
    first, second = (tuple(int(start) for start in along) for along in starts)
    height, width = plane(given)
    box = patch(first, window[0], height), patch(second, window[1], width)
    search = _Search(model, given, box)
    if search.problem is not None:
        return search.problem
    cost, threshold = min((search.cost(threshold), threshold) for threshold in search.thresholds())
    chosen = search.windowed(threshold)
    boxes = {name: search.boxes[name] for name in chosen}
    nodes = {
        node.outputs[0].name or "": search.footprints[node] for node in search.nodes if node.outputs[0].name in chosen
    }
    whole, caches = search.edges(chosen)
    share, relative = search.share(chosen), cost / search.whole_cost
    if not nodes or relative > _MOST:
        return search.why(window, share, relative)
    return Windows(image, window, (first, second), boxes, nodes, whole, caches, share, relative)


def maps_of(node: ir.Node, read: Footprint) -> list[ir.Value]:
    """Returns the maps that a node reads."""
    return [value for i in read.maps if (value := node.inputs[i]) is not None]


def requests(node: ir.Node, read: Footprint, boxes: Mapping[str, Box]) -> tuple[Region, Region]:
    """Returns the region of its maps that a windowed node computes its windows from."""
    rows, columns = boxes[node.outputs[0].name or ""]
    return needed(rows, read.slides[0]), needed(columns, read.slides[1])


def keeps(region: tuple[Region, Region], box: Box) -> bool:
    """Tells whether a region is just the window, so that nothing needs to be gathered."""
    return all(part.is_all_of(axis) for part, axis in zip(region, box, strict=True))


def _refused(
    model: ir.Model, image: str, window: tuple[int, int], starts: tuple[Sequence[int], Sequence[int]]
) -> str | None:
    inputs = {value.name or "": value for value in model.graph.inputs}
    if image not in inputs:
        return f"the model has no input '{image}'"
    if others := sorted(set(inputs) - {image}):
        return f"the model has further inputs: {', '.join(others)}"
    shape = dims(inputs[image])
    if shape is None or len(shape) != 4:
        return f"the input '{image}' is no image (batch, channels, height, width)"
    if static(inputs[image], slice(1, None)) is None:
        return f"the image input '{image}' has dynamic sizes"
    if isinstance(shape[0], int):
        return f"the batch of the image input '{image}' is fixed to {shape[0]}"
    if inputs[image].dtype != ir.DataType.FLOAT:
        return f"the image input '{image}' is not float32"
    for along, size, extent in zip(starts, window, plane(inputs[image]), strict=True):
        if size < 1 or not len(along) or min(along) < 0 or max(along) >= extent:
            return f"patches of {window[0]} x {window[1]} start outside the image, or there are none"
    return None


class _Search:
    """Windows of everything that can have one, and the cost of having them up to a threshold."""

    def __init__(self, model: ir.Model, image: ir.Value, box: Box) -> None:
        self.image = image.name or ""
        self.nodes: list[ir.Node] = []
        self.boxes: dict[str, Box] = {self.image: box}
        self.footprints: dict[ir.Node, Footprint] = {}
        self.problem: str | None = None
        self.outputs = {value.name for value in model.graph.outputs}
        self.values = {self.image: image}
        for node in model.graph:
            if not any(value is not None and value.name in self.values for value in operands(node)):
                continue
            self.values.update((value.name or "", value) for value in node.outputs)
            self.nodes.append(node)
            if next(bodies(node), None) is not None:
                self.problem = f"the {node.op_type} '{node.name}' on the way from the image has a body"
                return
            read = footprint(node, self.values)
            if read is not None and all(value.name in self.boxes for value in maps_of(node, read)):
                self._spread(node, read)
        self.macs = {node: multiply_adds(node) for node in self.nodes}
        self.touched = {node: numbers(node) for node in self.nodes}
        self.whole_cost = sum(self.macs[node] + _TOUCHED * self.touched[node] for node in self.nodes) or 1

    def _spread(self, node: ir.Node, read: Footprint) -> None:
        inputs = [self.boxes[value.name or ""] for value in maps_of(node, read)]
        sizes = plane(node.outputs[0])
        rows, columns = (
            through(union([box[axis] for box in inputs]), read.slides[axis], sizes[axis]) for axis in (0, 1)
        )
        if _covered((rows, columns)) < _WHOLE:
            self.footprints[node] = read
            self.boxes.update((value.name or "", (rows, columns)) for value in node.outputs)

    def thresholds(self) -> list[float]:
        """Returns every share of a map that some window covers, and one below them all."""
        return sorted({_covered(self.boxes[node.outputs[0].name or ""]) for node in self.footprints} | {0.0})

    def windowed(self, threshold: float) -> dict[str, None]:
        """Returns the values that are windowed at a threshold, in graph order."""
        chosen = {self.image: None}
        for node, read in self.footprints.items():
            small = _covered(self.boxes[node.outputs[0].name or ""]) <= threshold
            if small and all(value.name in chosen for value in maps_of(node, read)):
                chosen.update((value.name or "", None) for value in node.outputs)
        return chosen

    def cost(self, threshold: float) -> float:
        """Returns the time of one position, in multiply-adds."""
        chosen = self.windowed(threshold)
        total = 0.0
        for node in self.nodes:
            name = node.outputs[0].name or ""
            if name not in chosen:
                total += self.macs[node] + _TOUCHED * self.touched[node]
                continue
            total += (self.macs[node] + _TOUCHED * self.touched[node]) * _covered(self.boxes[name])
            region = requests(node, self.footprints[node], self.boxes)
            for value in maps_of(node, self.footprints[node]):
                if not keeps(region, self.boxes[value.name or ""]):
                    total += _GATHERED * _channels(value) * region[0].count * region[1].count
        whole, _ = self.edges(chosen)
        return total + _GATHERED * sum(_channels(self.values[name]) * prod(plane(self.values[name])) for name in whole)

    def share(self, chosen: Mapping[str, None]) -> float:
        """Returns the multiply-adds of one position, as a share of the whole model's."""
        parts = (
            self.macs[node]
            * (_covered(self.boxes[node.outputs[0].name or ""]) if node.outputs[0].name in chosen else 1)
            for node in self.nodes
        )
        return sum(parts) / (sum(self.macs.values()) or 1)

    def edges(self, chosen: Mapping[str, None]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Returns the windowed values that are needed whole, and those whose clean activations are needed."""
        whole = {name: None for name in chosen if name in self.outputs}
        caches = dict(whole)
        for node in self.nodes:
            if node.outputs[0].name in chosen:
                region = requests(node, self.footprints[node], self.boxes)
                read = [value.name or "" for value in maps_of(node, self.footprints[node])]
                caches.update(
                    (name, None) for name in read if name == self.image or not keeps(region, self.boxes[name])
                )
            elif node.op_type != "Shape":
                read = [value.name or "" for value in node.inputs if value is not None and value.name in chosen]
                whole.update(dict.fromkeys(read))
                caches.update(dict.fromkeys(read))
        return tuple(whole), tuple(caches)

    def why(self, window: tuple[int, int], share: float, cost: float) -> str:
        """Returns the reason of a plan that does not pay."""
        dense = next((node for node in self.nodes if node.outputs[0].name not in self.boxes), None)
        if dense is not None and len(self.boxes) == 1:
            return f"nothing can be reused: '{dense.name}' ({dense.op_type}) needs the whole image or changes all of it"
        where = f"; whole maps are needed from '{dense.name}' ({dense.op_type}) on" if dense is not None else ""
        left = f"{share:.0%} of the multiply-adds and, with what is copied, {cost:.0%} of the time"
        return f"patches of {window[0]} x {window[1]} leave {left}{where}"


def _covered(box: Box) -> float:
    return prod(axis.size / axis.extent for axis in box)


def _channels(value: ir.Value) -> int:
    shape = static(value, slice(1, 2))
    return shape[0] if shape else 1
