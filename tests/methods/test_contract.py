"""What every registered method promises, whichever it is."""

from __future__ import annotations

import json
import re
from dataclasses import fields, is_dataclass
from typing import Any

import builders
import numpy as np
import onnx
import pytest

import xgraph
from xgraph.errors import XGraphError
from xgraph.methods import create
from xgraph.methods.registry import method_class
from xgraph.plan import Plan, Recipe
from xgraph.target import Target

METHODS = {info.name: info for info in xgraph.list_methods()}
DRAWN = ("samples", "steps")
"""Parameters that only make results finer, which tests keep small."""
LAYERS = [name for name, info in METHODS.items() if info.kind == "cam" and name != "rise"]
"""Their maps are those of a layer."""
MASKED = [name for name, info in METHODS.items() if info.needs == "forward"]
EMBEDDING = [name for name, info in METHODS.items() if "wrt" in info.parameters and name not in MASKED]
TOKENS = [name for name in MASKED if "wrt" in METHODS[name].parameters and name != "score_cam"]
OF = ("logit", "probability", "loss")


def few(name: str) -> dict[str, Any]:
    return {key: 6 for key in DRAWN if key in METHODS[name].parameters}


def explain(model: xgraph.Model, x: Any, name: str, **given: Any) -> xgraph.Attribution:
    return xgraph.explain(model, x, name, **{**few(name), **given})


@pytest.fixture(scope="module")
def token_model(load_proto: Any) -> xgraph.Model:
    return load_proto(builders.token_model())


@pytest.fixture(scope="module")
def ids() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 20, (4, 6))


def recipes(plan: Plan) -> list[Recipe]:
    stages = [*plan.stages, *plan.refinements, *([plan.ends] if plan.ends else [])]
    return [stage.recipe for stage in stages]


@pytest.mark.parametrize("name", METHODS)
def test_documentation(name: str) -> None:
    info = METHODS[name]
    assert re.search(r"arXiv:\d{4}\.\d{4,5}|doi:10\.\d+/\S+", info.doc), "the paper is missing"
    assert info.summary.endswith((".", ";", ",")) or ":" in info.summary
    assert "\n" not in info.summary
    assert len(info.summary) <= 125
    for parameter in info.parameters:
        assert re.search(rf"^\s+{parameter}: ", info.doc, re.MULTILINE), f"{parameter} is not documented"
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name)
    assert info.kind in ("sensitivity", "attribution", "cam")
    assert info.needs in ("gradient", "forward")


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_its_parameters(name: str) -> None:
    cls = method_class(name)
    assert is_dataclass(cls)
    assert cls.__dataclass_params__.frozen
    assert {field.name for field in fields(cls)} == set(METHODS[name].parameters)
    made = create(name, {})
    assert made.name == name
    for parameter, default in METHODS[name].parameters.items():
        assert getattr(made, parameter) == default
        create(name, {parameter: default})
    with pytest.raises(XGraphError, match="has no parameter 'nonsense'") as raised:
        create(name, {"nonsense": 1})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("of", OF)
@pytest.mark.parametrize("name", METHODS)
def test_recipes_hold_neither_class_nor_data(name: str, of: Any, tiny_model: xgraph.Model) -> None:
    if name == "cam" and of != "logit":
        pytest.skip("cam explains the logit alone")
    made = create(name, {})
    plans = [made.plan(tiny_model, Target.index(c, of=of)) for c in (1, 3)]
    assert recipes(plans[0]) == recipes(plans[1])
    for recipe in recipes(plans[0]):
        assert hash(recipe) == hash(recipe)
        again = Recipe.from_json(json.loads(json.dumps(recipe.to_json())))
        assert again == recipe
        assert hash(again) == hash(recipe)
        assert again.key() == recipe.key()
        assert recipe.of == of
    assert len(plans[0].names) == len(plans[0].stages[-1].recipe.wrt)


