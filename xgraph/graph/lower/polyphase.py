"""Strided adjoint convolutions without ConvTranspose.

With stride ``t`` the input at ``i = t * q + p`` is reached by the taps ``k = (p + begin) mod t, + t, + 2 t ...``
only. The inputs of one position ``p`` (a phase) therefore are a convolution of ``g`` with a part of the taps, and
``DepthToSpace`` interleaves the phases.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import onnx_ir as ir

from xgraph.graph.emit import Emit
from xgraph.graph.lower.crop import crop_negative
from xgraph.graph.lower.interleave import interleaved
from xgraph.graph.lower.weights import transposed
from xgraph.graph.lower.window import Window
from xgraph.graph.shapes import need_static


def phases_pay(window: Window) -> bool:
    """Tells whether the phases can be written with DepthToSpace: images, one stride for both axes, no dilation."""
    strides = window.strides
    return len(strides) == 2 and strides[0] == strides[1] > 1 and window.dense and max(window.kernel) > 1


def polyphase(b: Emit, g: ir.Value, weight: ir.Value, window: Window, group: int) -> ir.Value:
    """Emits the phases as convolutions at the size of ``g``, and DepthToSpace."""
    assert window.begins is not None
    assert window.sizes is not None
    assert window.outputs is not None
    stride = window.strides[0]
    axes = [_Axis(window.kernel[i], stride, window.begins[i], window.sizes[i], window.outputs[i]) for i in range(2)]
    swapped = transposed(b, weight, 2, group)
    image = _joint(b, g, swapped, axes, group) if _few_channels(swapped, axes) else _apart(b, g, swapped, axes, group)
    return _cut(b, image, window.sizes, [axis.blocks * stride for axis in axes])


def _few_channels(swapped: ir.Value, axes: list[_Axis]) -> bool:
    """Tells whether a phase alone would not fill a vector, or has no tap at all."""
    return need_static(swapped)[0] < 16 or any(axis.has_empty_phase for axis in axes)


def _joint(b: Emit, g: ir.Value, swapped: ir.Value, axes: list[_Axis], group: int) -> ir.Value:
    """Emits one convolution whose output channels are the phases: a phase's missing taps are zeros."""
    stride = axes[0].stride
    blocks = []
    for phase in product(range(stride), repeat=2):
        block = _taps(b, swapped, [axis.taps(p) for axis, p in zip(axes, phase, strict=True)])
        blocks.append(b.Unsqueeze(block, [1]))
    channels, inner = need_static(swapped)[:2]
    spans = [axis.last - axis.first + 1 for axis in axes]
    stacked = b.Reshape(b.Concat(*blocks, axis=1), [channels * stride * stride, inner, *spans])
    ranges = [(axis.first, axis.last) for axis in axes]
    return b.DepthToSpace(_convolved(b, g, stacked, axes, ranges, group), blocksize=stride, mode="CRD")


def _apart(b: Emit, g: ir.Value, swapped: ir.Value, axes: list[_Axis], group: int) -> ir.Value:
    """Emits one convolution for each phase, with its own taps only: no multiplication is wasted."""
    phases = []
    for phase in product(range(axes[0].stride), repeat=2):
        ranges = [axis.range_of(p) for axis, p in zip(axes, phase, strict=True)]
        taps = [(*axis.taps(p)[:3], 0, 0) for axis, p in zip(axes, phase, strict=True)]
        phases.append(_convolved(b, g, _taps(b, swapped, taps), axes, ranges, group))
    return interleaved(b, phases, [axis.stride for axis in axes])


def _convolved(
    b: Emit, g: ir.Value, weight: ir.Value, axes: list[_Axis], ranges: list[tuple[int, int]], group: int
) -> ir.Value:
    """Emits the convolution whose output ``q`` reads ``g`` at the offsets ``q + first .. q + last``."""
    begins = [-first for first, _ in ranges]
    ends = [axis.blocks - 1 + last - (axis.outputs - 1) for axis, (_, last) in zip(axes, ranges, strict=True)]
    pads = [max(p, 0) for p in (*begins, *ends)]
    return b.Conv(crop_negative(b, g, begins, ends), weight, pads=pads, group=group)


