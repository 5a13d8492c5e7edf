"""The grid of quantised numbers: an integer q stands for ``(q - zero point) scale``.

One scale for the whole tensor, one per index of ``axis``, or one per block of ``block_size`` indices of it.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir

from xgraph.graph.emit import Emit, Value

_QUANTISED = "_quantized"
"""What ONNX Runtime's quantiser appends to the name of a weight."""


def dequantise(
    q: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None, *, axis: int = 1, block: int = 0
) -> np.ndarray:
    """Returns what the integers ``q`` stand for, in the dtype of ``scale``."""
    wide = q.astype(np.float64)
    if zero is not None:
        wide = wide - spread(zero.astype(np.float64), q.shape, axis, block)
    numbers: np.ndarray = wide * spread(scale.astype(np.float64), q.shape, axis, block)
    return numbers.astype(scale.dtype)


def quantise(x: np.ndarray, scale: np.ndarray, zero: np.ndarray, *, axis: int = 1, block: int = 0) -> np.ndarray:
    """Returns the nearest integers, of the dtype of ``zero``: halves to even, saturated."""
    limits = ml_dtypes.iinfo(zero.dtype)  # type: ignore[no-untyped-call]
    steps: np.ndarray = np.rint(x.astype(np.float32) / spread(scale.astype(np.float32), x.shape, axis, block))
    steps = steps + spread(zero.astype(np.float32), x.shape, axis, block)
    kept: np.ndarray = np.clip(steps, int(limits.min), int(limits.max))
    return kept.astype(zero.dtype)


def spread(values: np.ndarray, shape: tuple[int, ...], axis: int, block: int) -> np.ndarray:
    """Returns ``values``, one per tensor, per index or per block, so that they broadcast to ``shape``."""
    if values.size == 1:
        return values.reshape(())
    if block:
        repeated = np.repeat(values, block, axis)
        return repeated.take(range(shape[axis]), axis)
    return values.reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))])


def dequantised(b: Emit, q: Value, scale: Value, zero: Value | None = None, *, axis: int = 1) -> Value:
    """Returns the numbers that ``q`` stands for: computed now where ``q`` is a constant, by a node otherwise."""
    arrays = [None if value is None else array_of(value) for value in (q, scale, zero)]
    numbers, steps = arrays[:2]
    if numbers is None or steps is None or (zero is not None and arrays[2] is None):
        return b.DequantizeLinear(q, scale, zero, axis=axis)
    return weight(b.model.graph, q, dequantise(numbers, steps, arrays[2], axis=axis))


def weight(graph: ir.Graph, q: Value, numbers: np.ndarray) -> Value:
    """Returns a new initializer for what the constant ``q`` stands for, under the name that it had before.

    Equal ones are not shared: every layer keeps its own parameters.
    """
    taken = {value.name for value in (*graph.inputs, *graph.initializers.values())}
    taken.update(value.name for node in graph for value in node.outputs)
    stem = (q.name or "weight").removesuffix(_QUANTISED)
    name = next(n for n in (stem, *(f"{stem}_float{i or ''}" for i in range(len(taken) + 1))) if n not in taken)
    tensor = ir.tensor(np.ascontiguousarray(numbers).reshape(numbers.shape), name=name)
    value = ir.Value(name=name, const_value=tensor, shape=ir.Shape(numbers.shape), type=ir.TensorType(tensor.dtype))
    graph.register_initializer(value)
    return value


def array_of(value: Value) -> np.ndarray | None:
    """Returns the numbers of a constant, or None."""
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()
