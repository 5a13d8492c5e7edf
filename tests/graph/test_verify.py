"""The check that an import computes what the file computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx.parser

import xgraph


def test_outputs_without_axes_are_compared(load_proto: Callable[[onnx.ModelProto], xgraph.Model]) -> None:
    proto = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 17]>
        net (float[batch, 4] x) => (float[batch, 4] scores, int64 best, int64 size, float largest)
        <int64[1] flat = {-1}>
        {
            scores = Tanh(x)
            row = Reshape(scores, flat)
            best = ArgMax<axis: int = 0, keepdims: int = 0>(row)
            size = Size(scores)
            largest = ReduceMax<keepdims: int = 0>(scores)
        }
    """)
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    found = xgraph.explain(load_proto(proto), x, "gradient", xgraph.Target.index(1, output="scores"))
    (values,) = found.values.values()
    expected = np.zeros_like(x)
    expected[:, 1] = 1 - np.tanh(x[:, 1]) ** 2
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-7)
