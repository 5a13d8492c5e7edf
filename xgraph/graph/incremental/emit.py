"""Emission of the clean graph and of the window graph.

A windowed value is (batch, C, h, w), and its node is the model's own without padding. What it reads is gathered, pixel
by pixel, out of the rows

    clean (H W, C), one row of padding (1, C), new (batch h w, C)

at ``max(min(old row + old column, H W), new row + new column)``, where each summand is looked up by the position of the
patch: old ones are FAR in the padding, new ones -FAR outside the window.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from xgraph.feeds import CLEAN, CORNER, PATCH
from xgraph.graph.arithmetic import count, joined
from xgraph.graph.emit import Emit
from xgraph.graph.incremental.footprint import Footprint, plane
from xgraph.graph.incremental.intervals import FAR, Axis, Region, everything, new_rows, old_rows, taps_inside
from xgraph.graph.incremental.plan import Windows, keeps, requests
from xgraph.graph.shapes import need_static
from xgraph.graph.site import Site
from xgraph.graph.splice import add_input, add_output, clean, values_by_name

_ROWS_LAST, _ROWS_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


def clean_graph(model: ir.Model, windows: Windows) -> ir.Model:
    """Returns the graph that computes from one image what window graphs reuse.

    Its outputs are ``xg_clean_0`` ..., one per entry of ``windows.caches``, each (height * width, channels).
    """
    work = model.clone()
    values = values_by_name(work)
    work.graph.outputs.clear()
    b = Emit(work)
    for i, name in enumerate(windows.caches):
        channels = need_static(values[name], slice(1, 2))[0]
        rows = b.Reshape(b.Transpose(values[name], perm=_ROWS_LAST), [_area(values[name]), channels])
        add_output(b, rows, f"{CLEAN}_{i}")
    clean(work)
    return work


def window_graph(model: ir.Model, windows: Windows) -> ir.Model:
    """Returns the graph that computes the model's outputs for patches at the positions of the plan.

    Inputs: ``xg_corner`` int64 (batch, 2), top and left of each patch, both among ``windows.starts`` (for others the
    outputs mean nothing); ``xg_patch`` (height * width, channels), the image that shows inside the patches; and what
    the clean graph returns. Values that are not windowed keep their names.
    """
    work = model.clone()
    values = values_by_name(work)
    writer = _Writer(Emit(work), values, windows)
    for node in list(work.graph):
        read = windows.footprints.get(node.outputs[0].name or "")
        if read is not None:
            writer.windowed(node, read)
        elif node.op_type == "Shape" and not node.domain and node.inputs[0] is not None:
            writer.shape(node, node.inputs[0])
    for name in windows.whole:
        writer.paste(values[name])
    work.graph.inputs.remove(values[windows.image])
    clean(work)
    return work


class _Writer:
    """Writes windows into a copy of the model."""

    def __init__(self, b: Emit, values: dict[str, ir.Value], windows: Windows) -> None:
        self.b, self.values, self.windows = b, values, windows
        image = values[windows.image]
        batch = image.shape[0] if image.shape is not None else "batch"
        self.batch = batch.value if isinstance(batch, ir.SymbolicDim) else batch
        self.corner = add_input(b.model, CORNER, np.int64, [self.batch, 2])
        self.patch = add_input(b.model, PATCH, np.float32, [_area(image), need_static(image, slice(1, 2))[0]])
        self.clean = {
            name: add_input(b.model, f"{CLEAN}_{i}", np.float32, [_area(values[name]), _channels(values[name])])
            for i, name in enumerate(windows.caches)
        }
        self.maps: dict[str, ir.Value] = {}

    def windowed(self, node: ir.Node, read: Footprint) -> None:
        """Emits the node on windows."""
        b, site = self.b, Site(node)
        region = requests(node, read, self.windows.boxes)
        attributes = {name: value for name, value in site.attributes().items() if name not in ("pads", "ceil_mode")}
        if "strides" in attributes:
            # Along an axis with one tap, only what it reads is gathered.
            attributes["strides"] = [1 if q.kernel == 1 else q.stride for q in read.slides]
        with b.derived_from(node):
            inputs = list(site.x)
            windows = [self.region(site.input(i), region, read.padding) for i in read.maps]
            for i, window in zip(read.maps, windows, strict=True):
                inputs[i] = window
            if site.op in ("Pad", "Dropout", "Identity"):
                results = tuple(windows)
            else:
                results = b.op(site.op, inputs, attributes, outputs=len(site.y) if site.op == "Split" else 1)
            if read.count_inside:
                results = (self._averaged(results[0], node, read),)
        # Behind what was used are outputs that nobody reads.
        for value, result in zip(site.y, results, strict=False):
            self.maps[value.name or ""] = result

    def region(self, value: ir.Value, region: tuple[Region, Region], padding: float = 0.0) -> ir.Value:
        """Returns a region of a value, (batch, C, rows, columns): new inside its window, clean outside."""
        b, name = self.b, value.name or ""
        if name in self.maps and keeps(region, self.windows.boxes[name]):
            return self.maps[name]
        height, width = plane(value)
        row, column = old_rows(region[0], height, width), old_rows(region[1], width, 1)
        padded = bool((row == FAR).any() or (column == FAR).any())
        old = b.Add(self._at(_narrow(row), 0), self._at(_narrow(column), 1))
        if padded:
            old = b.Min(old, height * width)
        # The image comes whole, so its places need no offset per sample.
        own = name != self.windows.image
        new = b.Add(
            self._new(region[0], name, 0, height * width + padded, own=own), self._new(region[1], name, 1, 0, own=own)
        )
        index = b.Max(old, new)
        index.shape = ir.Shape([self.batch, region[0].count, region[1].count])
        gathered = b.Gather(self._table(value, padding if padded else None), index, axis=0)
        return b.Transpose(gathered, perm=_ROWS_FIRST)

    def paste(self, value: ir.Value) -> None:
        """Puts the whole map with its window where the model reads ``value``."""
        name = value.name or ""
        rows, columns = self.windows.boxes[name]
        pasted = self.region(value, (everything(rows), everything(columns)))
        value.name = f"{name}/clean"
        ir.convenience.replace_all_uses_with(value, pasted, replace_graph_outputs=True)
        pasted.name = name

    def shape(self, node: ir.Node, value: ir.Value) -> None:
        """Tells the shape of a windowed value without pasting it."""
        if (value.name or "") not in self.windows.boxes:
            return
        sizes: list[int | ir.Value] = [self.b.Shape(self.corner, start=0, end=1), *need_static(value, slice(1, None))]
        start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", 4)
        told, old = self.b.Identity(joined(self.b, sizes[start:end])), node.outputs[0]
        told.name, old.name = old.name, f"{old.name}/clean"
        ir.convenience.replace_all_uses_with(old, told, replace_graph_outputs=True)

    def _at(self, table: np.ndarray, axis: int) -> ir.Value:
        """Looks up rows of (positions, n) by the position of the patch, to be added along rows and columns."""
        b, along = self.b, self.windows.starts[axis]
        placed = table[:, :, None] if axis == 0 else table[:, None, :]
        lookup = np.zeros(max(along) + 1, np.int64)
        lookup[list(along)] = np.arange(len(along))
        corner = b.Gather(self.corner, b.constant(np.asarray(axis, np.int64)), axis=1)
        return b.Gather(placed, b.Gather(lookup, corner, axis=0), axis=0)

    def _new(self, region: Region, name: str, axis: int, offset: int, *, own: bool) -> ir.Value:
        b, box = self.b, self.windows.boxes[name]
        scale = (box[1].size if own else box[1].extent) if axis == 0 else 1
        firsts, lasts = _ends(box[axis]) if own else self._patch(box[axis], axis)
        places = self._at(_narrow(new_rows(region, firsts, lasts, scale, relative=own) + offset), axis)
        if not own or axis == 1:
            return places
        samples = b.cast(count(b, b.Shape(self.corner, start=0, end=1)), np.dtype(np.int32))
        samples.shape = ir.Shape([self.batch])
        return b.Add(places, b.Mul(b.Unsqueeze(samples, [1, 2]), box[0].size * box[1].size))

    def _patch(self, axis: Axis, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns first and last line of the patches, which hang over where the window was moved back."""
        firsts = np.asarray(self.windows.starts[number], np.int64)
        return firsts, np.minimum(firsts + self.windows.window[number], axis.extent) - 1

    def _table(self, value: ir.Value, padding: float | None) -> ir.Value:
        """Returns the rows to gather from."""
        b, name, channels = self.b, value.name or "", _channels(value)
        parts = [self.clean[name]]
        if padding is not None:
            parts.append(b.constant(np.full((1, channels), padding, np.float32)))
        if name == self.windows.image:
            parts.append(self.patch)
        else:
            parts.append(b.Reshape(b.Transpose(self.maps[name], perm=_ROWS_LAST), [-1, channels]))
        return b.Concat(*parts, axis=0)

    def _averaged(self, mean: ir.Value, node: ir.Node, read: Footprint) -> ir.Value:
        """Corrects averages over windows of which a part lies in the padding."""
        source, result = Site(node).input(0), node.outputs[0]
        for axis, slide in enumerate(read.slides):
            inside = taps_inside(slide, plane(source)[axis], plane(result)[axis])
            if (inside < slide.kernel).any():
                box = self.windows.boxes[result.name or ""][axis]
                factors = (slide.kernel / inside)[box.array()[:, None] + np.arange(box.size)]
                mean = self.b.Mul(mean, self.b.Unsqueeze(self._at(factors.astype(np.float32), axis), [1]))
        return mean


def _narrow(rows: np.ndarray) -> np.ndarray:
    """Returns row numbers in 32 bits: half to read, and enough for what fits in memory."""
    return rows.astype(np.int32)


def _ends(axis: Axis) -> tuple[np.ndarray, np.ndarray]:
    return axis.array(), axis.array() + axis.size - 1


def _area(value: ir.Value) -> int:
    height, width = plane(value)
    return height * width


def _channels(value: ir.Value) -> int:
    return need_static(value, slice(1, 2))[0]
