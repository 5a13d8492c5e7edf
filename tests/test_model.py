"""Model: what is explained by default, what names stand for, and what is said about the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest

import xgraph
from xgraph.errors import LayerError, UnsupportedOpError
from xgraph.model import Model

Make = Callable[..., Model]


@pytest.fixture(scope="module")
def make(load_proto: Callable[[onnx.ModelProto], Model]) -> Make:
    """Loads a model written in ONNX's text syntax; weights by name."""

    def build(text: str, **weights: Any) -> Model:
        proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]>\ng {text}')
        for name, array in weights.items():
            array = np.asarray(array)
            array = array.astype(np.float32) if array.dtype.kind == "f" else array.astype(np.int64)
            proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        return load_proto(proto)

    return build


def labels(model: Model, wrt: str | None = None, output: str | None = None) -> Sequence[str]:
    return [str(place.wrt) for place in model.resolve_wrt(wrt, output)]


W = np.random.default_rng(0).normal(size=(4, 3))
SPARE = "(float[N, 4] x, float[N, 2] z) => (float[N, 3] y, float[N, 2] other)"
PICTURE = """(float[N, 3, 8, 8] image, float[N, 2] scale_factor, float[N, 3] unused) => (float[N, 3] y) {
    pooled = GlobalAveragePool(image)
    flat = Flatten(pooled)
    size = ReduceSum<keepdims=1>(scale_factor, axis)
    y = Mul(flat, size)
}"""
TOKENS = """(int64[N, T] ids, int64[N, T] kinds, float[N, T] weights) => (float[N, 4] y) {
    words = Gather(table, ids)
    k = Cast<to=1>(kinds)
    both = Mul(weights, k)
    column = Unsqueeze(both, last)
    weighted = Mul(words, column)
    y = ReduceMean<keepdims=0>(weighted, axis)
}"""
UINT8 = """(uint8[N, 3, 8, 8] x) => (float[N, 3] y) {
    f = Cast<to=1>(x)
    r = Relu(f)
    g = GlobalAveragePool(r)
    y = Flatten(g)
}"""


def test_inputs_that_do_not_reach_the_output_are_left_out(make: Make) -> None:
    model = make(f"{SPARE} {{ y = MatMul(x, w) other = Tanh(z) }}", w=W)
    assert labels(model) == labels(model, output="y") == ["input:x"]
    assert labels(model, output="other") == ["input:z"]
    feeds = {"x": np.ones((2, 4), np.float32), "z": np.ones((2, 2), np.float32)}
    for method in ("gradient", "integrated_gradients", "smooth_grad", "gradient_shap", "input_x_gradient"):
        assert list(xgraph.explain(model, feeds, method, target=1).values) == ["x"]
        at_other = xgraph.explain(model, feeds, method, target=xgraph.Target.index(1, output="other"))
        assert list(at_other.values) == ["z"]


def test_a_path_of_integers_or_shapes_is_none(make: Make) -> None:
    body = (
        "{ s = Shape(z) t = Cast<to=1>(s) u = ReduceSum<keepdims=0>(t) a = MatMul(x, w) y = Add(a, u) other = Tanh(z) }"
    )
    assert labels(make(f"{SPARE} {body}", w=W)) == ["input:x"]


def test_no_input_that_reaches_the_output_is_an_error(make: Make) -> None:
    text = """(float[N, 4] x, float[N, 4] z) => (float[N, 4] y) {
        i = Cast<to=7>(x)
        k = Cast<to=7>(z)
        j = Add(i, k)
        y = Cast<to=1>(j)
    }"""
    with pytest.raises(LayerError, match=r"no input influences the output 'y' \(input:x, input:z\)"):
        make(text).resolve_wrt(None)


def test_pictures_come_before_sizes_and_scales(make: Make) -> None:
    model = make(PICTURE, axis=[1])
    assert labels(model) == ["input:image"]
    assert labels(model, "input:scale_factor") == ["input:scale_factor"]


