"""Models as they are deployed: optimised offline or quantised by ONNX Runtime's tools, explained like others."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from corpus.deployed import optimised, quantised, samples_of, source, target_of
from integers import needs_exact_products

import xgraph

MODELS = ("shapes_cnn", "shapes_vit", "reviews_bert")
LEVELS = ("extended", "all")
FORMS = [("QDQ", False), ("QDQ", True), ("QOperator", False), ("QOperator", True), ("dynamic", False)]


def explained(path, name, method="gradient"):
    """Returns the gradient of one logit per sample as an array, and the scores."""
    attribution = xgraph.explain(xgraph.load(path), samples_of(name), method=method, target=target_of(name))
    (values,) = attribution.values.values()
    return values, attribution.scores


@pytest.fixture(scope="module")
def plain():
    """The gradients of the models as they were exported."""
    return {name: explained(source(name), name) for name in MODELS}


def cosines(a, b):
    rows = [(x.ravel().astype(np.float64), y.ravel().astype(np.float64)) for x, y in zip(a, b, strict=True)]
    return np.array([x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in rows])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", MODELS)
def test_an_optimised_model_has_the_gradient_of_the_original(name, level, plain, tmp_path):
    path = optimised(source(name), level, tmp_path)
    assert any(node.domain.startswith("com.microsoft") for node in onnx.load(path).graph.node)
    expected, scores = plain[name]
    found, same = explained(path, name)
    np.testing.assert_allclose(same, scores, rtol=1e-5)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_what_the_optimiser_for_transformers_writes(plain, tmp_path):
    optimizer = pytest.importorskip("onnxruntime.transformers.optimizer")
    model = optimizer.optimize_model(
        str(optimised(source("reviews_bert"), "basic", tmp_path)), model_type="bert", opt_level=0
    )
    path = tmp_path / "fused.onnx"
    model.save_model_to_file(str(path))
    fused = {node.op_type for node in onnx.load(path).graph.node if node.domain}
    assert {"EmbedLayerNormalization", "SkipLayerNormalization"} <= fused
    expected, scores = plain["reviews_bert"]
    found, same = explained(path, "reviews_bert")
    np.testing.assert_allclose(same, scores, rtol=1e-5)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_an_optimised_model_offers_the_same_maps(tmp_path):
    paths = source("shapes_cnn"), optimised(source("shapes_cnn"), "all", tmp_path)
    (expected, _), (found, _) = (explained(path, "shapes_cnn", "grad_cam") for path in paths)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


# Straight through 8 bits a gradient keeps its direction: measured 0.90 at least, 0.99 for text.
@needs_exact_products
@pytest.mark.parametrize(("form", "per_channel"), FORMS)
@pytest.mark.parametrize("name", MODELS)
def test_a_quantised_model_has_nearly_the_gradient_of_the_original(name, form, per_channel, plain, tmp_path):
    # The quantiser looks for constant weights, which exporters hide behind Identity and Transpose.
    path = quantised(optimised(source(name), "basic", tmp_path), name, tmp_path, form=form, per_channel=per_channel)
    expected, _ = plain[name]
    found, _ = explained(path, name)
    assert np.all(np.isfinite(found))
    assert cosines(found, expected).min() > 0.87


# Measured 0.99 at least.
@needs_exact_products
@pytest.mark.parametrize("name", MODELS)
def test_a_model_quantised_to_16_bits_has_the_gradient_of_the_original(name, plain, tmp_path):
    path = quantised(optimised(source(name), "basic", tmp_path), name, tmp_path, form="16 bits", per_channel=True)
    quantisers = {node.domain for node in onnx.load(path).graph.node if node.op_type == "QuantizeLinear"}
    assert quantisers == {"com.microsoft"}
    expected, _ = plain[name]
    found, _ = explained(path, name)
    assert cosines(found, expected).min() > 0.98


@needs_exact_products
@pytest.mark.parametrize("form", ["QDQ", "QOperator", "dynamic"])
@pytest.mark.parametrize("name", MODELS)
def test_a_quantised_model_may_be_optimised_too(name, form, tmp_path):
    path = quantised(optimised(source(name), "basic", tmp_path), name, tmp_path, form=form, per_channel=True)
    expected, _ = explained(path, name)
    found, _ = explained(optimised(path, "all", tmp_path), name)
    # Where the optimiser leaves a ReLU to the clipping of a quantiser, numbers of exactly 0 are inside; the ReLU's
    # derivative there is 0. The ViT's stem has many of them.
    assert cosines(found, expected).min() > (0.8 if name == "shapes_vit" else 0.97)


def test_a_quantised_model_offers_its_layers_and_its_head(tmp_path):
    path = quantised(optimised(source("shapes_cnn"), "basic", tmp_path), "shapes_cnn", tmp_path, form="QOperator")
    before, after = xgraph.load(source("shapes_cnn")), xgraph.load(path)
    assert after.heads[after.outputs[0].name].kind == "softmax"
    roles = [sorted(layer.op for layer in model.layers if layer.role == "convolution") for model in (before, after)]
    assert roles[0] == roles[1]
    maps = [explained(p, "shapes_cnn", "grad_cam")[0] for p in (source("shapes_cnn"), path)]
    assert cosines(*maps).min() > 0.9


@needs_exact_products
@pytest.mark.torch
@pytest.mark.parametrize("per_channel", [False, True])
def test_the_gradient_is_that_of_fake_quantisation_in_torch(per_channel, tmp_path):
    pytest.importorskip("torch")
    from corpus.fake_quantised import gradient

    plain = optimised(source("shapes_cnn"), "basic", tmp_path)
    path = quantised(plain, "shapes_cnn", tmp_path, form="QDQ", per_channel=per_channel)
    model = xgraph.load(path)
    logits = model.heads[model.outputs[0].name].logits.name
    expected = gradient(onnx.load(path), samples_of("shapes_cnn"), logits, target_of("shapes_cnn"))
    found, _ = explained(path, "shapes_cnn")
    # Another order of summation rounds a few numbers to the other neighbour, and flips a few pools.
    assert cosines(found, expected).min() > 0.999