@pytest.mark.parametrize("name", METHODS)
def test_it_runs_with_its_defaults(name: str, tiny_model: xgraph.Model, images: np.ndarray) -> None:
    found = xgraph.explain(tiny_model, images[:2], name)
    assert found.method == name
    assert len(found) == 2
    assert found.target.kind == "top"
    assert dict(found.parameters).keys() == METHODS[name].parameters.keys()
    for key, values in found.values.items():
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert np.abs(values).max() > 0
        if name in LAYERS:
            assert key == "block.relu"
            assert values.shape == (2, builders.SIZE // 2, builders.SIZE // 2)
        else:
            assert key == "image"
            assert values.shape == (2, 3, builders.SIZE, builders.SIZE)
    for numbers in found.checks.values():
        assert numbers.shape == (2,)
        assert np.isfinite(numbers).all()
    if name in MASKED:
        assert found.provenance.samples == found.details["draws"].max() > 1
    else:
        drawn = set(DRAWN) & set(METHODS[name].parameters)
        assert found.provenance.samples == (found.parameters[drawn.pop()] if drawn else 1)


@pytest.mark.parametrize("name", EMBEDDING)
def test_it_explains_embeddings(name: str, token_model: xgraph.Model, ids: np.ndarray) -> None:
    found = explain(token_model, ids, name)
    assert {key: values.shape for key, values in found.values.items()} == {"ids": (4, 6, 6)}
    assert np.abs(found.values["ids"]).max() > 0
    reduced = explain(token_model, ids, name, reduce="sum")
    assert {key: values.shape for key, values in reduced.values.items()} == {"ids": (4, 6)}
    np.testing.assert_allclose(reduced.values["ids"], found.values["ids"].sum(-1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", TOKENS)
def test_it_explains_tokens(name: str, token_model: xgraph.Model, ids: np.ndarray) -> None:
    with pytest.raises(XGraphError, match="no token is known to put where tokens of 'ids' are off"):
        explain(token_model, ids, name)
    found = explain(token_model, ids, name, baseline=0)
    assert {key: values.shape for key, values in found.values.items()} == {"ids": (4, 6)}
    assert np.abs(found.values["ids"]).max() > 0
    np.testing.assert_array_equal(found.details["token_ids"], ids)


@pytest.mark.parametrize("name", EMBEDDING)
def test_it_explains_layers(name: str, tiny_model: xgraph.Model, images: np.ndarray) -> None:
    found = explain(tiny_model, images, name, wrt="layer:stem.pool")
    assert {key: values.shape for key, values in found.values.items()} == {"stem.pool": (7, 8, 8, 8)}


@pytest.mark.parametrize("batch", [1, 3, 64])
@pytest.mark.parametrize("name", METHODS)
def test_batch_size_does_not_matter(name: str, batch: int, tiny_model: xgraph.Model, images: np.ndarray) -> None:
    expected, found = explain(tiny_model, images, name), explain(tiny_model, images, name, batch=batch)
    for key, values in expected.values.items():
        scale = np.abs(values).max()
        np.testing.assert_allclose(found.values[key], values, rtol=1e-5, atol=1e-6 * scale)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_targets(name: str, tiny_model: xgraph.Model, images: np.ndarray) -> None:
    """One class per row is row by row what one class for all is; targets together are what they are alone."""
    classes = [0, 1, 2, 3, 4, 0, 1]
    program = xgraph.compile(tiny_model, name, **few(name))
    each = xgraph.explain_each(tiny_model, images, name, [classes, 0, None], **few(name))
    for found, target in zip(each, (classes, 0, None), strict=True):
        alone = program(images, target)
        for key, values in alone.values.items():
            np.testing.assert_allclose(found.values[key], values, rtol=1e-5, atol=1e-6 * np.abs(values).max())
        for check, numbers in alone.checks.items():
            np.testing.assert_allclose(found.checks[check], numbers, rtol=1e-3, atol=1e-5)
    if name in ("g_lime", "norm_lime"):
        return  # what they say of a sample depends on the classes of the others
    for key, values in each[1].values.items():
        np.testing.assert_allclose(values[[0, 5]], each[0].values[key][[0, 5]], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_a_fixed_batch(name: str, load_proto: Any, images: np.ndarray) -> None:
    fixed = load_proto(builders.tiny_cnn(batch=2))
    free = load_proto(builders.tiny_cnn())
    # Only whole samples run in a fixed batch, and the same numbers are to be compared.
    whole = {"incremental": False} if "incremental" in METHODS[name].parameters else {}
    expected, found = (explain(model, images[:3], name, target=1, **whole) for model in (free, fixed))
    for key, values in expected.values.items():
        np.testing.assert_allclose(found.values[key], values, rtol=1e-4, atol=1e-6 * np.abs(values).max())


@pytest.mark.parametrize("seed", [-1, 2**128, 1.5, "a", True])
def test_seeds_that_are_none(seed: Any, tiny_model: xgraph.Model, images: np.ndarray) -> None:
    with pytest.raises(XGraphError, match="seed=") as raised:
        xgraph.explain(tiny_model, images[:1], "smooth_grad", samples=1, seed=seed)
    assert "\n" not in str(raised.value)


def test_one_number_per_row_has_no_range(load_proto: Any) -> None:
    """Noise relative to the range of a batch would make rows depend on each other."""
    d = builders.Draft(0)
    column = d("Unsqueeze", "x", d.constant("axis", np.array([1], np.int64)), out="column")
    d("Mul", column, d.weight("w", 1, 3), out="y")
    model = load_proto(d.model({"x": ["batch"]}, {"y": ["batch", 3]}))
    x = np.arange(3, dtype=np.float32)
    with pytest.raises(XGraphError, match="one number per row, which has no range"):
        explain(model, x, "smooth_grad")
    weights = onnx.numpy_helper.to_array(d.weights[1])
    np.testing.assert_allclose(explain(model, x, "smooth_grad", relative=False, target=1).values["x"], weights[0, 1])
    np.testing.assert_allclose(explain(model, x, "integrated_gradients", target=1).values["x"], x * weights[0, 1])
