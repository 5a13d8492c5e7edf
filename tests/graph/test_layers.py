# ruff: noqa: E501  (models are written as text)
"""Layer names, roles, and what a name resolves to."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from xgraph.errors import LayerError
from xgraph.graph.layers import SCOPE, Layer, layers, resolve, target_layer
from xgraph.graph.normalise import normalise

RNG = np.random.default_rng(4)
TEXT = """g (float[N, 3, 8, 8] x) => (float[N, 5] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, w) b = Relu(a) c = Conv<pads = [1, 1, 1, 1]>(b, w) d = Add(c, b) e = Relu(d)
    f = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(e) g = Conv<pads = [1, 1, 1, 1]>(f, w) h = GlobalAveragePool(g)
    i = Flatten(h) j = MatMul(i, u) k = Add(j, v) y = Softmax(k) }"""
SCOPES = {
    "a": "stem", "b": "layer1.act", "c": "layer1.conv", "d": "layer1", "e": "layer1.act", "f": "pool", "g": "layer2",
    "h": "head", "i": "head", "j": "head.fc", "k": "head.fc",
}  # fmt: skip


@pytest.fixture
def model(parse):
    array = RNG.standard_normal
    weights = {"w": array((3, 3, 3, 3)), "u": array((3, 5)), "v": array(5)}
    return parse(TEXT, weights={name: value.astype(np.float32) for name, value in weights.items()})


@pytest.fixture
def scoped(model):
    for node in model.graph:
        if node.outputs[0].name in SCOPES:
            node.metadata_props[SCOPE] = SCOPES[node.outputs[0].name]
    return normalise(model)


def test_without_scopes_layers_are_values(model):
    found = layers(normalise(model))
    assert [layer.name for layer in found] == list("abcdefghjky")
    assert all(layer.name == layer.value and not layer.scope for layer in found)


def test_layers_are_plain_data(scoped):
    first = layers(scoped)[0]
    assert first == Layer("stem", "Conv", "a", ("batch", 3, 8, 8), "float", "convolution", "stem")
    assert dataclasses.is_dataclass(first)


def test_a_module_is_named_after_its_last_node(scoped):
    names = {layer.value: layer.name for layer in layers(scoped)}
    assert names == {
        "a": "stem", "b": "layer1.act/Relu", "c": "layer1.conv", "d": "layer1/Add", "e": "layer1.act", "f": "pool",
        "g": "layer2", "h": "head/GlobalAveragePool", "j": "head.fc/MatMul", "k": "head.fc", "y": "y",
    }  # fmt: skip


def test_roles(scoped):
    roles = {layer.value: layer.role for layer in layers(scoped)}
    assert roles == {
        "a": "convolution", "b": "activation", "c": "convolution", "d": "residual add", "e": "cam candidate", "f": "pooling",
        "g": "target layer", "h": "pooling", "j": "linear", "k": "logits", "y": "softmax",
    }  # fmt: skip
    assert target_layer(layers(scoped)).name == "layer2"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layer1", "e"),
        ("layer1.act", "e"),
        ("layer1/Add", "d"),
        ("head", "k"),
        ("head.fc", "k"),
        ("g", "g"),
        ("i", "i"),
    ],
)
def test_resolve(name, value, scoped):
    assert resolve(scoped, layers(scoped), name) == value


def test_an_unknown_layer_proposes_others(scoped):
    with pytest.raises(LayerError, match=r"no layer 'layer2\.conv'; did you mean .*'layer1\.conv'"):
        resolve(scoped, layers(scoped), "layer2.conv")


def test_masks_and_shapes_are_no_layers(parse):
    text = """g (int64[N, T] ids, int64[N, T] mask) => (float y) {
        e = Gather(w, ids) m = Cast<to = 1>(mask) n = Sub(one, m) o = Mul(n, low) p = Unsqueeze(o, ax)
        t = Transpose<perm = [0, 2, 1]>(e) q = MatMul(e, t) r = Add(q, p) s = Softmax(r) y = MatMul(s, e) }"""
    weights = {"w": RNG.standard_normal((9, 4)), "one": np.array(1.0), "low": np.array(-1e4)}
    weights = {name: value.astype(np.float32) for name, value in weights.items()} | {"ax": np.array([1])}
    found = layers(normalise(parse(text, weights=weights)))
    assert [layer.value for layer in found] == ["e", "q", "r", "s", "y"]
    assert {layer.value: layer.role for layer in found}["e"] == "embedding"
    assert {layer.value: layer.role for layer in found}["s"] == "attention probability"
