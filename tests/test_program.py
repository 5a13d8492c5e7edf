"""Programs: one graph for every class, any grouping into batches, and a file that runs without xgraph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import builders
import numpy as np
import onnx
import onnxruntime
import pytest

import xgraph
from xgraph import Target
from xgraph.errors import BundleError, InputError, LayerError, MethodError, ProviderError, TargetError
from xgraph.model import Model
from xgraph.plan import Recipe

TIGHT = {"rtol": 1e-5, "atol": 1e-6}
"""Sums in another order, as other batch sizes choose other kernels."""
Load = Callable[[onnx.ModelProto], Model]


@pytest.fixture(scope="module")
def tokens(load_proto: Load) -> Model:
    return load_proto(builders.token_model(mask=True))


@pytest.fixture(scope="module")
def multi(load_proto: Load) -> Model:
    return load_proto(builders.multi_output())


@pytest.fixture(scope="module")
def features(load_proto: Load) -> Model:
    return load_proto(builders.features_model())


@pytest.fixture
def sentence() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    mask = np.ones((3, 6), np.int64)
    mask[1, 4:] = 0
    return {"ids": rng.integers(0, 20, (3, 6)), "attention_mask": mask}


METHODS = ["gradient", "input_x_gradient", "grad_cam"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("batch", [1, 2, 3, 5, 7, 64, None])
def test_grouping_into_batches_does_not_matter(tiny_model: Model, images: np.ndarray, method: str, batch: Any) -> None:
    together = xgraph.explain(tiny_model, images, method, batch=7)
    grouped = xgraph.explain(tiny_model, images, method, batch=batch)
    np.testing.assert_allclose(grouped.scores, together.scores, **TIGHT)
    for name, values in together.values.items():
        np.testing.assert_allclose(grouped.values[name], values, **TIGHT)


@pytest.mark.parametrize("method", [info.name for info in xgraph.list_methods()])
def test_no_method_depends_on_batches_and_threads(tiny_model: Model, images: np.ndarray, method: str) -> None:
    together = xgraph.explain(tiny_model, images, method, batch=64)
    grouped = xgraph.explain(tiny_model, images, method, batch=5, threads=1)
    np.testing.assert_allclose(grouped.scores, together.scores, **TIGHT)
    for name, values in together.values.items():
        np.testing.assert_allclose(grouped.values[name], values, **TIGHT)


@pytest.mark.parametrize("method", METHODS)
def test_rows_do_not_see_each_other(tiny_model: Model, images: np.ndarray, method: str) -> None:
    together = xgraph.explain(tiny_model, images, method)
    for row in (0, 3, 6):
        alone = xgraph.explain(tiny_model, images[row : row + 1], method)
        for name, values in together.values.items():
            np.testing.assert_allclose(alone.values[name][0], values[row], **TIGHT)


def test_a_fixed_batch_runs_one_sample_at_a_time(load_proto: Load) -> None:
    proto = builders.fixed_batch(1)
    model = load_proto(proto)
    assert model.batch == 1
    x = np.random.default_rng(0).standard_normal((3, 3, 8, 8)).astype(np.float32)
    calls: list[tuple[int, int]] = []
    found = xgraph.explain(model, x, target=1, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    oracle = builders.Oracle(proto)
    for row in range(3):
        expected = oracle({"image": x[row : row + 1]})["logits"][0, 1]
        assert found.scores[row] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(xgraph.explain(model, x[2:], target=1).values["image"][0], found.values["image"][2])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("of", ["logit", "loss"])
def test_explain_each_equals_one_by_one(tiny_model: Model, images: np.ndarray, method: str, of: Any) -> None:
    targets = [0, Target.top(), [0, 1, 2, 3, 4, 0, 1], Target.top(2), 4]
    together = xgraph.explain_each(tiny_model, images, method, targets, of=of)
    assert len(together) == len(targets)
    for target, found in zip(targets, together, strict=True):
        alone = xgraph.explain(tiny_model, images, method, target, of=of)
        assert found.target.labels == alone.target.labels
        np.testing.assert_allclose(found.scores, alone.scores, **TIGHT)
        for name, values in alone.values.items():
            np.testing.assert_allclose(found.values[name], values, **TIGHT)


@pytest.mark.parametrize("count", [1, 8, 9, 17])
def test_explain_each_takes_any_number_of_targets(tiny_model: Model, images: np.ndarray, count: int) -> None:
    targets = [i % builders.CLASSES for i in range(count)]
    found = xgraph.explain_each(tiny_model, images[:2], targets=targets)
    assert [a.target.classes.tolist() for a in found if a.target.classes is not None] == [[t, t] for t in targets]
    first = dict(zip(targets, found, strict=True))
    for target, attribution in zip(targets, found, strict=True):
        np.testing.assert_allclose(attribution.values["image"], first[target].values["image"], **TIGHT)


def test_explain_each_over_a_map(multi: Model) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    targets = [Target.pixel(1, 2, 3, output="map"), Target.region(0, np.ones((8, 8)), output="map")]
    for target, found in zip(targets, xgraph.explain_each(multi, x, targets=targets), strict=True):
        np.testing.assert_allclose(
            found.values["image"], xgraph.explain(multi, x, target=target).values["image"], **TIGHT
        )


def test_explain_each_refuses_mixtures(tiny_model: Model, multi: Model, images: np.ndarray) -> None:
    with pytest.raises(TargetError, match="at least one target"):
        xgraph.explain_each(tiny_model, images, targets=[])
    with pytest.raises(TargetError, match="of one kind"):
        xgraph.explain_each(tiny_model, images, targets=[1, Target.contrast(0, 1)])
    with pytest.raises(TargetError, match="of one kind"):
        xgraph.explain_each(tiny_model, images, targets=[1, Target.index(1, of="loss")])
    # One output by its name and by default is one output.
    found = xgraph.explain_each(multi, images[:1, :, :8, :8], targets=[1, Target.index(1, output="logits")])
    np.testing.assert_allclose(found[0].values["image"], found[1].values["image"], **TIGHT)


def test_a_program_takes_any_class(tiny_model: Model, images: np.ndarray) -> None:
    program = xgraph.compile(tiny_model, "gradient")
    for target in (None, 2, [0, 1, 2, 3, 4, 0, 1], Target.top(3), Target.contrast(0, 1)):
        found, expected = program(images, target), xgraph.explain(tiny_model, images, target=target)
        np.testing.assert_allclose(found.values["image"], expected.values["image"], **TIGHT)
        assert found.target.labels == expected.target.labels


def test_a_program_keeps_to_its_output_and_number(multi: Model) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    loss = xgraph.compile(multi, "gradient", of="loss")
    assert loss(x, 3).target.of == "loss"
    with pytest.raises(TargetError, match="explains the loss of 'logits'; compile another one for the logit"):
        loss(x, Target.index(3))
    with pytest.raises(TargetError, match="compile another one for the loss of 'map'"):
        loss(x, Target.pixel(0, 0, 0, output="map", of="loss"))


def test_a_program_of_a_map_takes_entries(multi: Model) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    program = xgraph.compile(multi, "gradient", output="map")
    found = program(x, Target.pixel(2, 1, 1))
    assert found.target.output == "map"
    expected = xgraph.explain(multi, x, target=Target.pixel(2, 1, 1, output="map"))
    np.testing.assert_allclose(found.values["image"], expected.values["image"], **TIGHT)
    with pytest.raises(TargetError, match="no predicted class: say what to explain with"):
        program(x)


def test_a_second_output_is_explained_by_its_own_size(features: Model) -> None:
    x = {"a": np.ones((2, 4), np.float32), "b": np.ones((2, 4), np.float32)}
    program = xgraph.compile(features, "gradient", output="alone", wrt="input:a")
    assert program(x, 1).target.output == "alone"
    # 'logits' has three classes, 'alone' has two.
    with pytest.raises(TargetError, match="target 2 does not exist: the output has 2 classes"):
        program(x, 2)


def test_every_float_input_by_default(features: Model) -> None:
    rng = np.random.default_rng(0)
    x = {name: rng.standard_normal((2, 4)).astype(np.float32) for name in ("a", "b")}
    found = xgraph.explain(features, x, "input_x_gradient", 0)
    assert set(found.values) == {"a", "b"}
    alone = xgraph.explain(features, x, "input_x_gradient", 0, wrt="input:b")
    assert set(alone.values) == {"b"}
    np.testing.assert_allclose(alone.values["b"], found.values["b"], **TIGHT)
    several = xgraph.explain_each(features, x, "input_x_gradient", [0, 1])
    np.testing.assert_allclose(several[0].values["a"], found.values["a"], **TIGHT)


def test_what_does_not_influence_is_said(features: Model) -> None:
    x = {"a": np.ones((1, 4), np.float32), "b": np.ones((1, 4), np.float32)}
    with pytest.raises(LayerError, match="input:b does not influence the logit of 'alone'"):
        xgraph.explain(features, x, target=Target.index(0, output="alone"), wrt="input:b")


def test_token_embeddings(tokens: Model, sentence: dict[str, np.ndarray]) -> None:
    found = xgraph.explain(tokens, sentence, target=1)
    assert found.values["ids"].shape == (3, 6, 6)
    np.testing.assert_array_equal(found.values["ids"][1, 4:], 0)
    product = xgraph.explain(tokens, sentence, "input_x_gradient", 1)
    summed = xgraph.explain(tokens, sentence, "input_x_gradient", 1, reduce="sum")
    assert summed.values["ids"].shape == (3, 6)
    np.testing.assert_allclose(summed.values["ids"], product.values["ids"].sum(axis=-1), **TIGHT)
    explicit = xgraph.explain(tokens, sentence, target=1, wrt="embedding:ids")
    np.testing.assert_array_equal(explicit.values["ids"], found.values["ids"])


def test_token_gradient_against_differences(tokens: Model, sentence: dict[str, np.ndarray]) -> None:
    """Moves the table's rows: the change is the sum of the gradients of the tokens that use the row."""
    found = xgraph.explain(tokens, sentence, target=1).values["ids"].astype(np.float64)
    proto = builders.token_model(mask=True)
    step = 1e-3
    for row in np.unique(sentence["ids"])[:4]:
        ends = []
        for sign in (1, -1):
            moved = onnx.ModelProto()
            moved.CopyFrom(proto)
            (index,) = [i for i, t in enumerate(moved.graph.initializer) if t.name == "table"]
            table = onnx.numpy_helper.to_array(moved.graph.initializer[index]).astype(np.float64)
            table[row] += sign * step
            moved.graph.initializer[index].CopyFrom(onnx.numpy_helper.from_array(table.astype(np.float32), "table"))
            ends.append(builders.Oracle(moved)(sentence)["logits"][:, 1])
        uses = (sentence["ids"] == row)[..., None]
        np.testing.assert_allclose((found * uses).sum(axis=(1, 2)), (ends[0] - ends[1]) / (2 * step), atol=1e-4)


