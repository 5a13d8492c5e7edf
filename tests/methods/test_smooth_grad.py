"""SmoothGrad against the literal mean over noise that is drawn here again."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import xgraph
from xgraph.errors import MethodError, XGraphError

torch = pytest.importorskip("torch")

from methods.cases import CASES, PLACES_AND_OF, SEED, TARGETS, Case, Load, assert_close, noises  # noqa: E402
from methods.nets import examples, net  # noqa: E402
from oracles import Site, grad_cam, predicted, smooth_grad, smooth_grad_squared, var_grad  # noqa: E402

pytestmark = pytest.mark.torch

SAMPLES = 6
MOMENTS = {"mean": smooth_grad, "square": smooth_grad_squared, "variance": var_grad}
SAME = {"rtol": 1e-5, "atol": 1e-6}
"""Sums in another order."""


def explain(model: xgraph.Model, case: Case, **given: Any) -> xgraph.Attribution:
    given = {"samples": SAMPLES, "seed": SEED, "target": list(TARGETS), "wrt": case.wrt, "at": case.wrt, **given}
    return xgraph.explain(model, case.x(), "smooth_grad", **given)


@pytest.mark.parametrize(("name", "of"), PLACES_AND_OF)
def test_mean_over_noise(name: str, of: Any, net_model: Load) -> None:
    case, site = CASES[name], CASES[name].site(of)
    found = explain(net_model(case.net), case, of=of, noise=0.2)
    assert_close(found.values[case.key], smooth_grad(site.gradient, site.value, noises(site.value, SAMPLES, 0.2)))
    assert_close(found.scores, site.scores(site.value))
    assert found.provenance.seed == SEED
    assert found.provenance.samples == SAMPLES


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(("name", "relative"), [("image", True), ("embedding", True), ("tabular", False)])
def test_moments_and_units_of_noise(name: str, moment: Any, relative: bool, net_model: Load) -> None:
    case, site = CASES[name], CASES[name].site("probability")
    found = explain(net_model(case.net), case, of="probability", noise=0.3, moment=moment, relative=relative)
    drawn = noises(site.value, SAMPLES, 0.3, relative=relative)
    assert_close(found.values[case.key], MOMENTS[moment](site.gradient, site.value, drawn))


def test_noise_on_the_input_explained_at_a_layer(net_model: Load) -> None:
    model, x = net_model("cnn"), examples("cnn")
    total = np.zeros((3, 4, 4, 4))
    drawn = noises(x.numpy(), SAMPLES, 0.2)
    for noise in drawn:
        site = Site(net("cnn"), x.double() + torch.from_numpy(noise), TARGETS, at="pool")
        total += site.gradient(site.value)
    found = explain(model, CASES["image"], wrt="layer:pool", noise=0.2)
    assert_close(found.values["pool"], total / SAMPLES)


def test_noise_at_a_layer_explained_at_the_input(net_model: Load) -> None:
    x = examples("cnn").double()
    layer = Site(net("cnn"), x, TARGETS, at="pool")
    pool = layer.model.get_submodule("pool")
    drawn = noises(layer.value, SAMPLES, 0.2)
    total = np.zeros(x.shape)
    for noise in drawn:
        leaf = x.clone().requires_grad_()
        # The noise is a constant: its scale is not differentiated.
        hook = pool.register_forward_hook(lambda _m, _i, out, noise=noise: out + torch.from_numpy(noise))
        layer.model(leaf)[torch.arange(3), list(TARGETS)].sum().backward()
        hook.remove()
        total += leaf.grad.numpy()
    found = explain(net_model("cnn"), CASES["image"], at="layer:pool", noise=0.2)
    assert_close(found.values["image"], total / SAMPLES)


@pytest.mark.parametrize("name", ["image", "embedding"])
def test_base_input_x_gradient_takes_the_noisy_input(name: str, net_model: Load) -> None:
    case, site = CASES[name], CASES[name].site()
    found = explain(net_model(case.net), case, base="input_x_gradient", noise=0.2)
    drawn = noises(site.value, SAMPLES, 0.2)
    assert_close(found.values[case.key], smooth_grad(lambda v: v * site.gradient(v), site.value, drawn))


def test_base_grad_cam(net_model: Load) -> None:
    x, drawn = examples("cnn"), noises(examples("cnn").numpy(), SAMPLES, 0.2)
    maps = []
    for noise in drawn:
        site = Site(net("cnn"), x.double() + torch.from_numpy(noise), TARGETS, at="pool")
        maps.append(grad_cam(site.value, site.gradient(site.value)))
    found = explain(net_model("cnn"), CASES["image"], base="grad_cam", layer="pool", wrt=None, noise=0.2)
    assert_close(found.values["pool"], sum(maps) / SAMPLES)


def test_reduce_comes_before_the_moment(net_model: Load) -> None:
    case, site = CASES["embedding"], CASES["embedding"].site()
    found = explain(net_model(case.net), case, reduce="sum", moment="square", noise=0.2)
    drawn = noises(site.value, SAMPLES, 0.2)
    literal = smooth_grad_squared(lambda v: site.gradient(v).sum(-1), site.value, drawn)
    assert_close(found.values[case.key], literal)


@pytest.mark.parametrize("of", ["logit", "loss"])
def test_the_class_is_that_of_the_clean_image(of: Any, net_model: Load) -> None:
    x = examples("cnn")
    classes = predicted(net("cnn"), x)
    drawn = noises(x.numpy(), SAMPLES, 2.0)
    flipped = [predicted(net("cnn"), x.double() + torch.from_numpy(noise)) for noise in drawn]
    assert any(noisy != classes for noisy in flipped), "the test shows nothing unless a noisy class differs"
    site = Site(net("cnn"), x, classes, of)
    found = explain(net_model("cnn"), CASES["image"], target=None, noise=2.0, of=of)
    assert found.target.classes.tolist() == classes
    assert_close(found.values["image"], smooth_grad(site.gradient, site.value, drawn))


def test_interpretdl_explains_the_probability(net_model: Load) -> None:
    case, site = CASES["image"], CASES["image"].site("probability")
    found = explain(net_model("cnn"), case, variant="interpretdl")
    assert found.target.of == "probability"
    assert_close(found.values["image"], smooth_grad(site.gradient, site.value, noises(site.value, SAMPLES, 0.1)))
    assert explain(net_model("cnn"), case, variant="interpretdl", of="logit").target.of == "logit"


@pytest.mark.parametrize("moment", MOMENTS)
def test_batch_size_does_not_matter(moment: Any, net_model: Load) -> None:
    results = [explain(net_model("flat"), CASES["flat image"], moment=moment, batch=size) for size in (1, 7, 64, None)]
    for found in results[1:]:
        np.testing.assert_allclose(found.values["image"], results[0].values["image"], **SAME)


def test_rows_are_drawn_by_their_number_alone(net_model: Load) -> None:
    model, case = net_model("mlp"), CASES["tabular"]
    three = explain(model, case).values["x"]
    two = xgraph.explain(model, case.x()[:2], "smooth_grad", list(TARGETS[:2]), samples=SAMPLES, seed=SEED).values["x"]
    np.testing.assert_allclose(two, three[:2], **SAME)


def test_seeds(net_model: Load) -> None:
    one, same, other = (explain(net_model("mlp"), CASES["tabular"], seed=s).values["x"] for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3


def test_no_noise_is_the_gradient(net_model: Load) -> None:
    model, case = net_model("cnn"), CASES["image"]
    plain = xgraph.explain(model, case.x(), "gradient", list(TARGETS))
    np.testing.assert_allclose(explain(model, case, noise=0.0).values["image"], plain.values["image"], **SAME)
    variance = explain(model, case, noise=0.0, moment="variance").values["image"]
    np.testing.assert_allclose(variance, 0, atol=1e-9)


def test_explain_each_shares_noise(net_model: Load) -> None:
    model, case = net_model("cnn"), CASES["image"]
    targets = [2, list(TARGETS), 4]
    found = xgraph.explain_each(model, case.x(), "smooth_grad", targets, samples=SAMPLES, seed=SEED)
    for target, attribution in zip(targets, found, strict=True):
        alone = explain(model, case, target=target)
        np.testing.assert_allclose(attribution.values["image"], alone.values["image"], **SAME)
        np.testing.assert_allclose(attribution.scores, alone.scores, **SAME)


def test_contrasts_are_smoothed_too(net_model: Load) -> None:
    model, case = net_model("mlp"), CASES["tabular"]
    found = explain(model, case, target=xgraph.Target.contrast(1, 4)).values["x"]
    parts = [explain(model, case, target=c).values["x"] for c in (1, 4)]
    np.testing.assert_allclose(found, parts[0] - parts[1], rtol=1e-4, atol=1e-6)


def test_memory_does_not_grow_with_samples(net_model: Load) -> None:
    model, case = net_model("mlp"), CASES["tabular"]

    def peak(samples: int) -> int:
        tracemalloc.start()
        try:
            xgraph.explain(model, case.x(1), "smooth_grad", 0, samples=samples, batch=256)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(100)
    few, many = peak(100), peak(10_000)
    assert many < few + 2**18, f"100 samples took {few} bytes, 10,000 took {many}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"samples": 0}, "samples=0.*count from 1"),
        ({"samples": -3}, "samples=-3.*count from 1"),
        ({"noise": -0.1}, "noise=-0.1.*from 0"),
        ({"base": "smooth_grad", "wrt": None, "at": None}, "'smooth_grad' is not one backward pass"),
        ({"base": "integrated_gradients", "at": None}, "'integrated_gradients' is not one backward pass"),
        ({"base": "grad_cam"}, "wrt='input:image' does not fit the base method 'grad_cam'"),
        ({"layer": "pool"}, "layer='pool' does not fit the base method 'gradient'"),
        ({"base": "gradint"}, "no method 'gradint'; did you mean 'gradient'"),
        ({"moment": "median"}, "moment='median' should be one of 'mean', 'square', 'variance'"),
        ({"at": "layer:nowhere"}, "nowhere"),
    ],
)
def test_mistakes_are_one_clear_line(given: dict[str, Any], message: str, net_model: Load) -> None:
    with pytest.raises(XGraphError, match=message) as raised:
        explain(net_model("cnn"), CASES["image"], **given)
    assert "\n" not in str(raised.value)


def test_it_is_no_single_file(net_model: Load, tmp_path: Any) -> None:
    with pytest.raises(MethodError, match=r"smooth_grad samples outside the graph.*compile a bundle") as raised:
        xgraph.compile(net_model("cnn"), "smooth_grad").save(tmp_path / "a.onnx")
    assert "\n" not in str(raised.value)
