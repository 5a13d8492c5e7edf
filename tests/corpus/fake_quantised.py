"""The oracle of quantised gradients: torch's fake quantisation, straight through, over the nodes of a QDQ file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.nn import functional


def gradient(proto: onnx.ModelProto, feeds: Mapping[str, np.ndarray], value: str, target: Sequence[int]) -> np.ndarray:
    """Returns the gradient of one column per row of a value with respect to the only input, straight through."""
    ((name, array),) = feeds.items()
    x = torch.tensor(array, requires_grad=True)
    values: dict[str, Any] = {
        t.name: torch.tensor(onnx.numpy_helper.to_array(t).copy()) for t in proto.graph.initializer
    }
    values[name] = x
    for node in proto.graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        operands = [values.get(i) for i in node.input]
        values[node.output[0]] = _OPS[node.op_type](attributes, *operands)
    values[value][range(len(target)), list(target)].sum().backward()
    assert x.grad is not None
    return x.grad.numpy()


class _Integers:
    """What QuantizeLinear returns: not rounded before it is known whether somebody dequantises it."""

    def __init__(self, x: Tensor, scale: Tensor, zero: Tensor) -> None:
        self.x, self.scale, self.zero = x, scale, zero


def _dequantize(a: Mapping[str, Any], q: Any, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    if isinstance(q, _Integers):
        limits = torch.iinfo(q.zero.dtype)
        return torch.fake_quantize_per_tensor_affine(q.x, float(q.scale), int(q.zero), limits.min, limits.max)
    shape = [-1 if i == a.get("axis", 1) else 1 for i in range(q.ndim)] if scale.ndim else []
    shift = 0 if zero is None else zero.to(torch.int64).reshape(shape)
    return (q.to(torch.int64) - shift).to(scale.dtype) * scale.reshape(shape)


def _conv(a: Mapping[str, Any], x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    pads = a.get("pads", [0] * 4)
    padded = functional.pad(x, (pads[1], pads[3], pads[0], pads[2]))
    return functional.conv2d(padded, w, b, a.get("strides", 1), 0, a.get("dilations", 1), a.get("group", 1))


def _max_pool(a: Mapping[str, Any], x: Tensor) -> Tensor:
    pads = a.get("pads", [0] * 4)
    padded = functional.pad(x, (pads[1], pads[3], pads[0], pads[2]), value=-np.inf)
    return functional.max_pool2d(padded, a["kernel_shape"], a.get("strides", 1))


def _norm(a: Mapping[str, Any], x: Tensor, s: Tensor, b: Tensor, m: Tensor, v: Tensor) -> Tensor:
    return functional.batch_norm(x, m, v, s, b, training=False, eps=a.get("epsilon", 1e-5))


def _slice(a: Mapping[str, Any], x: Tensor, start: Tensor, end: Tensor, *rest: Tensor) -> Tensor:
    return x[int(start[0]) : int(end[0])]


_OPS = {
    "Add": lambda a, x, y: x + y,
    "BatchNormalization": _norm,
    "Concat": lambda a, *xs: torch.cat(xs, a["axis"]),
    "Constant": lambda a: torch.tensor(onnx.numpy_helper.to_array(a["value"]).copy()),
    "Conv": _conv,
    "DequantizeLinear": _dequantize,
    "Flatten": lambda a, x: x.flatten(a.get("axis", 1)),
    "Gemm": lambda a, x, w, b: x @ (w.T if a.get("transB") else w) + b,
    "GlobalAveragePool": lambda a, x: x.mean((2, 3), keepdim=True),
    "Identity": lambda a, x: x,
    "MatMul": lambda a, x, y: x @ y,
    "MaxPool": _max_pool,
    "QuantizeLinear": lambda a, x, scale, zero: _Integers(x, scale, zero),
    "Relu": lambda a, x: x.relu(),
    "Reshape": lambda a, x, shape: x.reshape([int(d) for d in shape]),
    "Shape": lambda a, x: torch.tensor(x.shape),
    "Slice": _slice,
    "Softmax": lambda a, x: x.softmax(a.get("axis", -1)),
}
