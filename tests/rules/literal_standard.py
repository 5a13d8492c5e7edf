"""Transforms, reductions and indexing written out literally, where one of the supported onnx versions is wrong.

What is wrong, in onnx 1.17 unless another is named: DFT knows no one-sided inverse; the reductions but ReduceSum
reduce over all axes where ``noop_with_empty_axes`` says none; OneHot takes indices beyond the depth modulo it;
ScatterND keeps the last of equal places instead of the extremum; Unique (1.23) sorts also where it should not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

Array = np.ndarray


class DFT(OpRun):
    op_domain = ""

    def _run(
        self,
        x: Array,
        length: Array | None = None,
        told: Array | None = None,
        axis: int | None = None,
        inverse: int | None = None,
        onesided: int | None = None,
    ) -> tuple[Array]:
        before = self.run_params["opsets"][""] < 20
        along = (1 if axis is None else axis) if before else (-2 if told is None else int(told))
        along %= x.ndim
        size = None if length is None else int(np.reshape(length, ()))
        signal = x[..., 0] if x.shape[-1] == 1 else x[..., 0] + 1j * x[..., 1]
        if inverse and onesided:
            return (np.fft.irfft(signal, size, along)[..., None].astype(x.dtype),)
        y = (np.fft.ifft if inverse else np.fft.rfft if onesided else np.fft.fft)(signal, size, along)
        return (np.stack([y.real, y.imag], -1).astype(x.dtype),)


def _reduction(name: str, reduce: Callable[..., Array]) -> type[OpRun]:
    def run(
        self: OpRun, x: Array, axes: Array | None = None, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> tuple[Array]:
        given = () if axes is None else tuple(int(axis) for axis in axes)
        chosen = given if given or noop_with_empty_axes else tuple(range(x.ndim))
        return (np.asarray(reduce(x, axis=chosen, keepdims=bool(keepdims)), x.dtype),)

    return type(name, (OpRun,), {"op_domain": "", "_run": run})


REDUCTIONS = [
    _reduction(f"Reduce{name}", reduce)
    for name, reduce in {
        "Mean": np.mean,
        "Max": np.max,
        "Min": np.min,
        "Prod": np.prod,
        "LogSum": lambda x, **over: np.log(np.sum(x, **over)),
        "LogSumExp": lambda x, **over: np.log(np.sum(np.exp(x), **over)),
        "L1": lambda x, **over: np.sum(np.abs(x), **over),
        "L2": lambda x, **over: np.sqrt(np.sum(x**2, **over)),
        "SumSquare": lambda x, **over: np.sum(x**2, **over),
    }.items()
]


class OneHot(OpRun):
    op_domain = ""

    def _run(self, index: Array, depth: Array, values: Array, axis: int | None = None) -> tuple[Array]:
        count = int(np.reshape(depth, ()))
        inside = (index >= -count) & (index < count)
        hot = (np.arange(count) == (index % count)[..., None]) & inside[..., None]
        return (np.moveaxis(values[hot.astype(int)], -1, -1 if axis is None else axis),)


class ScatterND(OpRun):
    op_domain = ""

    def _run(self, x: Array, index: Array, updates: Array, reduction: str | None = None) -> tuple[Array]:
        y, places = x.copy(), tuple(np.moveaxis(index, -1, 0))
        combine = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
        if reduction in combine:
            combine[reduction].at(y, places, updates)
        else:
            y[places] = updates
        return (y,)


class Unique(OpRun):
    op_domain = ""

    def _run(self, x: Array, axis: int | None = None, sorted: int | None = None) -> tuple[Any, ...]:
        y, first, inverse, counts = np.unique(x, True, True, True, axis=axis)
        if sorted == 0:
            order = np.argsort(first)
            y, first, counts = np.take(y, order, axis or 0), first[order], counts[order]
            inverse = np.argsort(order)[inverse]
        return (y, first, inverse.ravel(), counts)[: len(self.onnx_node.output)]


LITERAL_STANDARD = [DFT, OneHot, *REDUCTIONS, ScatterND, Unique]