def test_embeddings_come_before_weights(make: Make) -> None:
    model = make(TOKENS, table=np.ones((9, 4)), axis=[1], last=[-1])
    assert labels(model) == ["embedding:ids"]
    assert {port.name: port.role for port in model.inputs} == {"ids": "tokens", "kinds": "mask", "weights": "features"}


@pytest.mark.parametrize(
    ("port", "role"),
    [
        ("uint8[N, 3, 8, 8] x", "image"),
        ("uint8[N, H, W, 4] x", "image"),
        ("uint8[N, 5, 8, 8] x", "data"),
        ("int64[N, 3, 8, 8] x", "data"),
        ("int64[N, 4] x", "data"),
        ("int64[N, 4] attention_mask", "mask"),
        ("bool[N, 4] x", "mask"),
        ("float[N, 4] x", "features"),
    ],
)
def test_roles(make: Make, port: str, role: str) -> None:
    name = port.split()[-1]
    model = make(f"({port}) => (float[N, A] y) {{ f = Cast<to=1>({name}) y = Flatten(f) }}")
    assert model.inputs[0].role == role


def test_an_integer_picture_names_its_first_float_layer(make: Make) -> None:
    model = make(UINT8)
    assert model.inputs[0].role == "image"
    assert [layer.name for layer in model.layers][:1] == ["r"]
    for ask in (
        lambda: model.resolve_wrt("input:x"),
        lambda: model.resolve_layer("x"),
        lambda: model.resolve_wrt(None),
    ):
        with pytest.raises(LayerError, match="wrt='layer:f'"):
            ask()
    x = np.arange(192, dtype=np.uint8).reshape(1, 3, 8, 8)
    assert list(xgraph.explain(model, x, wrt="layer:f").values) == ["f"]


def test_an_input_is_no_layer(make: Make) -> None:
    model = make(TOKENS, table=np.ones((9, 4)), axis=[1], last=[-1])
    for ask in (model.resolve_layer, lambda name: model.resolve_wrt(f"layer:{name}")):
        with pytest.raises(LayerError, match="'weights' is an input, not a layer; use wrt='input:weights'"):
            ask("weights")
        with pytest.raises(LayerError, match="'ids' is an input, not a layer; use wrt='embedding:ids'"):
            ask("ids")


def test_attention_is_labelled_in_full(make: Make) -> None:
    text = """(float[N, 2, 5, 4] q) => (float[N, 2, 5, 4] y) {
        k = Transpose<perm=[0, 1, 3, 2]>(q)
        scores = MatMul(q, k)
        weights = Softmax<axis=-1>(scores)
        y = MatMul(weights, q)
    }"""
    model = make(text)
    assert model.attention
    assert [place.label for place in model.resolve_wrt("attention:0")] == ["attention:0"]


def test_coverage_says_what_a_node_lacks(make: Make) -> None:
    rng = np.random.default_rng(1)
    text = """(float[T, N, 2] x, float[N, C, H, W] image) => (float[N, 3] y, float[N, C, H, W] even) {
        all, last = LSTM<hidden_size=3>(x, w, r)
        y = Squeeze(last, axis)
        even = LRN<size=3>(image)
    }"""
    model = make(text, w=rng.normal(size=(1, 12, 2)), r=rng.normal(size=(1, 12, 3)), axis=[0])
    said = {row.op: row.books["vjp"] for row in xgraph.coverage(model)}
    names = {row.op: row.node for row in xgraph.coverage(model)}
    channels = model.inputs[1].shape[1]
    assert said["Squeeze"] == "rule"
    assert said["LSTM"] == "rule"
    assert said["LRN"] == f"rule, needs a fixed '{channels}' axis"
    feeds = {"x": np.ones((4, 4, 2), np.float32), "image": np.ones((4, 3, 5, 5), np.float32)}
    target = xgraph.Target.pixel(0, 0, 0, output="even")
    with pytest.raises(UnsupportedOpError, match=f"for LRN '{names['LRN']}': it needs a fixed '{channels}' axis"):
        xgraph.explain(model, feeds, target=target)
