# ruff: noqa: E501  (models are written as text)
"""Heads behind Transpose and Reshape, and outputs of which no probability is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import xgraph
from xgraph.errors import InputError, TargetError
from xgraph.graph.normalise import normalise
from xgraph.graph.patterns import find_heads
from xgraph.model import Model

RNG = np.random.default_rng(11)
PROBABILITIES = ("probability", "loss")
TO_LAST, TO_FIRST = "Transpose<perm = [0, 2, 3, 1]>", "Transpose<perm = [0, 3, 1, 2]>"
SWAP = "Transpose<perm = [0, 2, 1]>"


def array(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


W = array(4, 3)
PROJECTED = " a = MatMul(x, w)"
"""(N, T, 4) -> (N, T, 3), or (N, 4) -> (N, 3)."""


def proto(text: str, opset: int = 18, **weights: np.ndarray) -> onnx.ModelProto:
    made = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> g {text}')
    made.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in weights.items())
    return made


def run(made: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


# Input, body, opset; kind, logits, probability, axis, perm.
MOVED: dict[str, tuple[str, str, int, tuple[Any, ...]]] = {
    "torch's segmentation": ("float[N, 5, 6, 7] x", "l = Relu(x) a = Transpose<perm = [0, 3, 2, 1]>(l) s = Softmax<axis = 3>(a) y = Transpose<perm = [0, 3, 2, 1]>(s)", 11, ("softmax", "l", "y", 1, None)),
    "square maps": ("float[N, 5, 5, 5] x", f"l = Relu(x) a = {TO_LAST}(l) s = LogSoftmax<axis = 3>(a) y = {TO_FIRST}(s)", 18, ("log_softmax", "l", "y", 1, None)),
    "not undone": ("float[N, T, 5] x", f"l = Relu(x) s = Softmax(l) y = {SWAP}(s)", 18, ("softmax", "l", "y", 1, (0, 2, 1))),
    "undone after a product": ("float[N, 5, 6, 7] x", f"a = {TO_LAST}(x) l = Mul(a, a) s = Softmax(l) y = {TO_FIRST}(s)", 18, ("softmax", "l", "y", 1, (0, 3, 1, 2))),
    "sigmoid": ("float[N, 5, 8] x", f"l = Relu(x) s = Sigmoid(l) y = {SWAP}(s)", 18, ("sigmoid", "l", "y", None, (0, 2, 1))),
    "twice": ("float[N, 5, 6, 7] x", f"l = Relu(x) s = Softmax<axis = 1>(l) a = {TO_LAST}(s) y = {TO_FIRST}(a)", 18, ("softmax", "l", ..., 1, ...)),
    "a cast between": ("float[N, 5, 6, 7] x", f"l = Relu(x) a = {TO_LAST}(l) s = Softmax(a) c = Cast<to = 11>(s) y = {TO_FIRST}(c)", 18, ("softmax", "l", "y", 1, None)),
    "axes of length 1": ("float[N, 5, 1, 1] x", f"l = Relu(x) s = Softmax<axis = 1>(l) a = {TO_LAST}(s) y = Flatten(a)", 18, ("softmax", "l", "s", 1, None)),
    "flattened rows": ("float[N, T, 5] x", "l = Relu(x) f = Flatten<axis = 2>(l) s = Softmax(f) n = Shape(l) y = Reshape(s, n)", 18, ("softmax", "l", "y", 2, None)),
    "opset 11 over the last axis": ("float[N, T, 5] x", "l = Relu(x) y = Softmax<axis = 2>(l)", 11, ("softmax", "l", "y", 2, None)),
    "opset 11 over axes of length 1": ("float[N, 5, 1, 1] x", "l = Relu(x) y = Softmax<axis = 1>(l)", 11, ("softmax", ..., ..., 1, None)),
}  # fmt: skip


@pytest.mark.parametrize("case", MOVED)
def test_moved_head(case: str, parse: Callable[..., Any]) -> None:
    inputs, body, opset, expected = MOVED[case]
    output = "double y" if "Cast" in body else "float y"
    (head,) = find_heads(normalise(parse(f"g ({inputs}) => ({output}) {{ {body} }}", opset=opset)))
    assert head.miss is None
    assert head.probability is not None
    found = (head.kind, head.logits.name, head.probability.name, head.axis, head.perm)
    assert [f for f, e in zip(found, expected, strict=True) if e is not ...] == [e for e in expected if e is not ...]


MISSED = {
    "flatten semantics": ("float[N, 5, 6] x", "y = Softmax<axis = 1>(x)", 11, "is reshaped to"),
    "channels last": ("float[N, 5, 6, 7] x", f"a = {TO_LAST}(x) y = Softmax(a)", 18, "axis 3 of 4"),
    "moved from the class axis": ("float[N, 5, 6, 7] x", f"s = Softmax<axis = 1>(x) y = {TO_LAST}(s)", 18, "axis 3 of 4"),
    "split classes": ("float[N, 6] x", "s = Softmax(x) n = Constant<value = int64[3] {0, 2, 3}>() y = Reshape(s, n)", 18, "is reshaped to"),
    "scaled": ("float[N, 5] x", "s = Softmax(x) k = Constant<value = float {3.0}>() y = Mul(s, k)", 18, "no known head"),
    "binary": ("float[N, 1] x", "s = Sigmoid(x) one = Constant<value = float {1.0}>() q = Sub(one, s) y = Concat<axis = 1>(q, s)", 18, "no known head"),
    "mean of two": ("float[N, 5] x", "s = Softmax(x) z = Neg(x) t = Softmax(z) y = Add(s, t)", 18, "no known head"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISSED)
def test_missed_head(case: str, parse: Callable[..., Any]) -> None:
    inputs, body, opset, reason = MISSED[case]
    (head,) = find_heads(normalise(parse(f"g ({inputs}) => (float y) {{ {body} }}", opset=opset)))
    assert (head.kind, head.logits.name, head.probability) == ("none", "y", None)
    assert head.miss is not None
    assert reason in head.miss.reason


@pytest.mark.parametrize(
    "body",
    [
        "s = Sigmoid(x) y = Mul(x, s)",
        "k = Constant<value = float {1.702}>() z = Mul(k, x) s = Sigmoid(z) y = Mul(x, s)",
        "s = Softmax(x) p = MatMul(s, w) y = Add(p, b)",
    ],
)
def test_what_is_no_head_at_all(body: str, parse: Callable[..., Any]) -> None:
    text = f"g (float[N, 4] x) => (float y) {{ {body} }}"
    (head,) = find_heads(normalise(parse(text, weights={"w": W, "b": array(3)})))
    assert (head.kind, head.miss) == ("none", None)


KERNEL = array(4, 3, 1, 1)
# Model, input, the axis of its classes, the entry.
EXPLAINED: dict[str, tuple[onnx.ModelProto, np.ndarray, int, tuple[int, ...]]] = {
    "torch's segmentation": (
        proto("(float[N, 3, 5, 6] x) => (float[N, 4, 5, 6] y) { a = Conv(x, k) t = Transpose<perm = [0, 3, 2, 1]>(a) s = Softmax<axis = 3>(t) y = Transpose<perm = [0, 3, 2, 1]>(s) }", 11, k=KERNEL),
        array(2, 3, 5, 6), 1, (1, 2, 3),
    ),
    "not undone": (
        proto(f"(float[N, T, 4] x) => (float[N, 3, T] y) {{ {PROJECTED} s = Softmax(a) y = {SWAP}(s) }}", w=W),
        array(2, 5, 4), 1, (1, 4),
    ),
    "logarithms, not undone": (
        proto(f"(float[N, T, 4] x) => (float[N, 3, T] y) {{ {PROJECTED} s = LogSoftmax(a) y = {SWAP}(s) }}", w=W),
        array(2, 5, 4), 1, (1, 4),
    ),
    "flattened rows": (
        proto(f"(float[N, T, 4] x) => (float[N, T, 3] y) {{ {PROJECTED} y = Softmax<axis = 2>(a) }}", 11, w=W),
        array(2, 5, 4), 2, (4, 1),
    ),
    "classes first": (
        proto("(float[N, 4, T] x) => (float[N, 3, T] y) { a = MatMul(v, x) y = Softmax<axis = 1>(a) }", v=W.T.copy()),
        array(2, 4, 5), 1, (1, 4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", EXPLAINED)
@pytest.mark.parametrize("of", ["logit", "probability", "loss"])
def test_moved_heads_are_explained(case: str, of: Any, load_proto: Callable[[onnx.ModelProto], Model]) -> None:
    made, x, axis, entry = EXPLAINED[case]
    model = load_proto(made)
    found = xgraph.explain(model, x, "gradient", xgraph.Target.index(entry, of=of))
    assert found.values["x"].shape == x.shape

    def wanted(x: np.ndarray) -> np.ndarray:
        p = run(made, x).astype(np.float64)
        p = np.exp(p) if model.heads["y"].kind == "log_softmax" else p
        at = (slice(None), *entry)
        if of == "probability":
            return p[at]
        if of == "loss":
            return -np.log(p[at])
        # Logits are known up to a constant: compare their distance to the mean over classes.
        logs = np.log(p)
        return (logs - logs.mean(axis, keepdims=True))[at]

    if of == "logit":
        others = [(*entry[: axis - 1], c, *entry[axis:]) for c in range(run(made, x).shape[axis])]
        per_class = [xgraph.explain(model, x, "gradient", xgraph.Target.index(e)) for e in others]
        scores = found.scores - np.mean([one.scores for one in per_class], axis=0)
        gradient = found.values["x"] - np.mean([one.values["x"] for one in per_class], axis=0)
    else:
        scores, gradient = found.scores, found.values["x"]
    np.testing.assert_allclose(scores, wanted(x), rtol=1e-4, atol=1e-5)
    direction = array(*x.shape)
    step = 1e-2 * direction
    slope = (wanted(x + step) - wanted(x - step)) / 2e-2
    np.testing.assert_allclose(
        (gradient * direction).reshape(len(x), -1).sum(1), slope, rtol=1e-2, atol=1e-2 * np.abs(slope).max()
    )


ONE, COLUMN = "one number per row: a regression value or a single logit", W[:, :1].copy()
REFUSED: dict[str, tuple[onnx.ModelProto, tuple[int, ...], Any, str]] = {
    "binary": (proto("(float[N, 4] x) => (float[N, 2] y) { a = MatMul(x, w) s = Sigmoid(a) one = Constant<value = float {1.0}>() q = Sub(one, s) y = Concat<axis = 1>(q, s) }", w=COLUMN), (2, 4), 1, "'y' comes from Sigmoid .*no {of} can be told.*explain of='logit'"),
    "scaled": (proto(f"(float[N, 4] x) => (float[N, 3] y) {{ {PROJECTED} s = Softmax(a) y = Mul(s, k) }}", w=W, k=np.float32([1, 2, 3])), (2, 4), 1, "'y' comes from Softmax .*or a layer"),
    "flatten semantics": (proto(f"(float[N, 2, 4] x) => (float[N, 2, 3] y) {{ {PROJECTED} y = Softmax<axis = 1>(a) }}", 11, w=W), (2, 2, 4), xgraph.Target.index((1, 1)), "is reshaped to"),
    "channels last": (proto(f"(float[N, 3, 5, 5] x) => (float[N, 5, 5, 4] y) {{ a = Conv(x, k) t = {TO_LAST}(a) y = Softmax(t) }}", k=KERNEL), (2, 3, 5, 5), xgraph.Target.index((1, 1, 1)), "axis 3 of 4"),
    "one column": (proto(f"(float[N, 4] x) => (float[N, 1] y) {{ {PROJECTED.replace('a =', 'y =')} }}", w=COLUMN), (2, 4), 0, ONE),
    "no column": (proto("(float[N, 4] x) => (float[N] y) { last = Constant<value = int64[1] {1}>() y = ReduceSum<keepdims = 0>(x, last) }"), (2, 4), None, ONE),
    "one column of length 1": (proto("(float[N, 3, 5, 5] x) => (float[N, 1, 1, 1] y) { a = Conv(x, k) y = GlobalAveragePool(a) }", k=KERNEL[:1]), (2, 3, 5, 5), 0, ONE),
    "one map": (proto("(float[N, 3, 5, 5] x) => (float[N, 1, 5, 5] y) { y = Conv(x, k) }", k=KERNEL[:1]), (2, 3, 5, 5), xgraph.Target.pixel(0, 1, 1), "one number per position"),
    "rank 3": (proto("(float[N, 4, T] x) => (float[N, 3, T] y) { y = MatMul(v, x) }", v=W.T.copy()), (2, 4, 5), xgraph.Target.index((1, 1)), "has no Softmax, so its class axis is not known and its {of}"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("of", PROBABILITIES)
def test_no_probability_is_made_up(case: str, of: Any, load_proto: Callable[[onnx.ModelProto], Model]) -> None:
    made, shape, target, message = REFUSED[case]
    model, x = load_proto(made), array(*shape)
    with pytest.raises(TargetError, match=message.replace("{of}", of)) as caught:
        xgraph.explain(model, x, "gradient", target, of=of)
    assert "\n" not in str(caught.value)
    output = run(made, x)
    at = target.value if isinstance(target, xgraph.Target) else (target or 0,)
    found = xgraph.explain(model, x, "gradient", target)
    np.testing.assert_allclose(found.scores, output.reshape(*output.shape, *([1] * (2 - output.ndim)))[(slice(None), *at)].ravel(), rtol=1e-5)  # fmt: skip
    assert np.abs(found.values["x"]).max() > 0


ROWS = np.array([-1, 3])
LOST = {
    "tokens as rows": (proto(f"(float[N, 5, 4] x) => (float[M, 3] y) {{ {PROJECTED} y = Reshape(a, rows) }}", w=W, rows=ROWS), (2, 5, 4), r"\['5\*batch', 3\]"),
    "of any number": (proto(f"(float[N, T, 4] x) => (float[M, 3] y) {{ {PROJECTED} r = Reshape(a, rows) y = Softmax(r) }}", w=W, rows=ROWS), (2, 5, 4), "has not one row per sample"),
    "a fixed batch": (proto(f"(float[2, 5, 4] x) => (float[10, 3] y) {{ {PROJECTED} y = Reshape(a, rows) }}", w=W, rows=ROWS), (2, 5, 4), r"\[10, 3\]"),
    "the mean over samples": (proto(f"(float[N, 4] x) => (float[1, 3] y) {{ {PROJECTED} all = Constant<value = int64[1] {{0}}>() y = ReduceMean(a, all) }}", w=W), (2, 4), r"\[1, 3\]"),
    "the batch last": (proto(f"(float[N, 4] x) => (float[3, N] y) {{ {PROJECTED} s = Softmax(a) y = Transpose(s) }}", w=W), (2, 4), r"\[3, 'batch'\]"),
}  # fmt: skip


@pytest.mark.parametrize("case", LOST)
def test_an_output_without_a_row_per_sample(case: str, load_proto: Callable[[onnx.ModelProto], Model]) -> None:
    made, shape, message = LOST[case]
    model = load_proto(made)
    with pytest.raises(TargetError, match=message):
        xgraph.compile(model, "gradient")
    with pytest.raises((TargetError, InputError), match="sample"):
        xgraph.explain(model, array(*shape))


def test_the_batch_may_be_fixed_or_come_back(load_proto: Callable[[onnx.ModelProto], Model]) -> None:
    text = f"{{ {PROJECTED} y = Reshape(a, rows) }}"
    for made in (
        proto(f"(float[2, 4] x) => (float[2, 3] y) {text}", w=W, rows=ROWS),
        proto(f"(float[N, 4] x) => (float[M, 3] y) {text}", w=W, rows=ROWS),
        proto(f"(float[N, 1, 1, 4] x) => (float[M, 3] y) {text}", w=W, rows=ROWS),
    ):
        x = array(2, *(4,) if len(made.graph.input[0].type.tensor_type.shape.dim) == 2 else (1, 1, 4))
        np.testing.assert_allclose(xgraph.explain(load_proto(made), x, target=1).scores, run(made, x)[:, 1], rtol=1e-5)
