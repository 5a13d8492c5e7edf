"""Operators written out literally, in place of those that onnx's reference evaluator lacks or computes wrongly.

What is wrong with each of them, in onnx 1.17: Mean adds in place and so cannot broadcast; Conv and ConvTranspose
mix up groups, ``auto_pad`` or ``output_shape``; MaxPool gives wrong values for some kernels that are not square;
AveragePool and LpPool do so for some combinations of ``ceil_mode``, padding and dilations;
LRN's window ends one channel early; LpNormalization adds up x, not |x|; GatherElements and ScatterElements want
more of the index's shape than the standard does; GlobalMaxPool knows images only; GroupNormalization wants a scale
per group at every opset; GlobalLpPool is missing. Newer ones
compute Erf and Gelu in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import ceil, erf
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun
from rules.literal_control import Scan
from rules.literal_geometry import LITERAL_GEOMETRY
from rules.literal_recurrent import GRU, LSTM, RNN
from rules.literal_standard import LITERAL_STANDARD

Array = np.ndarray


class Mean(OpRun):
    op_domain = ""

    def _run(self, *xs: Array) -> tuple[Array]:
        return (sum(np.broadcast_arrays(*xs)) / xs[0].dtype.type(len(xs)),)


class Erf(OpRun):
    op_domain = ""

    def _run(self, x: Array) -> tuple[Array]:
        return (np.vectorize(erf, otypes=[x.dtype])(x),)


class Gelu(OpRun):
    op_domain = ""

    def _run(self, x: Array, approximate: str | None = None) -> tuple[Array]:
        if approximate == "tanh":
            return (x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),)
        return (x / 2 * (1 + np.vectorize(erf, otypes=[x.dtype])(x / np.sqrt(2))),)


class GlobalLpPool(OpRun):
    op_domain = ""

    def _run(self, x: Array, p: int | None = None) -> tuple[Array]:
        axes = tuple(range(2, x.ndim))
        return ((np.abs(x) ** (p or 2)).sum(axes, keepdims=True) ** x.dtype.type(1 / (p or 2)),)


class GlobalMaxPool(OpRun):
    op_domain = ""

    def _run(self, x: Array) -> tuple[Array]:
        return (x.max(tuple(range(2, x.ndim)), keepdims=True),)


class GroupNormalization(OpRun):
    op_domain = ""

    def _run(
        self,
        x: Array,
        scale: Array,
        bias: Array,
        epsilon: float | None = None,
        num_groups: int | None = None,
        stash_type: int | None = None,
    ) -> tuple[Array]:
        grouped = x.reshape(x.shape[0], num_groups, -1)
        mean, variance = grouped.mean(-1, keepdims=True), grouped.var(-1, keepdims=True)
        y = ((grouped - mean) / np.sqrt(variance + epsilon)).reshape(x.shape)
        # One per group at opset 18, one per channel from 21 on.
        scale, bias = (np.repeat(v, x.shape[1] // v.size).reshape(-1, *[1] * (x.ndim - 2)) for v in (scale, bias))
        return (y * scale + bias,)


class LpNormalization(OpRun):
    op_domain = ""

    def _run(self, x: Array, axis: int | None = None, p: int | None = None) -> tuple[Array]:
        return (x / np.linalg.norm(x, p or 2, -1 if axis is None else axis, keepdims=True),)


class LRN(OpRun):
    op_domain = ""

    def _run(
        self,
        x: Array,
        alpha: float | None = None,
        beta: float | None = None,
        bias: float | None = None,
        size: int | None = None,
    ) -> tuple[Array]:
        assert size is not None
        total = np.zeros_like(x)
        for c in range(x.shape[1]):
            window = slice(max(0, c - (size - 1) // 2), c + ceil((size - 1) / 2) + 1)
            total[:, c] = (x[:, window] ** 2).sum(axis=1)
        return (x / (bias + alpha / size * total) ** beta,)


class GatherElements(OpRun):
    op_domain = ""

    def _run(self, x: Array, index: Array, axis: int | None = None) -> tuple[Array]:
        return (x[_places(x, index, axis or 0)],)


class ScatterElements(OpRun):
    op_domain = ""

    def _run(
        self, x: Array, index: Array, updates: Array, axis: int | None = None, reduction: str | None = None
    ) -> tuple[Array]:
        y = x.copy()
        combine = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
        if reduction in combine:
            combine[reduction].at(y, _places(x, index, axis or 0), updates)
        else:
            assert reduction in (None, "none")
            y[_places(x, index, axis or 0)] = updates
        return (y,)


class Conv(OpRun):
    op_domain = ""

    def _run(
        self,
        x: Array,
        w: Array,
        bias: Array | None = None,
        auto_pad: str | None = None,
        dilations: Sequence[int] | None = None,
        group: int | None = None,
        kernel_shape: Sequence[int] | None = None,
        pads: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
    ) -> tuple[Array]:
        window = Windows(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
        padded, groups = window.pad(x, 0.0), group or 1
        grouped = padded.reshape(x.shape[0], groups, -1, *padded.shape[2:])
        weight = w.reshape(groups, -1, *w.shape[1:])
        y = sum(
            np.einsum("ngc...,gmc->ngm...", grouped[:, :, :, *place], weight[:, :, :, *tap])
            for tap, place in window.taps()
        )
        y = y.reshape(x.shape[0], -1, *y.shape[3:])
        return (y if bias is None else y + bias.reshape(-1, *[1] * (x.ndim - 2)),)


class ConvTranspose(OpRun):
    op_domain = ""

    def _run(
        self,
        x: Array,
        w: Array,
        bias: Array | None = None,
        auto_pad: str | None = None,
        dilations: Sequence[int] | None = None,
        group: int | None = None,
        kernel_shape: Sequence[int] | None = None,
        output_padding: Sequence[int] | None = None,
        output_shape: Sequence[int] | None = None,
        pads: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
    ) -> tuple[Array]:
        n, groups = x.ndim - 2, group or 1
        strides, dilations, extra = strides or [1] * n, dilations or [1] * n, output_padding or [0] * n
        full = [
            s * (i - 1) + (k - 1) * d + 1 + e
            for s, i, k, d, e in zip(strides, x.shape[2:], w.shape[2:], dilations, extra, strict=True)
        ]
        pads = pads or [0] * (2 * n)
        if auto_pad in ("SAME_UPPER", "SAME_LOWER") and not output_shape:
            output_shape = [s * i for s, i in zip(strides, x.shape[2:], strict=True)]
        if output_shape:
            # Zeros behind what the windows cover.
            full = [max(f, o) for f, o in zip(full, output_shape[-n:], strict=True)]
            totals = [f - o for f, o in zip(full, output_shape[-n:], strict=True)]
            half = [t // 2 for t in totals]
            rest = [t - h for t, h in zip(totals, half, strict=True)]
            pads = [*half, *rest] if auto_pad == "SAME_UPPER" else [*rest, *half]
        grouped = x.reshape(x.shape[0], groups, -1, *x.shape[2:])
        weight = w.reshape(groups, -1, *w.shape[1:])
        y = np.zeros((x.shape[0], groups, w.shape[1], *full), x.dtype)
        for tap in np.ndindex(*w.shape[2:]):
            place = [
                slice(t * d, t * d + s * (i - 1) + 1, s)
                for t, d, s, i in zip(tap, dilations, strides, x.shape[2:], strict=True)
            ]
            y[:, :, :, *place] += np.einsum("ngc...,gcm->ngm...", grouped, weight[:, :, :, *tap])
        y = y.reshape(x.shape[0], -1, *full)
        y = y[:, :, *[slice(pads[i], full[i] - pads[i + n]) for i in range(n)]]
        return (y if bias is None else y + bias.reshape(-1, *[1] * n),)


class MaxPool(OpRun):
    op_domain = ""

    def _run(
        self,
        x: Array,
        auto_pad: str | None = None,
        ceil_mode: int | None = None,
        dilations: Sequence[int] | None = None,
        kernel_shape: Sequence[int] | None = None,
        pads: Sequence[int] | None = None,
        storage_order: int | None = None,
        strides: Sequence[int] | None = None,
    ) -> tuple[Array, ...]:
        assert kernel_shape is not None
        window = Windows(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, bool(ceil_mode))
        numbers = np.arange(x.size).reshape(x.shape)
        if storage_order:
            # By columns: the first spatial axis runs fastest.
            turned = np.arange(x.size).reshape(*x.shape[:2], *reversed(x.shape[2:]))
            numbers = turned.transpose(0, 1, *reversed(range(2, x.ndim)))
        padded, numbers = window.pad(x, -np.inf), window.pad(numbers, -1)
        values = np.stack([padded[:, :, *place] for _, place in window.taps()])
        places = np.stack([numbers[:, :, *place] for _, place in window.taps()])
        first = values.argmax(axis=0)[None]
        chosen = [np.take_along_axis(array, first, axis=0)[0] for array in (values, places)]
        return (chosen[0], chosen[1].astype(np.int64)) if self.n_outputs == 2 else (chosen[0],)

    @property
    def n_outputs(self) -> int:
        return len(self.onnx_node.output)


class AveragePool(OpRun):
    op_domain = ""

    def _run(
        self,
        x: Array,
        auto_pad: str | None = None,
        ceil_mode: int | None = None,
        count_include_pad: int | None = None,
        dilations: Sequence[int] | None = None,
        kernel_shape: Sequence[int] | None = None,
        pads: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
    ) -> tuple[Array]:
        assert kernel_shape is not None
        window = Windows(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, bool(ceil_mode))
        counted = np.ones_like(x)
        if count_include_pad:
            # Padding counts, but not what a last window reaches beyond it.
            sides = zip(window.begins, window.asked_ends, strict=True)
            counted = np.pad(counted, [(0, 0), (0, 0), *sides], constant_values=1)
            behind = [(0, e - a) for e, a in zip(window.ends, window.asked_ends, strict=True)]
            counted = np.pad(counted, [(0, 0), (0, 0), *behind])
        else:
            counted = window.pad(counted, 0.0)
        sums = [sum(array[:, :, *place] for _, place in window.taps()) for array in (window.pad(x, 0.0), counted)]
        return (sums[0] / sums[1],)


class LpPool(OpRun):
    op_domain = ""

    def _run(
        self,
        x: Array,
        auto_pad: str | None = None,
        ceil_mode: int | None = None,
        dilations: Sequence[int] | None = None,
        kernel_shape: Sequence[int] | None = None,
        p: int | None = None,
        pads: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
    ) -> tuple[Array]:
        assert kernel_shape is not None
        window = Windows(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, bool(ceil_mode))
        powers = window.pad(np.abs(x) ** (p or 2), 0.0)
        return (sum(powers[:, :, *place] for _, place in window.taps()) ** x.dtype.type(1 / (p or 2)),)


class Windows:
    """The windows of a convolution or pool, as strided slices of the padded input."""

    def __init__(
        self,
        sizes: Sequence[int],
        kernel: Sequence[int],
        strides: Sequence[int] | None,
        dilations: Sequence[int] | None,
        pads: Sequence[int] | None,
        auto_pad: str | None,
        ceil_mode: bool = False,
    ) -> None:
        n = len(kernel)
        self.kernel, self.strides, self.dilations = kernel, strides or [1] * n, dilations or [1] * n
        pads = list(pads or [0] * (2 * n))
        self.outputs, self.begins, self.ends, self.asked_ends = [], [], [], []
        for i in range(n):
            reach, stride = (kernel[i] - 1) * self.dilations[i] + 1, self.strides[i]
            begin, end = pads[i], pads[i + n]
            if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
                total = max((ceil(sizes[i] / stride) - 1) * stride + reach - sizes[i], 0)
                begin = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
                end = total - begin
            steps = (sizes[i] + begin + end - reach) / stride
            count = (ceil(steps) if ceil_mode else int(steps)) + 1
            # A window has to begin before the padding behind.
            count -= (count - 1) * stride >= sizes[i] + begin
            self.outputs.append(count)
            self.begins.append(begin)
            self.asked_ends.append(end)
            self.ends.append(max(end, (count - 1) * stride + reach - sizes[i] - begin))

    def pad(self, x: Array, value: float) -> Array:
        return np.pad(x, [(0, 0), (0, 0), *zip(self.begins, self.ends, strict=True)], constant_values=value)

    def taps(self) -> Iterator[tuple[tuple[int, ...], list[slice]]]:
        for tap in product(*map(range, self.kernel)):
            yield (
                tap,
                [
                    slice(t * d, t * d + s * (o - 1) + 1, s)
                    for t, d, s, o in zip(tap, self.dilations, self.strides, self.outputs, strict=True)
                ],
            )


def _places(x: Array, index: Array, axis: int) -> tuple[Any, ...]:
    grid = list(np.ogrid[tuple(map(slice, index.shape))])
    grid[axis] = index
    return tuple(grid)


LITERAL = [
    GRU,
    LSTM,
    RNN,
    Scan,
    AveragePool,
    Conv,
    ConvTranspose,
    Erf,
    GatherElements,
    Gelu,
    GlobalLpPool,
    GlobalMaxPool,
    GroupNormalization,
    LpNormalization,
    LpPool,
    LRN,
    MaxPool,
    Mean,
    ScatterElements,
    *LITERAL_GEOMETRY,
    *LITERAL_STANDARD,
]