def zero_inserted(b: Emit, g: ir.Value, weight: ir.Value, window: Window, group: int) -> ir.Value:
    """Emits the adjoint of a strided 1 x 1 convolution: it at the small size, then zeros between the pixels."""
    assert window.begins is not None
    assert window.sizes is not None
    assert window.outputs is not None
    spatial = len(window.kernel)
    small = b.Conv(g, transposed(b, weight, spatial, group), group=group)
    # Output o reads the input at o * stride - begin: those inside of the input are o = first .. last.
    first = [-(-p // t) for p, t in zip(window.begins, window.strides, strict=True)]
    last = [
        min(o - 1, (size - 1 + p) // t)
        for o, size, p, t in zip(window.outputs, window.sizes, window.begins, window.strides, strict=True)
    ]
    if any(first) or any(end < o - 1 for end, o in zip(last, window.outputs, strict=True)):
        small = b.Slice(small, first, [end + 1 for end in last], list(range(2, 2 + spatial)))
    counts = [end - start + 1 for start, end in zip(first, last, strict=True)]
    full = [count * t for count, t in zip(counts, window.strides, strict=True)]
    # Repeat each pixel, then keep the first of each repetition: both stay fast in every layout, Pad does not.
    scales = np.array([1, 1, *window.strides], np.float32)
    repeated = b.Resize(
        small, None, scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )
    image = b.Mul(repeated, _first_of_each(small, window.strides, full))
    before = [o * t - p for o, t, p in zip(first, window.strides, window.begins, strict=True)]
    after = [size - start - f for size, start, f in zip(window.sizes, before, full, strict=True)]
    if any(before) or any(a > 0 for a in after):
        image = b.Pad(image, [0, 0, *before, 0, 0, *(max(a, 0) for a in after)])
    return _cut(b, image, window.sizes, [p + max(f, f + a) for p, f, a in zip(before, full, after, strict=True)])


def _first_of_each(like: ir.Value, strides: tuple[int, ...], sizes: list[int]) -> np.ndarray:
    """Returns a mask ``[1, 1, *sizes]`` with ones at the multiples of the strides."""
    assert like.dtype is not None
    mask = np.zeros((1, 1, *sizes), like.dtype.numpy())
    every = [slice(None, None, stride) for stride in strides]
    mask[(slice(None), slice(None), *every)] = 1
    return mask


class _Axis:
    """The phases of one axis: for each the taps and the offsets of ``g`` that they read."""

    def __init__(self, kernel: int, stride: int, begin: int, size: int, outputs: int) -> None:
        self._kernel, self._begin = kernel, begin
        self.stride, self.outputs = stride, outputs
        self.blocks = -(-size // stride)
        offsets = [offset for phase in range(stride) for offset in self._offsets(phase)]
        self.first, self.last = min(offsets), max(offsets)
        self.has_empty_phase = kernel < stride

    def range_of(self, phase: int) -> tuple[int, int]:
        """Returns the first and the last offset that a phase reads."""
        offsets = self._offsets(phase)
        return offsets[-1], offsets[0]

    def _offsets(self, phase: int) -> list[int]:
        """Returns the offsets o - q that phase ``phase`` reads, in the order of rising taps."""
        start = (phase + self._begin) // self.stride
        residue = (phase + self._begin) % self.stride
        return [start - t for t in range(-(-(self._kernel - residue) // self.stride))]

    def taps(self, phase: int) -> tuple[int, int, int, int, int]:
        """Returns (first tap, step, count, zeros in front, zeros behind), taps in the order of rising offset."""
        offsets = self._offsets(phase)
        if not offsets:
            return 0, -1, 0, self.last - self.first + 1, 0
        residue = (phase + self._begin) % self.stride
        tap = residue + self.stride * (len(offsets) - 1)
        return tap, -self.stride, len(offsets), offsets[-1] - self.first, self.last - offsets[0]


def _taps(b: Emit, weight: ir.Value, axes: list[tuple[int, int, int, int, int]]) -> ir.Value:
    """Emits the taps of one phase, reversed, with zeros where the common range has none."""
    lowest = -(2**63)
    starts, ends, steps = [], [], []
    for tap, step, count, _, _ in axes:
        stop = tap + step * count
        starts.append(tap)
        ends.append(stop if stop >= 0 else lowest)
        steps.append(step)
    if any(count == 0 for _, _, count, _, _ in axes):
        # A stride beyond the kernel: no tap reaches this phase.
        starts, ends = [0, 0], [0, 0]
        axes = [(0, 1, 0, front + count + behind, 0) for _, _, count, front, behind in axes]
        steps = [1, 1]
    part = b.Slice(weight, starts, ends, [2, 3], steps)
    front, behind = [axis[3] for axis in axes], [axis[4] for axis in axes]
    if not any(front) and not any(behind):
        return part
    return b.Pad(part, [0, 0, *front, 0, 0, *behind])


def _cut(b: Emit, image: ir.Value, sizes: tuple[int, ...], have: list[int]) -> ir.Value:
    """Cuts what lies behind the input's last row and column."""
    if list(sizes) == list(have):
        return image
    return b.Slice(image, [0] * len(sizes), list(sizes), list(range(2, 2 + len(sizes))))
