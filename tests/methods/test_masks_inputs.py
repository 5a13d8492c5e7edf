"""What can be masked: pictures of bytes, several outputs, tables; and what is refused before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import builders
import numpy as np
import pytest
from onnx import TensorProto

import xgraph
from xgraph.errors import XGraphError
from xgraph.reducing.prior import Prior
from xgraph.target import Target


@pytest.fixture(scope="module")
def bytes_model(load_proto: Any) -> xgraph.Model:
    """Takes uint8 pictures, scales and classifies them."""
    d = builders.Draft(3)
    x = d(
        "Mul",
        d("Cast", "picture", out="float", to=TensorProto.FLOAT),
        d.constant("scale", np.float32(1 / 255)),
        out="x",
    )
    x = d("Flatten", d("GlobalAveragePool", d.conv(x, 6, "conv", source=3), out="gap"), out="flat")
    d("Gemm", x, d.weight("fc.w", 5, 6), d.weight("fc.b", 5), out="logits", transB=1)
    shapes: dict[str, Any] = {"picture": (["batch", 3, 12, 12], TensorProto.UINT8)}
    return load_proto(d.model(shapes, {"logits": ["batch", 5]}))


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 3, 12, 12)).astype(np.uint8)


@pytest.mark.parametrize("baseline", [0, 200, "mean", "blur"])
@pytest.mark.parametrize("name", ["occlusion", "lime", "kernel_shap", "feature_ablation"])
def test_pictures_of_bytes(name: str, baseline: Any, bytes_model: xgraph.Model, pictures: np.ndarray) -> None:
    given: dict[str, Any] = {"samples": 40} if name in ("lime", "kernel_shap") else {}
    found = xgraph.explain(bytes_model, pictures, name, 1, baseline=baseline, **given)
    assert found.values["picture"].shape == pictures.shape
    assert np.abs(found.values["picture"]).max() > 0


def test_a_byte_is_hidden_by_a_byte(bytes_model: xgraph.Model, pictures: np.ndarray) -> None:
    cut = np.zeros((12, 12), np.int64)
    cut[:, 6:] = 1
    found = xgraph.explain(bytes_model, pictures, "feature_ablation", 2, segments=cut, baseline=7)
    hidden = pictures.copy()
    hidden[:, :, :, :6] = 7
    drop = found.scores - xgraph.explain(bytes_model, hidden, "occlusion", 2, window=(3, 12, 12)).scores
    np.testing.assert_allclose(found.values["picture"][:, 0, 0, 0], drop, rtol=1e-4, atol=1e-6)
    with pytest.raises(XGraphError, match="does not fit uint8, which holds 0 to 255"):
        xgraph.explain(bytes_model, pictures, "occlusion", baseline=300)
    with pytest.raises(XGraphError, match="rise lays soft masks on pictures, but 'picture' is uint8"):
        xgraph.explain(bytes_model, pictures, "rise", samples=5)


@pytest.mark.parametrize("first", ["age", "logits"])
def test_what_is_explained_depends_on_the_output(first: str, load_proto: Any) -> None:
    d = builders.Draft(1)
    x = d("Relu", d("Gemm", "x", d.weight("w", 8, 4), d.weight("b", 8), out="h", transB=1), out="r")
    d("Gemm", x, d.weight("aw", 1, 8), d.weight("ab", 1), out="age", transB=1)
    d("Gemm", x, d.weight("lw", 3, 8), d.weight("lb", 3), out="logits", transB=1)
    outputs: dict[str, Any] = {"age": ["batch", 1], "logits": ["batch", 3]}
    order = {first: outputs[first], **outputs}
    model = load_proto(d.model({"x": ["batch", 4]}, order))
    assert xgraph.compile(model, "lime", output="logits").target.of == "probability"
    assert xgraph.compile(model, "lime", output="age").target.of == "logit"


def test_numbers_without_entries_make_no_features(tiny_model: xgraph.Model, images: np.ndarray) -> None:
    cut = np.zeros((16, 16), np.int64)
    cut[8:], cut[:, 8:] = 40, 90_000
    found = xgraph.explain(tiny_model, images[:1], "lime", 0, segments=cut, samples=50)
    assert found.details["coefficients"][0].shape == (3,)
    assert set(np.unique(found.details["segments"])) == {0, 1, 2}


PICTURE, TOKENS = Prior({0: {0: 1.0}}, clusters=None), Prior({0: {3: 1.0}}, features="tokens")
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("lime", {"samples": 1}, "give 2 at least"),
    ("lime", {"features": 3}, "features needs a selection"),
    ("lime", {"categorical": (0,)}, "a table that is missing"),
    ("lime", {"prior": TOKENS}, r"the prior is about tokens, and the input 'image' \(image\) needs one about picture"),
    ("lime", {"segments": "slik"}, "slik"),
    ("lime", {"alpha": float("inf")}, "alpha"),
    ("g_lime", {"prior": "normlme"}, "no file and not one of normlime, average, squares, ridge"),
    ("g_lime", {"target": Target.contrast(0, 1)}, "must be a class"),
    ("norm_lime", {"target": Target.contrast(0, 1)}, "must be a class"),
    ("score_cam", {"layer": "flat"}, r"score_cam: the layer 'flat' has the shape \['batch', 8\]"),
    ("recipro_cam", {"layer": "flat"}, r"recipro_cam: the layer 'flat' has the shape"),
]


@pytest.mark.parametrize(("name", "given", "message"), REFUSED)
def test_refused_before_anything_runs(name: str, given: dict[str, Any], message: str, tiny_model: xgraph.Model) -> None:
    with pytest.raises(XGraphError, match=message) as raised:
        xgraph.compile(tiny_model, name, **given)
    assert "\n" not in str(raised.value)


def test_a_knowledge_that_was_not_fitted_tells_no_fit(tiny_model: xgraph.Model, images: np.ndarray) -> None:
    assert not xgraph.explain(tiny_model, images, "norm_lime", variant="fast").checks
    known = xgraph.explain(tiny_model, images, "norm_lime", 0, samples=60)
    assert set(known.checks) == {"r2", "condition"}
    again = xgraph.explain(tiny_model, images, "norm_lime", 0, prior=Prior.from_details(known.details["prior"]))
    np.testing.assert_array_equal(again.values["image"], known.values["image"])
    assert not again.checks


def test_arrays_that_change_later_change_nothing(tiny_model: xgraph.Model, images: np.ndarray) -> None:
    cut = np.arange(256).reshape(16, 16) // 64
    program = xgraph.compile(tiny_model, "feature_ablation", segments=cut)
    before = program(images[:1], 0).values["image"]
    cut[:] = 0
    np.testing.assert_array_equal(program(images[:1], 0).values["image"], before)


@pytest.mark.parametrize("steps", [300, 900])
def test_a_run_that_ends_early_is_not_biased(steps: int, load_proto: Callable[..., xgraph.Model]) -> None:
    """Whatever the budget was, what a tolerance ends is as good as its draws."""
    d = builders.Draft(5)
    d("Gemm", "x", d.weight("w", 2, 40), d.weight("b", 2), out="logits", transB=1)
    model = load_proto(d.model({"x": ["batch", 40]}, {"logits": ["batch", 2]}))
    x = np.random.default_rng(2).standard_normal((1, 40)).astype(np.float32)
    exact = xgraph.explain(model, x, "input_x_gradient", 0).values["x"]
    found = xgraph.explain(model, x, "kernel_shap", 0, samples=steps, tolerance=0.1)
    assert found.details["draws"][0] < steps
    assert np.abs(found.values["x"] - exact).max() < 0.05 * np.abs(exact).max()
