"""Models as Paddle 3 exports them, against Paddle's full backward pass in float32 and float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from e2e.closeness import assert_as_good, distance
from tolerances import IMPORT

import xgraph

pytestmark = pytest.mark.paddle

Stored = Mapping[str, np.ndarray]
Loaded = Callable[[str], tuple[xgraph.Model, Stored]]
IMAGES = ("resnet18", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_25", "squeezenet1_1", "vgg", "cnn")
OTHERS = ("vit", "vit_fused", "bert", "lstm", "double", "quirks")
WITH_LAST_MAPS = ("resnet18", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_25", "vgg")
CLASSES = [1, 3, 0]


def feeds(stored: Stored) -> dict[str, np.ndarray]:
    return {key.removeprefix("feed:"): array for key, array in stored.items() if key.startswith("feed:")}


def both(stored: Stored, what: str, of: str = "logit") -> tuple[np.ndarray, np.ndarray]:
    return stored[f"{what}:{of}:float32"], stored[f"{what}:{of}:float64"]


@pytest.mark.parametrize("of", ["logit", "probability", "loss"])
@pytest.mark.parametrize("name", IMAGES + OTHERS)
def test_gradient_is_as_good_as_paddles(name: str, of: str, from_paddle: Loaded) -> None:
    model, stored = from_paddle(name)
    found = xgraph.explain(model, feeds(stored), "gradient", CLASSES, of=of)
    assert distance(found.scores, stored[f"scores:{of}:float64"]) < IMPORT
    ((key, values),) = found.values.items()
    assert key == next(iter(feeds(stored)))
    assert_as_good(values, *both(stored, "gradient", of))


@pytest.mark.parametrize("name", ["resnet18", "vit", "bert"])
def test_input_x_gradient_is_the_product(name: str, from_paddle: Loaded) -> None:
    model, stored = from_paddle(name)
    (values,) = xgraph.explain(model, feeds(stored), "input_x_gradient", CLASSES).values.values()
    (single, double), (x, exact) = both(stored, "gradient"), both(stored, "values")
    assert_as_good(values, single * x, double * exact)


@pytest.mark.parametrize("name", WITH_LAST_MAPS)
def test_grad_cam_is_the_literal_formula_at_the_last_maps(name: str, from_paddle: Loaded) -> None:
    model, stored = from_paddle(name)
    literal = [
        (gradient.mean((2, 3), keepdims=True) * maps).sum(1)
        for gradient, maps in zip(both(stored, "last_gradient"), both(stored, "last_values"), strict=True)
    ]
    (values,) = xgraph.explain(model, feeds(stored), "grad_cam", CLASSES, relu=False).values.values()
    assert_as_good(values, *literal)


@pytest.mark.parametrize("name", WITH_LAST_MAPS)
def test_gradient_at_the_last_maps(name: str, from_paddle: Loaded) -> None:
    model, stored = from_paddle(name)
    layer = next(layer.name for layer in model.layers if layer.role == "target layer")
    found = xgraph.explain(model, feeds(stored), "gradient", CLASSES, wrt=f"layer:{layer}")
    assert_as_good(found.values[layer], *both(stored, "last_gradient"))


@pytest.mark.parametrize("name", ["mobilenet_v2", "vit", "vit_fused", "bert", "lstm"])
def test_a_row_does_not_depend_on_the_other_rows(name: str, from_paddle: Loaded) -> None:
    model, stored = from_paddle(name)
    single, double = both(stored, "gradient")
    for row, chosen in enumerate(CLASSES):
        one = {key: array[row : row + 1] for key, array in feeds(stored).items()}
        (values,) = xgraph.explain(model, one, "gradient", chosen).values.values()
        assert_as_good(values, single[row : row + 1], double[row : row + 1])


def test_text_may_be_shorter_than_what_was_checked_at_import(from_paddle: Loaded) -> None:
    model, stored = from_paddle("bert")
    cut = {key: array[1:2, :7] for key, array in feeds(stored).items()}  # the row's mask ends there
    (values,) = xgraph.explain(model, cut, "gradient", CLASSES[1]).values.values()
    single, double = both(stored, "gradient")
    assert_as_good(values, single[1:2, :7], double[1:2, :7])
