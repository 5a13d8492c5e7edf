"""Class activation maps against the literal formulas over activations and gradients from torch hooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import xgraph
from xgraph.errors import XGraphError

torch = pytest.importorskip("torch")

import oracles  # noqa: E402
from methods.cases import CAM_LAYERS, CASES, TARGETS, Case, Load, assert_close  # noqa: E402
from methods.nets import net  # noqa: E402
from oracles import Array, Site  # noqa: E402

pytestmark = pytest.mark.torch

FORMULAS: dict[str, Callable[[Array, Array], Array]] = {
    "grad_cam": oracles.grad_cam,
    "grad_cam_plus_plus": oracles.grad_cam_plus_plus,
    "layer_cam": oracles.layer_cam,
}


def site_of(name: str, of: str = "logit", targets: tuple[int, ...] = TARGETS) -> tuple[Case, Site]:
    case = Case(CAM_LAYERS[name][0], f"layer:{CAM_LAYERS[name][1]}", CAM_LAYERS[name][1])
    return case, case.site(of, targets)


@pytest.mark.parametrize(
    ("layer", "of"), [*((layer, "logit") for layer in CAM_LAYERS), ("stem", "probability"), ("flattened", "loss")]
)
@pytest.mark.parametrize("method", FORMULAS)
def test_formula(method: str, layer: str, of: Any, net_model: Load) -> None:
    case, site = site_of(layer, of)
    found = xgraph.explain(net_model(case.net), case.x(), method, list(TARGETS), of=of, layer=case.at)
    activation, gradient = site.value, site.gradient(site.value)
    exact = FORMULAS[method](activation, gradient)
    assert found.values[case.at].shape == exact.shape == (3, *activation.shape[2:])
    assert_close(found.values[case.at], exact)
    assert_close(found.scores, site.scores(activation))


@pytest.mark.parametrize("method", FORMULAS)
def test_without_relu_the_map_is_signed(method: str, net_model: Load) -> None:
    case, site = site_of("flattened silu")
    found = xgraph.explain(net_model("flat"), case.x(), method, list(TARGETS), layer=case.at, relu=False)
    signed = found.values[case.at]
    assert signed.min() < 0
    assert_close(np.maximum(signed, 0), FORMULAS[method](site.value, site.gradient(site.value)))


def test_grad_cam_plus_plus_is_the_papers_but_for_one_factor_per_row(net_model: Load) -> None:
    """The paper differentiates exp(f), which scales a row's whole map by exp(f)."""
    case, site = site_of("flattened")
    found = xgraph.explain(net_model("flat"), case.x(), "grad_cam_plus_plus", list(TARGETS), layer=case.at)
    scores = site.scores(site.value)
    exact = oracles.grad_cam_plus_plus(site.value, site.gradient(site.value), scores)
    assert_close((found.values[case.at] * np.exp(scores)[:, None, None]).astype(np.float32), exact)


def test_grad_cam_plus_plus_with_gradients_of_zero(net_model: Load) -> None:
    """Behind a ReLU that is off, g is 0 and the paper's α is 0 / 0: such positions weigh nothing."""
    case, site = site_of("stem")
    gradient = site.gradient(site.value)
    assert (gradient == 0).any(), "the test shows nothing unless some gradients are 0"
    found = xgraph.explain(net_model("cnn"), case.x(), "grad_cam_plus_plus", list(TARGETS), layer=case.at)
    assert np.isfinite(found.values[case.at]).all()


@pytest.mark.parametrize("layer", ["pooled", "flattened"])
def test_grad_cam_of_interpretdl(layer: str, net_model: Load) -> None:
    case, site = site_of(layer, "probability")
    exact = oracles.grad_cam_interpretdl(site.value, site.gradient(site.value))
    given: dict[str, Any] = {"layer": case.at, "variant": "interpretdl"}
    found = xgraph.explain(net_model(case.net), case.x(), "grad_cam", list(TARGETS), **given)
    assert found.target.of == "probability"
    assert_close(found.values[case.at], exact)
    program = xgraph.compile(net_model(case.net), "grad_cam", **given)
    assert_close(program(case.x(), list(TARGETS)).values[case.at], exact)


def test_the_default_layer_is_the_last_with_spatial_axes(net_model: Load) -> None:
    for method in FORMULAS:
        found = xgraph.explain(net_model("cnn"), CASES["image"].x(), method)
        assert list(found.values) == ["act"]


def test_cam_is_the_linear_layers_weights_on_the_maps(net_model: Load) -> None:
    case, site = site_of("pooled")
    weights = net("cnn").head.weight.detach().numpy().astype(np.float64)
    found = xgraph.explain(net_model("cnn"), case.x(), "cam", list(TARGETS))
    assert list(found.values) == ["act"]
    assert_close(found.values["act"], oracles.cam(site.value, weights, TARGETS))
    # Its mean is the logit but for the bias: the property the paper starts from.
    bias = net("cnn").head.bias.detach().numpy()[list(TARGETS)]
    np.testing.assert_allclose(found.values["act"].mean((1, 2)) + bias, found.scores, rtol=1e-5, atol=1e-5)