@pytest.mark.parametrize("layer", ["stem.conv", "stem.relu", "block.add", "gap", "logits"])
def test_a_layer_is_explained_in_its_own_shape(tiny_model: Model, images: np.ndarray, layer: str) -> None:
    found = xgraph.explain(tiny_model, images, wrt=f"layer:{layer}", target=3)
    shape = {item.name: item.shape for item in tiny_model.layers}[layer]
    assert found.values[layer].shape == (7, *shape[1:])
    assert np.abs(found.values[layer]).max() > 0


def test_grad_cam_by_its_formula(tiny_model: Model, images: np.ndarray) -> None:
    gradient = xgraph.explain(tiny_model, images, wrt="layer:block.relu", target=0).values["block.relu"]
    product = xgraph.explain(tiny_model, images, "input_x_gradient", 0, wrt="layer:block.relu").values["block.relu"]
    activation = np.divide(product, gradient, out=np.zeros_like(product), where=gradient != 0)
    weights = gradient.mean(axis=(2, 3), keepdims=True)
    expected = np.maximum((weights * activation).sum(axis=1), 0)
    found = xgraph.explain(tiny_model, images, "grad_cam", 0).values["block.relu"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "parameters", "error", "message"),
    [
        ("gradien", {}, MethodError, "did you mean 'gradient'"),
        ("gradient", {"wrtt": "x"}, MethodError, "no parameter 'wrtt'; did you mean 'wrt'"),
        ("grad_cam", {"relu": 1}, MethodError, "relu=1 should be bool"),
        ("grad_cam", {"layer": "stem.rel"}, LayerError, "did you mean 'stem.relu'"),
        ("grad_cam", {"layer": "logits"}, MethodError, r"shape \['batch', 5\], without spatial axes; choose a layer"),
        ("gradient", {"reduce": "mean"}, MethodError, "reduce='mean' should be one of 'sum' or None"),
        ("gradient", {"wrt": "stem.relu"}, LayerError, "write 'input:NAME', 'layer:NAME'"),
        ("gradient", {"wrt": "input:img"}, LayerError, "no input 'img'; did you mean 'image'"),
        ("gradient", {"wrt": "embedding:image"}, LayerError, "no embedding was found"),
        ("gradient", {"wrt": "attention:0"}, LayerError, "no attention map '0': the model has 0"),
    ],
)
def test_methods_and_places_refused(
    tiny_model: Model, images: np.ndarray, method: str, parameters: dict[str, Any], error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        xgraph.explain(tiny_model, images, method, **parameters)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch": 0}, InputError, "batch=0 should be a whole number from 1"),
        ({"batch": -2}, InputError, "batch=-2"),
        ({"batch": 2.5}, InputError, "batch=2.5"),
        ({"threads": 0}, InputError, "threads=0"),
        ({"device": "tpu"}, ProviderError, "device 'tpu' is not one of auto, cpu"),
        ({"precision": "int4"}, ProviderError, "precision 'int4' is not one of"),
        ({"precision": "bf16"}, ProviderError, "bf16 runs on device openvino only"),
    ],
)
def test_settings_refused(tiny_model: Model, images: np.ndarray, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        xgraph.explain(tiny_model, images, **options)


def test_progress_and_threads(tiny_model: Model, images: np.ndarray) -> None:
    calls: list[tuple[int, int]] = []
    found = xgraph.explain(
        tiny_model, images, batch=3, threads=1, progress=lambda done, total: calls.append((done, total))
    )
    assert calls == [(3, 7), (6, 7), (7, 7)]
    np.testing.assert_allclose(found.values["image"], xgraph.explain(tiny_model, images).values["image"], **TIGHT)


DRAWING: dict[str, dict[str, Any]] = {
    "smooth_grad": {"samples": 3},
    "gradient_shap": {"samples": 3, "baseline": ("uniform", "gaussian"), "noise": 0.1},
    "integrated_gradients": {"steps": 3, "baseline": "gaussian", "trials": 2},
}


@pytest.mark.parametrize("method", DRAWING)
def test_draws_go_by_the_number_of_a_row(tiny_model: Model, images: np.ndarray, method: str) -> None:
    """A row is the same explained alone, as number k, or among others."""
    program = xgraph.compile(tiny_model, method, **DRAWING[method])
    settings, target = program.settings(), program.target
    together = program(images, seed=3)
    for first, last in ((0, 2), (2, 3), (3, 7)):
        (found,) = program.explain([target], {"image": images[first:last]}, settings, 3, first)
        np.testing.assert_allclose(found.values["image"], together.values["image"][first:last], **TIGHT)
        for name, check in found.checks.items():
            np.testing.assert_allclose(check, together.checks[name][first:last], rtol=1e-4, atol=1e-5)
    (as_first,) = program.explain([target], {"image": images[2:3]}, settings, 3)
    assert np.abs(as_first.values["image"] - together.values["image"][2:3]).max() > 1e-4


def test_samples_under_a_tolerance_are_the_most_that_a_row_took(tiny_model: Model, images: np.ndarray) -> None:
    found = xgraph.explain(tiny_model, images, "integrated_gradients", steps=2, tolerance=1e-4, max_steps=64)
    assert found.details["steps"].max() > 2
    assert found.provenance.samples == found.details["steps"].max()


@pytest.mark.parametrize("method", ["gradient", "smooth_grad"])
@pytest.mark.parametrize("seed", [-1, 2**128, 1.5, "a", True, None])
def test_seeds_refused(tiny_model: Model, images: np.ndarray, method: str, seed: Any) -> None:
    with pytest.raises(InputError, match=r"seed=.* should be a whole number from 0"):
        xgraph.explain(tiny_model, images, method, seed=seed)
    with pytest.raises(InputError, match="seed="):
        xgraph.explain_each(tiny_model, images, method, [0, 1], seed=seed)


def test_a_numpy_seed_can_be_saved(tiny_model: Model, images: np.ndarray, tmp_path: Path) -> None:
    found = xgraph.explain(tiny_model, images[:1], "smooth_grad", samples=2, seed=np.int64(3))
    assert xgraph.Attribution.load(found.save(tmp_path / "a.npz")).provenance.seed == 3


def test_the_probability_of_the_class(tiny_model: Model, images: np.ndarray) -> None:
    probability = xgraph.explain(tiny_model, images, of="probability")
    for method, of in (("gradient", "logit"), ("gradient", "loss"), ("smooth_grad", "logit")):
        found = xgraph.explain(tiny_model, images, method, of=of)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.details["probability"], probability.scores, rtol=1e-4)


