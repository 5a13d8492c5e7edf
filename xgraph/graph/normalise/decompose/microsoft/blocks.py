"""Weights packed to a few bits with one scale per block (large language models)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit, Value
from xgraph.graph.normalise.grid import array_of, dequantise, weight
from xgraph.graph.site import Site

_NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""The 16 quantiles of NormalFloat4 (Dettmers et al. 2023, arXiv:2305.14314, appendix E)."""


def matmul_n_bits(b: Emit, s: Site) -> Sequence[Value]:
    """``A @ W^T + bias`` with W (N, K) in blocks along K: ``(q - zero) scale``, zero by default half the range."""
    if s.has(4):
        raise GraphError(f"{s.op} '{s.node.name}' has a g_idx, which is not supported")
    rows, columns, block, bits = (int(s.attr(name, 4)) for name in ("N", "K", "block_size", "bits"))
    blocks = -(-columns // block)
    packed, scales = _constant(s, 1), _constant(s, 2).reshape(rows, blocks, 1)
    q = _unpacked(packed.reshape(rows, blocks, -1), bits)[..., :block]
    zero: np.ndarray | float = float(1 << (bits - 1))
    if s.has(3):
        stored = _constant(s, 3)
        if stored.dtype == np.uint8:
            stored = _unpacked(stored.reshape(rows, -1), bits)[:, :blocks]
        zero = stored.reshape(rows, blocks, 1).astype(np.float64)
    numbers = ((q - zero) * scales.astype(np.float64)).reshape(rows, -1)[:, :columns]
    y = b.MatMul(s.input(0), weight(b.model.graph, s.input(1), np.ascontiguousarray(numbers.T).astype(scales.dtype)))
    return [b.Add(y, s.input(5)) if s.has(5) else y]


def matmul_bnb4(b: Emit, s: Site) -> Sequence[Value]:
    """``A @ W^T`` with W (N, K) stored flat in halves of bytes, high half first: ``NF4[q] absmax``."""
    rows, columns, block = (int(s.attr(name)) for name in ("N", "K", "block_size"))
    if int(s.attr("quant_type", 1)) != 1:
        raise GraphError(f"{s.op} '{s.node.name}' stores FP4 numbers; only NF4 is supported")
    packed, largest = _constant(s, 1).reshape(-1), _constant(s, 2)
    q = np.stack([packed >> 4, packed & 15], axis=-1).reshape(-1)[: rows * columns]
    scale = np.repeat(largest.reshape(-1), block)[: rows * columns]
    numbers = (np.asarray(_NF4, np.float32)[q] * scale).reshape(rows, columns).astype(largest.dtype)
    if not int(s.attr("transB", 1)):
        return [b.MatMul(s.input(0), weight(b.model.graph, s.input(1), numbers))]
    return [b.MatMul(s.input(0), weight(b.model.graph, s.input(1), np.ascontiguousarray(numbers.T)))]


def gather_block_quantized(b: Emit, s: Site) -> Sequence[Value]:
    """Gather of ``(q - zero) scale``; in bytes are several q along the last axis, whose zero is half their range."""
    q, scales, zero = _constant(s, 0), _constant(s, 2), _constant(s, 3) if s.has(3) else None
    if q.dtype == np.uint8:
        bits = int(s.attr("bits", 4))
        q = _unpacked(q, bits)
        stored = np.asarray(1 << (bits - 1)) if zero is None else _unpacked(zero, bits)
        zero = stored[tuple(map(slice, scales.shape))] if stored.ndim else np.full(scales.shape, stored)
    axis, block = int(s.attr("quantize_axis", 1)) % q.ndim, int(s.attr("block_size", 128))
    if not block:
        raise GraphError(f"{s.op} '{s.node.name}' has one block of any size, which is not supported")
    numbers = dequantise(q, scales, zero, axis=axis, block=block)
    return [b.Gather(weight(b.model.graph, s.input(0), numbers), s.input(1), axis=int(s.attr("gather_axis", 0)))]


def _unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    """Returns the numbers in the bytes of the last axis, low bits first."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    parts = (packed[..., None] >> shifts) & ((1 << bits) - 1)
    return parts.reshape(*packed.shape[:-1], -1).astype(np.float64)


def _constant(s: Site, i: int) -> np.ndarray:
    array = array_of(s.input(i))
    if array is None:
        raise GraphError(f"{s.op} '{s.node.name}' computes its packed weights, which cannot be unpacked")
    return array


PACKED = {"GatherBlockQuantized": gather_block_quantized, "MatMulBnb4": matmul_bnb4, "MatMulNBits": matmul_n_bits}
