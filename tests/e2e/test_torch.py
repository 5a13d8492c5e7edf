"""Models as torch exports them, against torch's autograd in float32 and float64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tolerances import FORMULA, IMPORT

import xgraph

torch = pytest.importorskip("torch")

from e2e.closeness import assert_as_good, distance  # noqa: E402
from e2e.models_torch import MODELS, build  # noqa: E402
from e2e.oracle_torch import EXPORTERS, NEWEST, Reference, backward, feeds, inputs, reference, write  # noqa: E402

pytestmark = pytest.mark.torch

Loaded = Callable[[str, str], xgraph.Model]
CLASSES = (0, 3, 6, 1, 1)
"""One for each of the five rows."""
AT_ONCE = {
    "script17": tuple(MODELS),
    "dynamo18": ("resnet", "unet", "detector", "norms", "vit_sdpa", "bert", "multihead", "gpt", "odds"),
    f"dynamo{NEWEST}": ("mobilenet", "norms", "vit_sdpa"),
}
"""What runs always: exporting by torch.export takes seconds, so the rest of it is for slow runs."""
EXPORTS = [
    pytest.param(name, exporter, marks=() if name in AT_ONCE[exporter] else pytest.mark.slow)
    for name in MODELS
    for exporter in EXPORTERS
]
MAPS = [(name, layer) for name, case in MODELS.items() for layer in case.layers if case.maps]


def both(name: str, of: str = "logit") -> tuple[Reference, Reference]:
    return reference(name, CLASSES, of, torch.float32), reference(name, CLASSES, of, torch.float64)


def target(name: str) -> xgraph.Target | list[int]:
    position = MODELS[name].position
    return list(CLASSES) if position is None else xgraph.Target.index(position)


def explained(name: str) -> dict[str, str]:
    """Returns what is explained by default: the key of the result -> the module or input of the reference."""
    case = MODELS[name]
    return {"ids": case.embedding} if case.embedding else {key: key for key in feeds(name) if key != "mask"}


@pytest.mark.parametrize(("name", "exporter"), EXPORTS)
def test_gradient_is_as_good_as_torchs(name: str, exporter: str, from_torch: Loaded) -> None:
    model, (single, double) = from_torch(name, exporter), both(name)
    found = xgraph.explain(model, feeds(name), "gradient", target(name))
    assert distance(found.scores, double.scores) < IMPORT
    assert list(found.values) == list(explained(name))
    for key, source in explained(name).items():
        assert_as_good(found.values[key], single.gradients[source], double.gradients[source], key)
    for layer in MODELS[name].layers:
        at = xgraph.explain(model, feeds(name), "gradient", target(name), wrt=f"layer:{layer}").values[layer]
        assert_as_good(at, single.gradients[layer], double.gradients[layer], layer)


@pytest.mark.parametrize("of", ["probability", "loss"])
@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("detector",)])
def test_gradient_of_probability_and_loss(name: str, of: str, from_torch: Loaded) -> None:
    single, double = both(name, of)
    found = xgraph.explain(from_torch(name, "script17"), feeds(name), "gradient", target(name), of=of)
    assert distance(found.scores, double.scores) < IMPORT
    for key, source in explained(name).items():
        assert_as_good(found.values[key], single.gradients[source], double.gradients[source], key)


@pytest.mark.parametrize("name", ["resnet", "tabular", "bert_sdpa"])
def test_input_x_gradient_is_the_product(name: str, from_torch: Loaded) -> None:
    model, (single, double) = from_torch(name, "script17"), both(name)
    found = xgraph.explain(model, feeds(name), "input_x_gradient", target(name))
    gradient = xgraph.explain(model, feeds(name), "gradient", target(name))
    for key, source in explained(name).items():
        product = double.gradients[source] * double.values[source]
        assert_as_good(found.values[key], single.gradients[source] * single.values[source], product, key)
        np.testing.assert_allclose(found.values[key], gradient.values[key] * single.values[source], rtol=FORMULA)


@pytest.mark.parametrize(("name", "layer"), MAPS)
def test_grad_cam_is_the_literal_formula(name: str, layer: str, from_torch: Loaded) -> None:
    def literal(reference: Reference) -> np.ndarray:
        gradient, activation = reference.gradients[layer], reference.values[layer]
        weights = gradient.mean(axis=tuple(range(2, gradient.ndim)), keepdims=True)
        return (weights * activation).sum(axis=1)

    model, (single, double) = from_torch(name, "script17"), both(name)
    signed, positive = (
        xgraph.explain(model, feeds(name), "grad_cam", target(name), layer=layer, relu=relu).values[layer]
        for relu in (False, True)
    )
    assert_as_good(signed, literal(single), literal(double))
    np.testing.assert_allclose(positive, np.maximum(signed, 0), rtol=FORMULA, atol=FORMULA * np.abs(signed).max())


@pytest.mark.parametrize("name", MODELS)
def test_a_row_does_not_depend_on_the_other_rows(name: str, from_torch: Loaded) -> None:
    model, (single, double) = from_torch(name, "script17"), both(name)
    for row in range(5):
        one = {key: array[row : row + 1] for key, array in feeds(name).items()}
        chosen = [CLASSES[row]] if MODELS[name].position is None else target(name)
        found = xgraph.explain(model, one, "gradient", chosen)
        for key, source in explained(name).items():
            rows = slice(row, row + 1)
            assert_as_good(found.values[key], single.gradients[source][rows], double.gradients[source][rows], key)


@pytest.mark.parametrize("name", ["resnet", "unet", "bert"])
def test_batches_of_two_give_what_one_batch_gives(name: str, from_torch: Loaded) -> None:
    single, double = both(name)
    found = xgraph.explain(from_torch(name, "script17"), feeds(name), "gradient", target(name), batch=2)
    for key, source in explained(name).items():
        assert_as_good(found.values[key], single.gradients[source], double.gradients[source], key)


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("resnet", [2, [*CLASSES], None]),
        ("vit", [None, 5]),
        ("textcnn", [2, 5, [*CLASSES], 0, 1, 3, 4, 6, None]),  # more than go into one graph
    ],
)
def test_targets_that_share_a_forward_pass(name: str, targets: list[Any], from_torch: Loaded) -> None:
    found = xgraph.explain_each(from_torch(name, "script17"), feeds(name), "gradient", targets)
    assert len(found) == len(targets)
    for given, attribution in zip(targets, found, strict=True):
        logits = both(name)[1].outputs
        classes = logits.argmax(1) if given is None else np.broadcast_to(np.asarray(given), 5)
        asked = tuple(int(c) for c in classes)
        single, double = (reference(name, asked, "logit", dtype) for dtype in (torch.float32, torch.float64))
        for key, source in explained(name).items():
            assert_as_good(attribution.values[key], single.gradients[source], double.gradients[source], f"{given}")


@pytest.mark.parametrize("name", ["resnet", "vit_sdpa", "bert"])
def test_the_predicted_class_is_the_default(name: str, from_torch: Loaded) -> None:
    model, classes = from_torch(name, "dynamo18"), both(name)[1].outputs.argmax(1)
    found = xgraph.explain(model, feeds(name), "gradient")
    assert found.target.classes.tolist() == classes.tolist()
    named = xgraph.explain(model, feeds(name), "gradient", classes.tolist())
    for key, values in found.values.items():
        np.testing.assert_array_equal(values, named.values[key])


@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.parametrize("name", ["mobilenet", "vit", "bert"])
def test_models_exported_for_one_row(name: str, dynamo: bool, tmp_path: Path) -> None:
    single, double = both(name)
    opset = 18 if dynamo else 17
    example = {key: value[:1] for key, value in inputs(name).items()}
    path = write(build(name), example, {}, tmp_path / "one.onnx", dynamo=dynamo, opset=opset)
    found = xgraph.explain(xgraph.load(path), feeds(name), "gradient", target(name))
    for key, source in explained(name).items():
        assert_as_good(found.values[key], single.gradients[source], double.gradients[source], key)


@pytest.mark.parametrize("name", ["bert", "bert_sdpa", "llama", "textcnn"])
@pytest.mark.parametrize("exporter", ["dynamo18", "script17"])
def test_sequences_may_be_shorter_than_the_exported_one(name: str, exporter: str, from_torch: Loaded) -> None:
    short = {key: value[:3, :7] for key, value in inputs(name).items()}
    position = MODELS[name].position and (4, 5)
    at = (slice(None), *position) if position else (np.arange(3), [0, 3, 6])
    single, double = (backward(name, short, at, "logit", dtype) for dtype in (torch.float32, torch.float64))
    chosen = xgraph.Target.index(position) if position else [0, 3, 6]
    arrays = {key: value.numpy() for key, value in short.items()}
    found = xgraph.explain(from_torch(name, exporter), arrays, "gradient", chosen)
    assert_as_good(found.values["ids"], single.gradients["words"], double.gradients["words"])
