"""What is mutated: the package's own models, and small ones that hold what those lack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import builders
import numpy as np
import onnx

import xgraph.data

DATA = Path(xgraph.data.__file__).parent


def _parsed(text: str, weights: Mapping[str, np.ndarray] | None = None, opset: int = 18) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> {text}')
    for name, array in (weights or {}).items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


def _array(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def _recurrent() -> onnx.ModelProto:
    return _parsed(
        """g (float[1, 6, 4] x) => (float[1, 6] y) {
            t = Transpose<perm = [1, 0, 2]>(x) a, h = LSTM<hidden_size = 6>(t, w, r, , , h0, h0)
            z = Constant<value = int64[1] {0}>() y = Squeeze(h, z) }""",
        {"w": _array(1, 24, 4), "r": _array(1, 24, 6), "h0": _array(1, 1, 6)},
    )


def _branching() -> onnx.ModelProto:
    return _parsed(
        """g (float[N, 4] x) => (float[N, 4] y) {
            c = ReduceSum<keepdims = 0>(x) z = Constant<value = float {0}>() b = Greater(c, z)
            i = If(b) <then_branch = yes () => (float[N, 4] p) { p = Tanh(x) },
                       else_branch = no () => (float[N, 4] q) { q = Mul(x, w) }>
            y = Exp(i) }""",
        {"w": _array(4)},
    )


def _functions() -> onnx.ModelProto:
    return onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 18, "local": 1]>
        g (float[N, 4] x) => (float[N, 4] y) { a = local.twice(x) y = local.outer(a) }
        <domain: "local", opset_import: ["": 18]> twice (p) => (q) { q = Add(p, p) }
        <domain: "local", opset_import: ["": 18, "local": 1]> outer (p) => (q) { r = local.twice(p) q = Sigmoid(r) }"""
    )


def _old() -> onnx.ModelProto:
    return _parsed(
        """g (float[1, 3, 8, 8] x) => (float[1, 5] y) {
            p = Pad<pads = [0, 0, 1, 1, 0, 0, 1, 1], value = 0.0>(x) a = Conv<kernel_shape = [3, 3]>(p, k)
            u = Unsqueeze<axes = [0]>(a) s = Squeeze<axes = [0]>(u) m = ReduceMean<axes = [2, 3], keepdims = 0>(s)
            l = MatMul(m, w) y = Softmax<axis = 1>(l) }""",
        {"k": _array(4, 3, 3, 3), "w": _array(4, 5)},
        opset=9,
    )


BUILT: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "cnn": builders.tiny_cnn,
    "one sample": lambda: builders.tiny_cnn(batch=1),
    "tokens": lambda: builders.token_model(mask=True),
    "outputs": builders.multi_output,
    "recurrent": _recurrent,
    "branching": _branching,
    "functions": _functions,
    "old": _old,
}
REAL = tuple(sorted(DATA.glob("*/*.onnx")))
PADDLE = tuple(sorted([*DATA.glob("*/pir/*.json"), *DATA.glob("*/legacy/*.pdmodel")]))