def test_provenance(tiny_model: Model, images: np.ndarray) -> None:
    found = xgraph.explain(tiny_model, images, "grad_cam", relu=False)
    assert found.method == "grad_cam"
    assert dict(found.parameters) == {"layer": None, "relu": False, "variant": "paper"}
    assert found.provenance.model_digest == tiny_model.digest
    assert found.provenance.provider == "cpu"
    assert found.provenance.seed is None
    assert {"xgraph", "onnx", "onnxruntime", "numpy"} <= set(found.provenance.versions)


def open_file(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_program_needs_onnxruntime_alone(
    tiny_model: Model, tiny_onnx: Path, images: np.ndarray, tmp_path: Path, method: str
) -> None:
    program = xgraph.compile(tiny_model, method)
    path = program.save(tmp_path / "sub" / "program.onnx")
    assert [p.name for p in path.parent.iterdir()] == ["program.onnx"]
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = open_file(path)
    assert [i.name for i in session.get_inputs()] == ["image", "xg_target"]
    assert session.get_inputs()[1].type == "tensor(int64)"
    assert [o.name for o in session.get_outputs()] == ["output", "xg_attribution"]
    (plain,) = open_file(tiny_onnx).run(None, {"image": images})
    given = [2, 0, 1, 3, 4, 4, 0]
    for classes in ([-1] * 7, given, [-1, 3, -1, 3, -1, 3, -1]):
        probability, found = session.run(None, {"image": images, "xg_target": np.array(classes, np.int64)})
        np.testing.assert_allclose(probability, plain, **TIGHT)
        resolved = np.where(np.array(classes) < 0, plain.argmax(axis=1), classes)
        expected = program(images, resolved.tolist())
        np.testing.assert_allclose(found, next(iter(expected.values.values())), **TIGHT)
    with pytest.raises(Exception, match=r"(?i)out of"):
        session.run(None, {"image": images, "xg_target": np.full(7, 99)})


def test_a_saved_program_of_several_inputs_names_its_outputs(features: Model, tmp_path: Path) -> None:
    path = xgraph.compile(features, "gradient").save(tmp_path / "p.onnx")
    names = [o.name for o in open_file(path).get_outputs()]
    assert names == ["logits", "alone", "xg_attribution_a", "xg_attribution_b"]


def test_a_saved_program_of_a_map_takes_a_seed(multi: Model, tmp_path: Path) -> None:
    path = xgraph.compile(multi, "gradient", output="map").save(tmp_path / "p.onnx")
    session = open_file(path)
    assert [i.name for i in session.get_inputs()] == ["image", "xg_seed"]
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    seed = np.zeros((2, 4, 8, 8), np.float32)
    seed[:, 1, 2, 3] = 1
    (found,) = session.run(["xg_attribution"], {"image": x, "xg_seed": seed})
    expected = xgraph.explain(multi, x, target=Target.pixel(1, 2, 3, output="map"))
    np.testing.assert_allclose(found, expected.values["image"], **TIGHT)


def test_a_saved_token_program(tokens: Model, sentence: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = xgraph.compile(tokens, "input_x_gradient", reduce="sum").save(tmp_path / "p.onnx")
    (found,) = open_file(path).run(["xg_attribution"], {**sentence, "xg_target": np.full(3, -1)})
    assert found.shape == (3, 6)


def test_a_saved_program_is_not_half_written(
    tiny_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "program.onnx"
    path.write_text("older")

    def full(self: onnx.ModelProto) -> bytes:
        raise OSError(28, "No space left on device")

    program = xgraph.compile(tiny_model, "gradient")
    program.artifact(program.recipes[0], "cpu")
    monkeypatch.setattr(onnx.ModelProto, "SerializeToString", full)
    with pytest.raises(BundleError, match="cannot be written: No space left"):
        program.save(path)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("program.onnx", "older")]


@pytest.mark.parametrize("name", ["blocked/program.onnx", "folder"])
def test_a_program_that_cannot_be_saved(tiny_model: Model, tmp_path: Path, name: str) -> None:
    (tmp_path / "blocked").write_text("a file")
    (tmp_path / "folder").mkdir()
    with pytest.raises(BundleError, match="cannot be written"):
        xgraph.compile(tiny_model, "gradient").save(tmp_path / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["blocked", "folder"]


def test_recipes_are_plain_data(tiny_model: Model) -> None:
    first = xgraph.compile(tiny_model, "grad_cam").recipes
    again = xgraph.compile(tiny_model, "grad_cam").recipes
    assert first == again
    assert hash(first[0]) == hash(again[0])
    assert Recipe.from_json(first[0].to_json()) == first[0]
    assert Recipe.from_json(first[0].to_json()).key() == first[0].key()


def test_all_missing_rules_are_listed(load_proto: Load) -> None:
    model = load_proto(builders.no_rule_model())
    with pytest.raises(
        xgraph.XGraphError, match=r"no rule for com.microsoft::MaxpoolWithMask .*, com.microsoft::CropAndResize"
    ) as caught:
        xgraph.explain(model, np.zeros((1, 3, 8, 8), np.float32))
    assert "wrt='layer:NAME'" in str(caught.value)
    assert [row.op for row in xgraph.coverage(model) if row.missing("vjp")] == [
        "com.microsoft::MaxpoolWithMask",
        "com.microsoft::CropAndResize",
    ]


def test_an_output_without_rows_is_refused(load_proto: Load) -> None:
    draft = builders.Draft()
    draft("ReduceMean", "x", out="loss", keepdims=0)
    model = load_proto(draft.model({"x": ["batch", 3]}, {"loss": []}))
    for call in (xgraph.explain, lambda model, x: xgraph.compile(model, "gradient")):
        with pytest.raises(TargetError, match="'loss' is one number for the whole batch"):
            call(model, np.ones((2, 3), np.float32))


@pytest.mark.parametrize("scale", [1.0, -1.0])
def test_a_result_that_is_not_finite_is_no_result(load_proto: Load, scale: float) -> None:
    draft = builders.Draft()
    draft("Exp", draft("Mul", "x", draft.constant("big", np.float32([1e4 * scale])), out="m"), out="e")
    draft("Reciprocal", "e", out="logits")
    model = load_proto(draft.model({"x": ["batch", 3]}, {"logits": ["batch", 3]}))
    with pytest.raises(InputError, match="not finite"):
        xgraph.explain(model, np.ones((1, 3), np.float32), target=0)
