"""Gradient SHAP against the literal mean over draws that are made here again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import xgraph
from xgraph.errors import XGraphError
from xgraph.sampling.philox import normals, uniforms

torch = pytest.importorskip("torch")

from methods.cases import CASES, PLACES_AND_OF, SEED, TARGETS, Case, Load, assert_close, noises  # noqa: E402
from oracles import Array, Site, gradient_shap  # noqa: E402

pytestmark = pytest.mark.torch

SAMPLES = 6


def explain(model: xgraph.Model, case: Case, **given: Any) -> xgraph.Attribution:
    given = {"samples": SAMPLES, "seed": SEED, "target": list(TARGETS), "wrt": case.wrt, **given}
    return xgraph.explain(model, case.x(), "gradient_shap", **given)


def draws(value: Array, level: float, *baselines: Any) -> list[tuple[Array, Array, Array]]:
    """Returns noise, position and baseline of every draw; ``gaussian`` and ``uniform`` are drawn for each."""
    rows, ones = np.arange(len(value)), (len(value), *[1] * (value.ndim - 1))
    axes = tuple(range(1, value.ndim))
    low, high = value.min(axis=axes, keepdims=True), value.max(axis=axes, keepdims=True)
    made = []
    for k, noise in enumerate(noises(value, SAMPLES, level)):
        draw = np.full(len(rows), k)
        alpha = uniforms("alpha", SEED, rows, draw).reshape(ones)
        choice = (uniforms("choice", SEED, rows, draw) * len(baselines)).astype(int)
        arrays = []
        for spec in baselines:
            if isinstance(spec, str) and spec == "gaussian":
                array = normals("baseline", SEED, rows, draw, value.shape[1:])
            elif isinstance(spec, str):
                array = low + (high - low) * uniforms("baseline", SEED, rows, draw, value.shape[1:])
            else:
                array = np.broadcast_to(spec, value.shape)
            arrays.append(array)
        made.append((noise, alpha, np.stack([arrays[which][row] for row, which in enumerate(choice)])))
    return made


@pytest.mark.parametrize(("name", "of"), PLACES_AND_OF)
def test_mean_over_draws(name: str, of: Any, net_model: Load) -> None:
    case, site = CASES[name], CASES[name].site(of)
    found = explain(net_model(case.net), case, of=of, noise=0.15)
    exact = gradient_shap(site.gradient, site.value, draws(site.value, 0.15, 0.0))
    assert_close(found.values[case.key], exact)
    covered = site.scores(site.value) - site.scores(np.zeros_like(site.value))
    gap = np.abs(exact.reshape(3, -1).sum(1) - covered)
    np.testing.assert_allclose(found.checks["score_difference"], covered, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.checks["completeness_gap"], gap, rtol=1e-4, atol=1e-5)


def arrays(site: Site) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.standard_normal(site.value.shape[1:]), rng.standard_normal(site.value.shape)


@pytest.mark.parametrize(
    "kind", ["number", "array", "per row", "several", "gaussian", "uniform", "mixed", "random twice"]
)
@pytest.mark.parametrize("name", ["flat image", "tabular"])
def test_baselines(name: str, kind: str, net_model: Load) -> None:
    case, site = CASES[name], CASES[name].site()
    one, each = arrays(site)
    given: Any = {
        "number": 0.5,
        "array": one,
        "per row": each,
        "several": (0.0, -0.5, one, each),
        "mixed": (0.5, "uniform"),
        "random twice": ("gaussian", "uniform"),
    }.get(kind, kind)
    made = draws(site.value, 0.1, *(given if isinstance(given, tuple) else (given,)))
    found = explain(net_model(case.net), case, baseline=given, noise=0.1)
    assert_close(found.values[case.key], gradient_shap(site.gradient, site.value, made))
    # What is covered begins where these draws begin.
    ends = sum(site.scores(baseline) for _, _, baseline in made) / SAMPLES
    np.testing.assert_allclose(found.checks["score_difference"], site.scores(site.value) - ends, rtol=1e-4, atol=1e-5)


def test_every_draw_has_a_baseline_of_its_own(net_model: Load) -> None:
    """With a linear model every draw gives w (x - b), so the mean is w (x - mean b), whatever the positions are."""
    x = CASES["tabular"].x()
    found = xgraph.explain(net_model("linear"), x, "gradient_shap", 0, samples=400, baseline="gaussian", seed=SEED)
    plain = xgraph.explain(net_model("linear"), x, "gradient_shap", 0, samples=1, baseline=0.0)
    weights = plain.values["x"] / x
    implied = x - found.values["x"] / weights
    assert np.abs(implied).max() < 5 / np.sqrt(400), "the mean of 400 standard normal baselines is near 0"


def test_the_choice_says_nothing_about_the_draw() -> None:
    """Which baseline is taken, and what a random one is, must come from streams that differ."""
    rows, draw = np.zeros(2000, np.int64), np.arange(2000)
    choice = uniforms("choice", SEED, rows, draw)
    for other in ("baseline", "alpha"):
        assert abs(np.corrcoef(choice, uniforms(other, SEED, rows, draw))[0, 1]) < 0.1
    assert abs(np.corrcoef(choice, normals("noise", SEED, rows, draw, ()))[0, 1]) < 0.1


def test_it_converges_to_integrated_gradients(net_model: Load) -> None:
    case = CASES["tabular"]
    exact = xgraph.explain(net_model("mlp"), case.x(), "integrated_gradients", list(TARGETS), steps=128).values["x"]
    errors = []
    for samples in (10, 4000):
        found = explain(net_model("mlp"), case, samples=samples)
        errors.append(np.abs(found.values["x"] - exact).max())
    assert errors[1] < errors[0] / 3
    assert errors[1] < 0.05 * np.abs(exact).max()


def test_interpretdl_explains_the_probability(net_model: Load) -> None:
    case, site = CASES["flat image"], CASES["flat image"].site("probability")
    found = explain(net_model("flat"), case, variant="interpretdl", noise=0.1)
    assert found.target.of == "probability"
    assert_close(found.values["image"], gradient_shap(site.gradient, site.value, draws(site.value, 0.1, 0.0)))


def test_reduce(net_model: Load) -> None:
    case, site = CASES["embedding"], CASES["embedding"].site()
    found = explain(net_model("tokens"), case, noise=0.1, reduce="sum")
    assert_close(found.values["ids"], gradient_shap(site.gradient, site.value, draws(site.value, 0.1, 0.0)).sum(-1))


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_batch_size_does_not_matter(batch: int, net_model: Load) -> None:
    given: dict[str, Any] = {"baseline": ("gaussian", "zero", "blur"), "noise": 0.1}
    expected = explain(net_model("cnn"), CASES["image"], **given)
    found = explain(net_model("cnn"), CASES["image"], batch=batch, **given)
    np.testing.assert_allclose(found.values["image"], expected.values["image"], rtol=1e-5, atol=1e-6)
    for check, numbers in expected.checks.items():
        np.testing.assert_allclose(found.checks[check], numbers, rtol=1e-4, atol=1e-6)


def test_explain_each(net_model: Load) -> None:
    case, targets = CASES["tabular"], [2, list(TARGETS), 0]
    given: dict[str, Any] = {"samples": SAMPLES, "seed": SEED, "baseline": "uniform", "noise": 0.1}
    found = xgraph.explain_each(net_model("mlp"), case.x(), "gradient_shap", targets, **given)
    for target, attribution in zip(targets, found, strict=True):
        alone = explain(net_model("mlp"), case, target=target, **given)
        np.testing.assert_allclose(attribution.values["x"], alone.values["x"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            attribution.checks["completeness_gap"], alone.checks["completeness_gap"], rtol=1e-3, atol=1e-6
        )


def test_seeds(net_model: Load) -> None:
    one, same, other = (explain(net_model("mlp"), CASES["tabular"], seed=s).values["x"] for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"samples": 0}, "samples=0.*count from 1"),
        ({"noise": -1.0}, "noise=-1.0.*from 0"),
        ({"baseline": "white"}, "baseline='white' is not known; it is a number, an array, or one of zero"),
        ({"baseline": ()}, "names no baseline"),
        ({"baseline": np.zeros((4, 3, 8, 8))}, r"\[4, 3, 8, 8\] does not fit 3 samples of shape \[3, 8, 8\]"),
        ({"wrt": "layer:pool", "baseline": "mean"}, "made from an input"),
    ],
)
def test_mistakes_are_one_clear_line(given: dict[str, Any], message: str, net_model: Load) -> None:
    with pytest.raises(XGraphError, match=message) as raised:
        explain(net_model("cnn"), CASES["image"], **given)
    assert "\n" not in str(raised.value)


def test_it_is_no_single_file(net_model: Load, tmp_path: Any) -> None:
    with pytest.raises(XGraphError, match=r"gradient_shap samples outside the graph.*compile a bundle"):
        xgraph.compile(net_model("cnn"), "gradient_shap").save(tmp_path / "a.onnx")
