"""Targets: what each constructor means, checked on scores and gradients in float64, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import builders
import numpy as np
import onnx
import pytest

import xgraph
from xgraph import Target
from xgraph.errors import TargetError
from xgraph.model import Model

ROWS = 3
SCORE, SLOPE = 2e-6, 2e-4
"""float32 against float64: of the score, and of a slope along a random direction."""


@pytest.fixture(scope="module")
def cnn(load_proto: Callable[[onnx.ModelProto], Model]) -> Callable[[str], tuple[Model, builders.Oracle]]:
    @cache
    def make(head: str) -> tuple[Model, builders.Oracle]:
        proto = builders.tiny_cnn(head)
        return load_proto(proto), builders.Oracle(proto, "logits")

    return make


@pytest.fixture(scope="module")
def maps(load_proto: Callable[[onnx.ModelProto], Model]) -> tuple[Model, builders.Oracle]:
    proto = builders.multi_output()
    return load_proto(proto), builders.Oracle(proto, "cells")


def entries(z: np.ndarray, of: str, head: str, axis: int) -> np.ndarray:
    """The literal formulas: what is explained, from the logits."""
    if of == "logit":
        return z
    if head == "sigmoid":
        p = 1 / (1 + np.exp(-z))
    else:
        e = np.exp(z - z.max(axis=axis, keepdims=True))
        p = e / e.sum(axis=axis, keepdims=True)
    return p if of == "probability" else -np.log(p)


def check(
    model: Model, oracle: builders.Oracle, x: np.ndarray, target: Target, of: str, score: Callable[..., np.ndarray]
) -> None:
    attribution = xgraph.explain(model, x, "gradient", target, of=of)
    expected = score(oracle({"image": x}))
    np.testing.assert_allclose(attribution.scores, expected, atol=SCORE * max(1, np.abs(expected).max()), rtol=1e-5)
    for seed in range(2):
        direction = np.random.default_rng(seed).standard_normal(x.shape)
        slopes = oracle.slopes(score, {"image": x}, "image", direction)
        found = (attribution.values["image"] * direction).reshape(len(x), -1).sum(axis=1)
        size = np.abs(attribution.values["image"] * direction).reshape(len(x), -1).sum(axis=1)
        # The floor is for saturated sigmoids, where p (1 - p) cancels in float32.
        assert (np.abs(found - slopes) <= SLOPE * size + 5e-7).all(), (found, slopes)


def class_weights(target: Target, e: np.ndarray, z: np.ndarray, of: str) -> np.ndarray:
    """Returns (rows, classes) with which entries are summed; ranks are by logit."""
    w = np.zeros_like(e)
    rows = np.arange(len(e))
    match target.kind:
        case "index":
            w[:, target.value] = 1
        case "top":
            w[rows, np.argsort(-z, axis=1)[:, target.value - 1]] = 1
        case "per_row":
            w[rows, list(target.value)] = 1
        case "contrast":
            w[:, target.value[0]] += 1
            w[:, target.value[1]] -= 1
    return w


TARGETS = {
    "index": Target.index(2),
    "predicted": Target.top(),
    "second": Target.top(2),
    "last": Target.top(builders.CLASSES),
    "contrast": Target.contrast(3, 1),
    "per_row": Target.per_row([4, 0, 4]),
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("of", ["logit", "probability", "loss"])
@pytest.mark.parametrize("head", builders.HEADS)
def test_class_targets(cnn: Any, images: np.ndarray, head: str, of: str, target: Target) -> None:
    model, oracle = cnn(head)
    x = images[:ROWS]
    fixed = oracle({"image": x})["logits"]

    def score(outputs: dict[str, np.ndarray]) -> np.ndarray:
        e = entries(outputs["logits"], of, head, 1)
        # Which class is meant does not change along a small step.
        return (e * class_weights(target, e, fixed, of)).sum(axis=1)

    check(model, oracle, x, target, of, score)


REGION = np.zeros((8, 8), bool)
REGION[2:5, 3:7] = True
MAP_TARGETS = {
    "pixel": (Target.pixel(1, 4, 6, output="map"), lambda e: e[:, 1, 4, 6]),
    "region": (Target.region(2, REGION, output="map"), lambda e: (e[:, 2] * REGION).sum(axis=(1, 2))),
    "weighted region": (
        Target.region(0, REGION * 0.5, output="map"),
        lambda e: (e[:, 0] * REGION * 0.5).sum(axis=(1, 2)),
    ),
    "entry": (Target.index((3, 0, 7), output="map"), lambda e: e[:, 3, 0, 7]),
    "box": (Target.box(10, 2, output="boxes"), lambda e: e[:, 10, 2]),
    "box entry": (Target.index((63, 0), output="boxes"), lambda e: e[:, 63, 0]),
}


@pytest.mark.parametrize(("target", "pick"), MAP_TARGETS.values(), ids=MAP_TARGETS)
@pytest.mark.parametrize("of", ["logit", "probability", "loss"])
def test_map_targets(maps: Any, of: str, target: Target, pick: Callable[[np.ndarray], np.ndarray]) -> None:
    model, oracle = maps
    x = np.random.default_rng(3).standard_normal((ROWS, 3, 8, 8)).astype(np.float32)
    value, head, axis = ("map", "none", 1) if target.output == "map" else ("cells", "sigmoid", -1)
    check(model, oracle, x, target, of, lambda outputs: pick(entries(outputs[value], of, head, axis)))


def test_region_keeps_its_own_mask() -> None:
    mask = np.ones((2, 2))
    target = Target.region(0, mask)
    mask[:] = 0
    assert target.value[1].all()


def test_resolved_classes_and_labels(tiny_model: Model, images: np.ndarray) -> None:
    predicted = xgraph.explain(tiny_model, images)
    assert predicted.target.classes is not None
    assert predicted.target.labels == tuple(str(c) for c in predicted.target.classes)
    second = xgraph.explain(tiny_model, images, target=Target.top(2))
    assert (second.target.classes != predicted.target.classes).all()
    assert (second.scores <= predicted.scores).all()
    contrast = xgraph.explain(tiny_model, images, target=Target.contrast(0, 1))
    assert contrast.target.classes is None
    assert contrast.target.labels[0] == "0 rather than 1"


@pytest.mark.parametrize("of", ["logit", "probability", "loss"])
@pytest.mark.parametrize("method", ["gradient", "smooth_grad"])
def test_ranks_are_those_of_the_logits(load_proto: Any, of: Any, method: str) -> None:
    """Two sigmoids that are 1 in float32 differ in their logits."""
    draft = builders.Draft()
    draft("Mul", "x", draft.constant("far", np.float32([30, 60, 1])), out="logits")
    draft("Sigmoid", "logits", out="output")
    model = load_proto(draft.model({"x": ["batch", 3]}, {"output": ["batch", 3]}))
    x = np.ones((1, 3), np.float32)
    for rank, expected in enumerate((1, 0, 2), start=1):
        assert xgraph.explain(model, x, method, Target.top(rank), of=of).target.classes == [expected]


@pytest.mark.parametrize(
    ("given", "kind", "value"),
    [
        (None, "top", 1),
        (3, "index", 3),
        (np.int64(3), "index", 3),
        (np.array(3), "index", 3),
        ([1, 2], "per_row", (1, 2)),
        ((1, 2), "per_row", (1, 2)),
        (np.array([1, 2], np.uint8), "per_row", (1, 2)),
        (Target.contrast(0, 1), "contrast", (0, 1)),
    ],
)
def test_what_a_target_may_be_given_as(given: Any, kind: str, value: Any) -> None:
    target = Target.parse(given, "loss")
    assert (target.kind, target.value, target.of) == (kind, value, "loss")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Target.parse(1.5), "not understood"),
        (lambda: Target.parse(True), "not understood"),
        (lambda: Target.parse("cat"), "not understood"),
        (lambda: Target.parse([[1, 2]]), "not understood"),
        (lambda: Target.parse(np.array([[1, 2]])), "not understood"),
        (lambda: Target.parse(np.array([1.0])), "not understood"),
        (lambda: Target.index(-1), "leave the target out for the predicted class"),
        (lambda: Target.index(1.5), "not a whole number"),  # type: ignore[arg-type]
        (lambda: Target.index((1, 2.5)), "not a whole number"),  # type: ignore[arg-type]
        (lambda: Target.pixel(0, 1.5, 2), "not a whole number"),  # type: ignore[arg-type]
        (lambda: Target.top(0), "ranks count from 1"),
        (lambda: Target.top("2"), "not a whole number"),  # type: ignore[arg-type]
        (lambda: Target.index(0, of="odds"), "not one of logit, probability, loss"),  # type: ignore[arg-type]
        (lambda: Target.region(0, np.zeros((2, 2))), "not all 0"),
        (lambda: Target.region(0, np.ones(4)), r"its shape is \[4\]"),
        (lambda: Target.region(0, np.array([[np.nan]])), "finite"),
        (lambda: Target.region(0, "mask"), "numbers or booleans"),  # type: ignore[arg-type]
    ],
)
def test_refused_when_made(make: Callable[[], Target], message: str) -> None:
    with pytest.raises(TargetError, match=message):
        make()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (5, "target 5 does not exist: the output has 5 classes, 0 to 4"),
        ([0, 1, 9], "target 9 does not exist"),
        ([0, 1], "2 targets were given for 3 rows"),
        (Target.top(6), "rank 6 does not exist: the output has 5 classes"),
        (Target.contrast(0, 7), "target 7 does not exist"),
        (Target.index(0, output="logit"), "no output 'logit'.*it has output"),
        (
            Target.index(()),
            r"the output has 5 numbers for each of the 3 rows: .*\(0\) to Target.index\(4\)",
        ),
        (Target.index((1, 2)), r"no entry \[1, 2\] in an output of shape \[3, 5\]"),
        (Target.pixel(0, 1, 1), "no entry"),
        (Target.region(0, np.ones((4, 4))), "does not fit an output of shape"),
    ],
)
def test_refused_by_the_model(tiny_model: Model, images: np.ndarray, target: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        xgraph.explain(tiny_model, images[:ROWS], target=target)


def test_an_empty_entry_of_a_score(load_proto: Any) -> None:
    d = builders.Draft()
    d("ReduceSum", "x", d.constant("axes", np.array([1])), out="score", keepdims=0)
    model = load_proto(d.model({"x": ["batch", 4]}, {"score": ["batch"]}))
    x = np.ones((3, 4), np.float32)
    with pytest.raises(TargetError, match=r"one number for each of the 3 rows: say which with Target.index\(0\)$"):
        xgraph.explain(model, x, target=Target.index(()))
    assert xgraph.explain(model, x, target=Target.index(0)).scores.shape == (3,)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Target.index(0, output="map"), "use Target.index"),
        (Target.top(output="map"), "use Target.index"),
        (Target.contrast(0, 1, output="map"), "needs one number per class"),
        (Target.pixel(4, 0, 0, output="map"), "no entry"),
        (Target.pixel(0, 8, 0, output="map"), "no entry"),
        (Target.region(0, np.ones((4, 4)), output="map"), "does not fit"),
        (Target.region(4, np.ones((8, 8)), output="map"), "target 4 does not exist"),
        (Target.box(64, 0, output="boxes"), "no entry"),
        (Target.index(0, output="number"), "only float outputs"),
    ],
)
def test_refused_by_a_map(maps: Any, target: Target, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        xgraph.explain(maps[0], np.zeros((1, 3, 8, 8), np.float32), target=target)


@pytest.mark.parametrize("target", [7, Target.top(9), Target.contrast(0, 7), [0, 7]])
def test_a_dynamic_class_axis_is_checked_too(load_proto: Any, target: Any) -> None:
    proto = builders.features_model()
    for output in proto.graph.output:
        output.type.tensor_type.shape.dim[1].dim_param = "classes"
    # A product that shape inference cannot see through.
    proto.graph.node[-1].output[0] = "hidden"
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([True, False, True]), "kept"))
    proto.graph.node[-2].output[0] = "all"
    proto.graph.node.append(onnx.helper.make_node("Compress", ["all", "kept"], ["logits"], axis=1))
    proto.graph.node.append(onnx.helper.make_node("Identity", ["hidden"], ["alone"]))
    model = load_proto(proto)
    x = {"a": np.ones((2, 4), np.float32), "b": np.ones((2, 4), np.float32)}
    with pytest.raises(TargetError, match="does not exist"):
        xgraph.explain(model, x, target=target)


def test_regions_are_compared_and_hashed_by_their_masks() -> None:
    mask = np.eye(3)
    one, same = Target.region(1, mask), Target.region(1, mask.astype(bool))
    assert one == same
    assert hash(one) == hash(same)
    assert one != Target.region(1, np.ones((3, 3)))
    assert one != Target.region(1, mask, of="probability")
    assert one != Target.region(1, np.eye(3)[:, :2])
    assert len({one, same, Target.index(1), Target.index(1), Target.index((1,)), Target.top()}) == 4
    assert Target.index(1) != 1
    mask[:] = 0
    assert one == same