def test_cam_and_grad_cam_agree(net_model: Load) -> None:
    x = CASES["image"].x()
    cam = xgraph.explain(net_model("cnn"), x, "cam", list(TARGETS)).values["act"]
    grad_cam = xgraph.explain(net_model("cnn"), x, "grad_cam", list(TARGETS), of="logit").values["act"]
    np.testing.assert_allclose(np.maximum(cam, 0) / cam[0].size, grad_cam, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("head", ["softmax", "log_softmax", "sigmoid", "none"])
def test_cam_of_an_exported_head(head: str, load_proto: Any, images: np.ndarray) -> None:
    import builders

    proto = builders.tiny_cnn(head)
    found = xgraph.explain(load_proto(proto), images, "cam", 2)
    maps = builders.Oracle(proto, "block.relu")({"image": images})["block.relu"]
    weights = next(onnx.numpy_helper.to_array(t) for t in proto.graph.initializer if t.name == "fc.w")
    assert_close(next(iter(found.values.values())), oracles.cam(maps, weights.astype(np.float64), [2] * 7))


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("flat", {}, "global average pooling and one linear layer; use grad_cam"),
        ("tokens", {}, "global average pooling and one linear layer; use grad_cam"),
        ("mlp", {}, "global average pooling and one linear layer; use grad_cam"),
        ("cnn", {"of": "probability"}, "cam explains the logit, not the probability; use grad_cam"),
        ("cnn", {"of": "loss"}, "cam explains the logit, not the loss; use grad_cam"),
        ("cnn", {"layer": "pool"}, "cam has no parameter 'layer'"),
    ],
)
def test_cam_says_what_it_needs(name: str, given: dict[str, Any], message: str, net_model: Load) -> None:
    case = next(case for case in CASES.values() if case.net == name)
    with pytest.raises(XGraphError, match=message) as raised:
        xgraph.explain(net_model(name), case.x(), "cam", **given)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("method", FORMULAS)
@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("cnn", {"layer": "head"}, r"'logits' has the shape \['batch', 5\], without spatial axes; choose a layer"),
        ("cnn", {"layer": "bloc"}, "bloc"),
        ("mlp", {}, "no layer with spatial axes; name one"),
    ],
)
def test_layers_without_maps(method: str, name: str, given: dict[str, Any], message: str, net_model: Load) -> None:
    case = next(case for case in CASES.values() if case.net == name)
    with pytest.raises(XGraphError, match=message) as raised:
        xgraph.explain(net_model(name), case.x(), method, **given)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("method", [*FORMULAS, "cam"])
def test_targets_together_and_in_one_file(method: str, net_model: Load, tmp_path: Any) -> None:
    model, x = net_model("cnn"), CASES["image"].x()
    targets = [2, list(TARGETS), None]
    together = xgraph.explain_each(model, x, method, targets)
    program = xgraph.compile(model, method)
    session = onnxruntime.InferenceSession(program.save(tmp_path / "cam.onnx"), providers=["CPUExecutionProvider"])
    for target, found in zip(targets, together, strict=True):
        expected = program(x, target).values["act"]
        np.testing.assert_allclose(found.values["act"], expected, rtol=1e-5, atol=1e-6)
        numbers = np.broadcast_to(np.asarray(-1 if target is None else target, np.int64), 3)
        filed = session.run(["xg_attribution"], {"image": x, "xg_target": np.ascontiguousarray(numbers)})[0]
        np.testing.assert_allclose(filed, expected, rtol=1e-5, atol=1e-6)


AUXILIARY = """g (float[N, 3, 8, 8] image) => (float[N, 2] main, float[N, 2] auxiliary) {
    body = Conv(image, w)
    maps = Relu(body)
    low = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(maps)
    head = Relu(low)
    pooled = GlobalAveragePool(head)
    main = Flatten(pooled)
    aux = Conv(maps, v)
    rest = GlobalAveragePool(aux)
    auxiliary = Flatten(rest)
}"""


@pytest.mark.parametrize("method", FORMULAS)
@pytest.mark.parametrize(("output", "layer"), [(None, "head"), ("main", "head"), ("auxiliary", "aux")])
def test_default_layer_leads_to_the_explained_output(method: str, output: str | None, layer: str, load_proto) -> None:
    proto = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 18]>\n' + AUXILIARY)
    rng = np.random.default_rng(0)
    for name, shape in (("w", (2, 3, 1, 1)), ("v", (2, 2, 3, 3))):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name))
    x = rng.normal(size=(2, 3, 8, 8)).astype(np.float32)
    found = xgraph.explain(load_proto(proto), x, method, target=xgraph.Target.index(1, output=output))
    assert list(found.values) == [layer]
