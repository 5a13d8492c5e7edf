"""Integrated gradients against the literal sum over nodes, and as one file that runs with onnxruntime alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import builders
import numpy as np
import onnxruntime
import pytest

import xgraph
from xgraph.errors import MethodError, XGraphError
from xgraph.sampling.philox import normals, uniforms

torch = pytest.importorskip("torch")

from methods.cases import CASES, PLACES_AND_OF, SEED, TARGETS, Case, Load, assert_close  # noqa: E402
from methods.nets import INPUTS, net  # noqa: E402
from oracles import RIEMANN, Array, Site, legendre, path_integral, predicted  # noqa: E402

pytestmark = pytest.mark.torch

STEPS = 5
RULES = {**RIEMANN, "gauss_legendre": legendre}
PAPER = [rule for rule in RULES if rule != "interpretdl"]


def explain(model: xgraph.Model, case: Case, **given: Any) -> xgraph.Attribution:
    given = {"steps": STEPS, "seed": SEED, "target": list(TARGETS), "wrt": case.wrt, **given}
    return xgraph.explain(model, case.x(), "integrated_gradients", **given)


def literal(site: Site, baseline: Array | float = 0.0, steps: int = STEPS, rule: str = "gauss_legendre") -> Array:
    value = site.value
    return path_integral(site.gradient, value, np.broadcast_to(baseline, value.shape), *RULES[rule](steps))


def blurred(x: Array) -> Array:
    """A Gaussian of a tenth of the shorter side, cut off at four standard deviations; edges go on as they are."""
    sigma = 0.1 * min(x.shape[2:])
    reach = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (2, 3):
        pads = [(0, 0)] * 4
        pads[axis] = (reach, reach)
        padded = np.pad(x, pads, mode="edge")
        x = sum(w * np.take(padded, np.arange(i, i + x.shape[axis]), axis) for i, w in enumerate(kernel))
    return x


def drawn(kind: str, value: Array, trial: int) -> Array:
    """Returns the random baseline number ``trial`` of every row."""
    rows = np.arange(len(value))
    trials = np.full(len(rows), trial)
    if kind == "gaussian":
        return normals("baseline", SEED, rows, trials, value.shape[1:])
    axes = tuple(range(1, value.ndim))
    low, high = value.min(axis=axes, keepdims=True), value.max(axis=axes, keepdims=True)
    return low + (high - low) * uniforms("baseline", SEED, rows, trials, value.shape[1:])


@pytest.mark.parametrize(("name", "of"), PLACES_AND_OF)
def test_sum_over_nodes(name: str, of: Any, net_model: Load) -> None:
    case, site = CASES[name], CASES[name].site(of)
    found = explain(net_model(case.net), case, of=of)
    exact = literal(site)
    assert_close(found.values[case.key], exact)
    covered = site.scores(site.value) - site.scores(np.zeros_like(site.value))
    gap = np.abs(exact.reshape(3, -1).sum(1) - covered)
    scale = np.abs(covered).max()
    np.testing.assert_allclose(found.checks["score_difference"], covered, atol=1e-5 * scale)
    np.testing.assert_allclose(found.checks["completeness_gap"], gap, atol=1e-5 * scale)
    assert found.provenance.samples == STEPS


@pytest.mark.parametrize("steps", [2, 7])
@pytest.mark.parametrize("rule", PAPER)
@pytest.mark.parametrize("name", ["flat image", "embedding"])
def test_rules(name: str, rule: Any, steps: int, net_model: Load) -> None:
    case, site = CASES[name], CASES[name].site()
    found = explain(net_model(case.net), case, rule=rule, steps=steps)
    assert_close(found.values[case.key], literal(site, 0.0, steps, rule))


@pytest.mark.parametrize(("name", "of"), [("image", "probability"), ("embedding", "logit")])
def test_interpretdl(name: str, of: str, net_model: Load) -> None:
    case, site = CASES[name], CASES[name].site(of)
    found = explain(net_model(case.net), case, variant="interpretdl", steps=6)
    assert found.target.of == of
    assert_close(found.values[case.key], literal(site, 0.0, 6, "interpretdl"))


def test_interpretdl_with_one_step_looks_at_the_baseline(net_model: Load) -> None:
    case, site = CASES["tabular"], CASES["tabular"].site("probability")
    found = explain(net_model(case.net), case, variant="interpretdl", steps=1, baseline=0.5)
    start = np.full_like(site.value, 0.5)
    assert_close(found.values["x"], (site.value - start) * site.gradient(start))


@pytest.mark.parametrize("name", ["flat image", "tabular", "layer", "embedding"])
def test_constant_baselines(name: str, net_model: Load) -> None:
    case, site = CASES[name], CASES[name].site()
    value, rng = site.value, np.random.default_rng(0)
    one, each = rng.standard_normal(value.shape[1:]), rng.standard_normal(value.shape)
    model = net_model(case.net)
    for given, means in ((2, 2.0), (one, one), (one[None], one), (each, each)):
        found = explain(model, case, baseline=given)
        assert_close(found.values[case.key], literal(site, means))
    many = explain(model, case, baseline=("zero", -0.75, one, each))
    assert_close(many.values[case.key], sum(literal(site, b) for b in (0.0, -0.75, one, each)) / 4)
    covered = site.scores(value) - sum(site.scores(np.broadcast_to(b, value.shape)) for b in (0, -0.75, one, each)) / 4
    np.testing.assert_allclose(many.checks["score_difference"], covered, rtol=1e-4, atol=1e-5)
    assert many.provenance.samples == 4 * STEPS


def test_a_list_is_a_tuple(net_model: Load) -> None:
    case = CASES["tabular"]
    results = [explain(net_model("mlp"), case, baseline=kind(["zero", 1.0])).values["x"] for kind in (list, tuple)]
    np.testing.assert_array_equal(*results)


def test_baselines_made_from_images(net_model: Load) -> None:
    case, site = CASES["flat image"], CASES["flat image"].site()
    value, model = site.value, net_model("flat")
    mean = np.stack([[np.full((8, 8), channel.mean()) for channel in row] for row in value])
    assert_close(explain(model, case, baseline="mean").values["image"], literal(site, mean))
    assert_close(explain(model, case, baseline="blur").values["image"], literal(site, blurred(value)))
    both = (literal(site, mean) + literal(site, blurred(value))) / 2
    assert_close(explain(model, case, baseline=("mean", "blur"), batch=7).values["image"], both)


@pytest.mark.parametrize("kind", ["uniform", "gaussian"])
@pytest.mark.parametrize("name", ["flat image", "tabular"])
def test_random_baselines(name: str, kind: str, net_model: Load) -> None:
    case, site = CASES[name], CASES[name].site()
    exact = sum(literal(site, drawn(kind, site.value, trial)) for trial in range(3)) / 3
    for batch in (None, 4):
        assert_close(explain(net_model(case.net), case, baseline=kind, trials=3, batch=batch).values[case.key], exact)
    other = explain(net_model(case.net), case, baseline=kind, trials=3, seed=SEED + 1).values[case.key]
    assert np.abs(other - exact).max() > 1e-2 * np.abs(exact).max()


def test_gaussian_baselines_of_embeddings(net_model: Load) -> None:
    case, site = CASES["embedding"], CASES["embedding"].site()
    found = explain(net_model("tokens"), case, baseline="gaussian", trials=2)
    assert_close(found.values["ids"], sum(literal(site, drawn("gaussian", site.value, t)) for t in range(2)) / 2)


def test_trials_are_drawn_for_a_tuple_too(net_model: Load) -> None:
    """Baseline number j of the repeated tuple is drawn as number j."""
    case, site = CASES["tabular"], CASES["tabular"].site()
    found = explain(net_model("mlp"), case, baseline=("gaussian", 0.0), trials=2)
    parts = [drawn("gaussian", site.value, 0), 0.0, drawn("gaussian", site.value, 2), 0.0]
    assert_close(found.values["x"], sum(literal(site, b) for b in parts) / 4)


@pytest.mark.parametrize("rule", PAPER)
def test_a_linear_model_is_explained_exactly(rule: Any, net_model: Load) -> None:
    x, weights = CASES["tabular"].x(), net("linear").head.weight.detach().numpy().astype(np.float64)
    found = xgraph.explain(
        net_model("linear"), x, "integrated_gradients", list(TARGETS), rule=rule, steps=3, baseline=0.3
    )
    assert_close(found.values["x"], (x - 0.3) * weights[list(TARGETS)])
    np.testing.assert_allclose(found.checks["completeness_gap"], 0, atol=1e-5)


def test_gauss_legendre_is_exact_where_the_gradient_is_linear(net_model: Load) -> None:
    x = CASES["tabular"].x()
    found = xgraph.explain(net_model("quadratic"), x, "integrated_gradients", list(TARGETS), steps=1, baseline=0.3)
    np.testing.assert_allclose(found.checks["completeness_gap"], 0, atol=1e-5 * np.abs(found.scores).max())
    case = Case("quadratic", "input:x", "")
    assert_close(found.values["x"], literal(case.site(), 0.3, 50, "riemann_middle"))


@pytest.mark.parametrize("rule", PAPER)
def test_the_gap_shrinks_with_steps(rule: Any, net_model: Load) -> None:
    case = CASES["flat image"]
    gaps = [
        explain(net_model("flat"), case, rule=rule, steps=steps).checks["completeness_gap"].max()
        for steps in (2, 8, 64)
    ]
    assert gaps[2] < gaps[0] / 10
    assert gaps[2] < max(gaps[1], 1e-5)


def literal_trapezoid(site: Site, nodes: Array) -> Array:
    """The trapezoid rule with so many nodes for every row."""
    return np.concatenate(
        [
            path_integral(one.gradient, one.value, np.zeros_like(one.value), *RULES["trapezoid"](int(count)))
            for one, count in ((site.repeated(row, 1), count) for row, count in enumerate(nodes))
        ]
    )


@pytest.mark.parametrize(("name", "tolerance"), [("flat image", 0.02), ("embedding", 0.001), ("tabular", 0.02)])
def test_tolerance_is_reached_row_by_row(name: str, tolerance: float, net_model: Load) -> None:
    case = CASES[name]
    model = net_model(case.net)
    counts: list[int] = []
    targets = (0, 3, 1, 2, 4, 0)
    found = xgraph.explain(
        model,
        case.x(6),
        "integrated_gradients",
        list(targets),
        steps=3,
        tolerance=tolerance,
        wrt=case.wrt,
        batch=1,
        progress=lambda done, total: counts.append(done),
    )
    used = np.asarray(found.details["steps"])
    gap, covered = found.checks["completeness_gap"], found.checks["score_difference"]
    assert (gap <= tolerance * np.abs(covered)).all()
    assert all(count in (3, 5, 9, 17, 33, 65, 129, 257) for count in used)
    assert len(set(used.tolist())) > 1, "the test shows nothing unless rows differ"
    assert_close(found.values[case.key], literal_trapezoid(case.site(targets=targets), used))
    # One row before would not have been enough: nothing is refined for nothing.
    site = case.site(targets=targets)
    before = literal_trapezoid(site, np.maximum((used - 1) // 2 + 1, 2)).reshape(6, -1).sum(1)
    exact = site.scores(site.value) - site.scores(np.zeros_like(site.value))
    refined = used > 3
    assert (np.abs(before - exact)[refined] > 0.99 * tolerance * np.abs(exact)[refined]).all()
    # Nodes are used again: passes are as many as nodes, the clean sample and the baseline.
    assert len(counts) == used.sum() + 2 * 6


def test_rows_do_not_matter_to_each_others_nodes(net_model: Load) -> None:
    case = CASES["flat image"]
    given: dict[str, Any] = {"steps": 3, "tolerance": 0.02}
    together = explain(net_model("flat"), case, **given)
    for row in range(3):
        alone = xgraph.explain(
            net_model("flat"), case.x()[row : row + 1], "integrated_gradients", [TARGETS[row]], **given
        )
        assert alone.details["steps"][0] == together.details["steps"][row]
        np.testing.assert_allclose(alone.values["image"][0], together.values["image"][row], rtol=1e-4, atol=1e-6)


def test_max_steps_is_respected(net_model: Load) -> None:
    case = CASES["flat image"]
    found = explain(net_model("flat"), case, steps=3, tolerance=0.0, max_steps=20)
    assert found.details["steps"].tolist() == [17, 17, 17]
    assert_close(found.values["image"], literal(case.site(), 0.0, 17, "trapezoid"))
    # Too few for any refinement: still told.
    found = explain(net_model("flat"), case, steps=3, tolerance=0.0, max_steps=4)
    assert found.details["steps"].tolist() == [3, 3, 3]


def test_tolerance_with_several_baselines_and_targets(net_model: Load) -> None:
    case = CASES["tabular"]
    given: dict[str, Any] = {"steps": 3, "tolerance": 0.02, "baseline": ("gaussian", "zero"), "wrt": "input:x"}
    model, targets = net_model("mlp"), [0, list(TARGETS)]
    found = xgraph.explain_each(model, case.x(), "integrated_gradients", targets, seed=SEED, **given)
    for target, attribution in zip(targets, found, strict=True):
        alone = explain(model, case, target=target, **given)
        np.testing.assert_allclose(attribution.values["x"], alone.values["x"], rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(attribution.details["steps"], alone.details["steps"])
        covered = np.abs(attribution.checks["score_difference"])
        assert (attribution.checks["completeness_gap"] <= 0.02 * covered).all()


def test_base_input_x_gradient_is_taken_at_every_node(net_model: Load) -> None:
    case, site = CASES["tabular"], CASES["tabular"].site()
    found = explain(net_model("mlp"), case, base="input_x_gradient", baseline=0.5)
    start = np.full_like(site.value, 0.5)
    exact = path_integral(lambda v: v * site.gradient(v), site.value, start, *legendre(STEPS))
    assert_close(found.values["x"], exact)


def test_reduce(net_model: Load) -> None:
    case, site = CASES["embedding"], CASES["embedding"].site()
    found = explain(net_model("tokens"), case, reduce="sum")
    assert found.values["ids"].shape == (3, 6)
    assert_close(found.values["ids"], literal(site).sum(-1))
    covered = site.scores(site.value) - site.scores(np.zeros_like(site.value))
    np.testing.assert_allclose(found.checks["score_difference"], covered, rtol=1e-4, atol=1e-5)


def test_two_inputs_move_together(load_proto: Any) -> None:
    model = load_proto(builders.features_model())
    rng = np.random.default_rng(0)
    x = {name: rng.standard_normal((3, 4)).astype(np.float32) for name in "ab"}
    found = xgraph.explain(model, x, "integrated_gradients", 1, steps=STEPS, baseline=0.5)
    totals = {name: np.zeros((3, 4)) for name in "ab"}
    for node, weight in zip(*legendre(STEPS), strict=True):
        there = {name: (0.5 + node * (array - 0.5)).astype(np.float32) for name, array in x.items()}
        for name, gradient in xgraph.explain(model, there, "gradient", 1).values.items():
            totals[name] += weight * gradient
    for name, total in totals.items():
        assert_close(found.values[name], (x[name] - 0.5) * total)
    shares = sum(values.sum(1) for values in found.values.values())
    gap = np.abs(shares - found.checks["score_difference"])
    np.testing.assert_allclose(gap, found.checks["completeness_gap"], atol=1e-6)


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_batch_size_does_not_matter(batch: int, net_model: Load) -> None:
    case = CASES["image"]
    expected = explain(net_model("cnn"), case, baseline=("uniform", "zero")).values["image"]
    found = explain(net_model("cnn"), case, baseline=("uniform", "zero"), batch=batch).values["image"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "image": ("image", {}),
    "number": ("flat image", {"baseline": -0.5, "rule": "trapezoid"}),
    "array": ("image", {"baseline": np.linspace(-1, 1, 192).reshape(3, 8, 8)}),
    "array of one": ("tabular", {"baseline": np.linspace(-1, 1, 8)[None]}),
    "tuple": ("flat image", {"baseline": ("zero", 0.5, np.linspace(-1, 1, 192).reshape(3, 8, 8))}),
    "layer": ("layer", {"baseline": 0.25}),
    "embedding": ("embedding", {"reduce": "sum"}),
    "tabular": ("tabular", {"baseline": (0.0, np.linspace(-1, 1, 8)), "steps": 3}),
    "interpretdl": ("flat image", {"variant": "interpretdl"}),
    "input_x_gradient": ("tabular", {"base": "input_x_gradient", "baseline": 0.5}),
}


@pytest.mark.parametrize(
    ("name", "of"), [*((name, "logit") for name in FILES), ("image", "probability"), ("tuple", "loss")]
)
def test_one_file_says_what_the_program_says(name: str, of: Any, net_model: Load, tmp_path: Path) -> None:
    label, given = FILES[name]
    case = CASES[label]
    program = xgraph.compile(
        net_model(case.net), "integrated_gradients", of=of, wrt=case.wrt, **{"steps": STEPS, **given}
    )
    session = onnxruntime.InferenceSession(program.save(tmp_path / "ig.onnx"), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == [INPUTS[case.net], "xg_target"]
    assert [o.name for o in session.get_outputs()] == ["logits", "xg_attribution"]
    site = case.site(of)
    for targets, classes in (([-1] * 3, None), (TARGETS, list(TARGETS))):
        feeds = {INPUTS[case.net]: case.x(), "xg_target": np.asarray(targets, np.int64)}
        logits, found = session.run(None, feeds)
        expected = program(case.x(), classes)
        np.testing.assert_allclose(found, expected.values[case.key], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(logits, site.logits(site.value), rtol=1e-4, atol=1e-5)
        one = session.run(None, {key: array[1:2] for key, array in feeds.items()})[1]
        np.testing.assert_allclose(one[0], found[1], rtol=1e-4, atol=1e-6)


def test_one_file_takes_the_predicted_class_of_the_sample(net_model: Load, tmp_path: Path) -> None:
    case = CASES["flat image"]
    path = xgraph.compile(net_model("flat"), "integrated_gradients", steps=STEPS).save(tmp_path / "ig.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(["xg_attribution"], {"image": case.x(), "xg_target": np.full(3, -1, np.int64)})[0]
    classes = predicted(net("flat"), case.site().x)
    assert_close(found, literal(case.site(targets=tuple(classes))))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"baseline": "blur"}, "baseline='blur' is made outside the graph"),
        ({"baseline": "mean"}, "baseline='mean' is made outside the graph"),
        ({"baseline": "gaussian"}, "baseline='gaussian' is made outside the graph"),
        ({"baseline": ("zero", "uniform")}, "baseline='uniform' is made outside the graph"),
        ({"baseline": np.zeros((2, 3, 8, 8))}, r"an array of shape \[2, 3, 8, 8\] is made outside the graph"),
        ({"tolerance": 0.01}, "with a tolerance chooses its nodes as it runs"),
        ({"baseline": np.zeros((3, 9, 9))}, r"\[3, 9, 9\] does not fit"),
    ],
)
def test_what_cannot_be_one_file(given: dict[str, Any], message: str, net_model: Load, tmp_path: Path) -> None:
    program = xgraph.compile(net_model("flat"), "integrated_gradients", **given)
    with pytest.raises(MethodError, match=message) as raised:
        program.save(tmp_path / "ig.onnx")
    assert "\n" not in str(raised.value)
    assert "bundle" in str(raised.value) or "fit" in str(raised.value)
    assert not (tmp_path / "ig.onnx").exists()


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("image", {"steps": 0}, "steps=0"),
        ("image", {"trials": 0}, "trials=0"),
        ("image", {"tolerance": 0.1, "steps": 32, "max_steps": 8}, "max_steps=8; .*steps=32"),
        ("image", {"tolerance": -0.1}, "tolerance=-0.1"),
        ("image", {"baseline": "black"}, "baseline='black' is not known; it is a number, an array, or one of zero"),
        ("image", {"baseline": ()}, "names no baseline"),
        ("image", {"baseline": np.zeros((3, 9, 9))}, r"\[3, 9, 9\] does not fit 3 samples of shape \[3, 8, 8\]"),
        ("image", {"baseline": np.zeros((2, 3, 8, 8))}, r"\[2, 3, 8, 8\] does not fit 3 samples of shape"),
        ("image", {"baseline": np.zeros((5, 3, 8, 8))}, r"\[5, 3, 8, 8\] does not fit"),
        ("image", {"baseline": np.full((3, 8, 8), np.nan)}, "finite"),
        ("tabular", {"baseline": "blur"}, "baseline='blur' is for images"),
        ("tabular", {"baseline": "mean"}, "baseline='mean' is for"),
        ("embedding", {"baseline": "uniform"}, "made from an input; for layers and embeddings use"),
        ("layer", {"baseline": "blur"}, "made from an input; for layers and embeddings use"),
        ("image", {"base": "grad_cam", "wrt": None}, "'grad_cam' explains layer:act, not input:image"),
        ("image", {"base": "grad_cam"}, "does not fit the base method 'grad_cam'"),
        ("image", {"base": "smooth_grad", "wrt": None}, "not one backward pass"),
        ("image", {"base": "integrated_gradients"}, "not one backward pass"),
        ("image", {"rule": "simpson"}, "rule='simpson' should be one of"),
        ("embedding", {"wrt": "input:ids"}, "has no gradient; use wrt='embedding:ids'"),
    ],
)
def test_mistakes_are_one_clear_line(name: str, given: dict[str, Any], message: str, net_model: Load) -> None:
    with pytest.raises(XGraphError, match=message) as raised:
        explain(net_model(CASES[name].net), CASES[name], **given)
    assert "\n" not in str(raised.value)
