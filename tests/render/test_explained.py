"""What an explanation brings along for its picture: kind, probability, tokens."""

from __future__ import annotations

from typing import Any

import builders
import numpy as np
import pytest
from PIL import Image

import xgraph
from xgraph.model import Model
from xgraph.render import draw, gallery, html, terminal


@pytest.mark.parametrize(
    ("method", "parameters", "want"),
    [
        ("gradient", {}, "sensitivity"),
        ("input_x_gradient", {}, "attribution"),
        ("grad_cam", {}, "cam"),
        ("smooth_grad", {"samples": 2}, "sensitivity"),
        ("smooth_grad", {"samples": 2, "base": "grad_cam"}, "cam"),
        ("smooth_grad", {"samples": 2, "base": "input_x_gradient"}, "attribution"),
        ("smooth_grad", {"samples": 2, "base": "input_x_gradient", "moment": "square"}, "sensitivity"),
        ("smooth_grad", {"samples": 2, "base": "grad_cam", "moment": "variance"}, "cam"),
    ],
)
def test_results_have_the_kind_of_what_is_averaged(
    method: str, parameters: dict[str, Any], want: str, tiny_model: Model, images: np.ndarray
) -> None:
    assert xgraph.explain(tiny_model, images[:1], method, **parameters).kind == want


def test_every_method_says_its_kind() -> None:
    kinds = {info.name: info.kind for info in xgraph.list_methods()}
    assert kinds["smooth_grad"] == "sensitivity"
    assert set(kinds.values()) == {"sensitivity", "attribution", "cam"}


@pytest.mark.parametrize("head", ["softmax", "log_softmax", "sigmoid", "none"])
@pytest.mark.parametrize("of", ["logit", "probability", "loss"])
def test_the_probability_is_known_where_the_model_has_one(head: str, of: Any, load_proto: Any) -> None:
    model = load_proto(builders.tiny_cnn(head))
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 3, builders.SIZE, builders.SIZE)).astype(np.float32)
    found = xgraph.explain(model, x, "gradient", target=[0, 2, 1], of=of)
    if head == "none":
        assert "probability" not in found.details
        return
    want = xgraph.explain(model, x, "gradient", target=[0, 2, 1], of="probability").scores
    np.testing.assert_allclose(found.details["probability"], want, rtol=1e-5, atol=1e-7)
    assert found.rows([2]).details["probability"] == pytest.approx(want[2:], rel=1e-5, abs=1e-7)


def test_token_models_are_shown_by_their_ids(load_proto: Any) -> None:
    model = load_proto(builders.token_model())
    ids = np.array([[1, 14, 2], [3, 7, 15]])
    for method in ("gradient", "input_x_gradient"):
        found = xgraph.explain(model, ids, method)
        np.testing.assert_array_equal(found.details["token_ids"], ids)
        assert ">15</span>" in html(found)
        assert "15" in terminal(found, 1)
        assert draw(found, 1).width < 500


def test_all_methods_can_be_drawn_at_once(tiny_model: Model, images: np.ndarray) -> None:
    view = np.zeros((builders.SIZE, builders.SIZE, 3), np.uint8)
    found = [xgraph.explain(tiny_model, images[:1], info.name) for info in xgraph.list_methods()]
    layer = xgraph.explain(tiny_model, images[:1], "input_x_gradient", wrt="layer:stem.relu")
    for picture in (gallery(found, 0, view), gallery(found), draw(layer), draw(layer, image=view)):
        assert isinstance(picture, Image.Image)
        assert len(picture.getcolors(1 << 24) or []) > 10
