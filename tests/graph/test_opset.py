# ruff: noqa: E501  (models are written as text)
"""Models of opset 7 to 17 compute the same at 18."""

from __future__ import annotations

import numpy as np
import pytest

from xgraph.errors import GraphError
from xgraph.graph.io import opset
from xgraph.graph.normalise import normalise

RNG = np.random.default_rng(1)


def array(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


NORM = {"s": np.abs(array(3)), "beta": array(3), "m": array(3), "v": np.abs(array(3))}
CNN = """g (float[N, 3, 12, 12] x) => (float[N, 5] y) {
    a = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, w) n = BatchNormalization<epsilon = 0.001>(a, s, beta, m, v)
    r = Relu(n) t = Add(r, x) p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(t) q = GlobalAveragePool(p)
    f = Flatten<axis = 1>(q) l = Gemm<transB = 1>(f, u, c) y = Softmax<axis = 1>(l) }"""
CNN_WEIGHTS = {"w": array(3, 3, 3, 3), "u": array(5, 3), "c": array(5), **NORM}


@pytest.mark.parametrize("version", range(7, 18))
def test_a_convolutional_network(version, parse, evaluator):
    model = parse(CNN, opset=version, weights=CNN_WEIGHTS)
    result = normalise(model, evaluator=evaluator)
    assert opset(result) == 18
    assert "Softmax" in [node.op_type for node in result.graph]
    assert [value.name for value in result.graph.inputs] == ["x"]


CASES = {
    "reductions": (7, 12, "a = ReduceMean<axes = [2, 3], keepdims = 0>(x) b = ReduceSum<axes = [2, 3], keepdims = 0>(x) y = Add(a, b)"),
    "other reductions": (7, 17, "a = ReduceMax<axes = [2], keepdims = 1>(x) b = ReduceL2<axes = [1], keepdims = 1>(x) y = Add(a, b)"),
    "squeeze": (7, 12, "a = ReduceMean<axes = [3], keepdims = 1>(x) b = Squeeze<axes = [3]>(a) y = Unsqueeze<axes = [0]>(b)"),
    "clip": (7, 10, "y = Clip<min = -0.5, max = 0.5>(x)"),
    "dropout": (7, 11, "a = Dropout<ratio = 0.5>(x) y = Relu(a)"),
    "slice": (7, 9, "y = Slice<axes = [2, 3], starts = [1, 0], ends = [-1, 5]>(x)"),
    "pad": (7, 10, "y = Pad<mode = \"constant\", pads = [0, 0, 1, 2, 0, 0, 3, 4], value = 0.5>(x)"),
    "split": (7, 12, "a, b = Split<axis = 2, split = [2, 4]>(x) y = Concat<axis = 2>(b, a)"),
    "even split": (7, 17, "a, b = Split<axis = 2>(x) y = Concat<axis = 2>(b, a)"),
    "softmax over an inner axis": (7, 12, "y = Softmax<axis = 1>(x)"),
    "softmax over the last axis": (7, 17, "y = Softmax<axis = 3>(x)"),
    "logsoftmax over two axes": (7, 12, "y = LogSoftmax<axis = 2>(x)"),
    "softmax over channels": (13, 17, "y = Softmax<axis = 1>(x)"),
    "average pool": (7, 17, "y = AveragePool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(x)"),
    "lp pool": (7, 17, "y = LpPool<kernel_shape = [2, 2], p = 2>(x)"),
    "batch norm": (7, 17, "y = BatchNormalization(x, s, beta, m, v)"),
    "lrn": (7, 17, "y = LRN<size = 3>(x)"),
    "hard sigmoid": (7, 17, "a = HardSigmoid(x) y = Mul(a, x)"),
    "prelu": (9, 17, "y = PRelu(x, slope)"),
    "resize": (11, 17, "r = Constant<value = float[0] {}>() c = Constant<value = float[4] {1.0, 1.0, 2.0, 2.0}>()"
        " y = Resize<mode = \"linear\", coordinate_transformation_mode = \"half_pixel\">(x, r, c)"),
    "nearest resize": (10, 10, "c = Constant<value = float[4] {1.0, 1.0, 2.0, 2.0}>() y = Resize<mode = \"nearest\">(x, c)"),
    "linear resize": (10, 10, "c = Constant<value = float[4] {1.0, 1.0, 2.0, 2.0}>() y = Resize<mode = \"linear\">(x, c)"),
    "linear upsample": (9, 9, "c = Constant<value = float[4] {1.0, 1.0, 2.0, 2.0}>() y = Upsample<mode = \"linear\">(x, c)"),
    "nearest upsample": (9, 9, "c = Constant<value = float[4] {1.0, 1.0, 2.0, 2.0}>() y = Upsample<mode = \"nearest\">(x, c)"),
    "uneven resize": (10, 10, "c = Constant<value = float[4] {1.0, 1.0, 1.5, 0.5}>() y = Resize<mode = \"nearest\">(x, c)"),
    "upsample by attribute": (7, 8, "y = Upsample<mode = \"nearest\", scales = [1.0, 1.0, 2.0, 2.0]>(x)"),
    "top k": (11, 17, "k = Constant<value = int64[1] {2}>() y, i = TopK<axis = 3>(x, k)"),
    "depth to space": (7, 17, "a = Concat<axis = 1>(x, x, x, x) y = DepthToSpace<blocksize = 2>(a)"),
    "layer norm": (17, 17, "y = LayerNormalization<axis = -1>(x, g6, g6)"),
    "gru": (7, 17, "t = Constant<value = int64[3] {-1, 6, 6}>() a = Reshape(x, t) o, y = GRU<hidden_size = 2>(a, gw, gr)"),
    "mean variance": (9, 17, "y = MeanVarianceNormalization(x)"),
    "cast": (7, 17, "a = Cast<to = 11>(x) y = Cast<to = 1>(a)"),
    "pow and sqrt": (7, 17, "two = Constant<value = float {2.0}>() a = Pow(x, two) b = Sqrt(a) y = Sum(a, b)"),
    "equal and where": (11, 17, "a = Abs(x) c = Equal(a, x) y = Where(c, a, b1)"),
    "argmax": (7, 17, "a = ArgMax<axis = 1, keepdims = 1>(x) y = Cast<to = 1>(a)"),
}  # fmt: skip
WEIGHTS = {
    **NORM, "slope": array(3, 1, 1), "g6": array(6), "gw": array(1, 6, 6), "gr": array(1, 6, 2), "b1": array(1),
}  # fmt: skip


@pytest.mark.parametrize(("case", "version"), [(c, v) for c, (lo, hi, _) in CASES.items() for v in sorted({lo, hi})])
def test_operators(case, version, parse, evaluator):
    text = f"g (float[N, 3, 6, 6] x) => (float y) {{ {CASES[case][2]} }}"
    weights = {
        name: value
        for name, value in WEIGHTS.items()
        if name in text.replace(",", " ").replace(")", " ").replace("(", " ").split()
    }
    result = normalise(parse(text, opset=version, weights=weights), evaluator=evaluator)
    assert opset(result) == 18


def test_node_metadata_and_large_weights_survive(parse, evaluator):
    model = parse(CNN, opset=9, weights=CNN_WEIGHTS | {"u": array(5, 3)})
    for node in model.graph:
        node.metadata_props["xgraph.scope"] = node.outputs[0].name or ""
    result = normalise(model, evaluator=evaluator)
    convolution = next(node for node in result.graph if node.op_type == "Conv")
    assert convolution.metadata_props["xgraph.scope"] == "a"
    assert "w" in result.graph.initializers


def test_older_than_seven_is_refused(parse):
    with pytest.raises(GraphError, match="opset 6"):
        normalise(parse("g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }", opset=6))


def test_newer_keeps_its_opset(parse, evaluator):
    model = parse("g (float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }", opset=21)
    assert opset(normalise(model, evaluator=evaluator)) == 21
