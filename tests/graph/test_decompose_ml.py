"""Operators of ``ai.onnx.ml`` against ONNX Runtime's own kernels, one node at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from xgraph.errors import GraphError
from xgraph.graph.normalise import normalise

X = np.float32([[1, -2], [0, 0], [-3, 1], [0.3, 0.7]])
TRANSFORMS = ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO")
Attributes = dict[str, Any]


def machine(labels: int, kind: str = "RBF", **more: Any) -> Attributes:
    """Returns an SVMClassifier with two vectors per class and weights of both signs."""
    rng = np.random.default_rng(labels)
    vectors, pairs = 2 * labels, labels * (labels - 1) // 2
    return {
        "coefficients": rng.standard_normal((labels - 1) * vectors).tolist(),
        "support_vectors": rng.standard_normal(2 * vectors).tolist(),
        "vectors_per_class": [2] * labels,
        "rho": rng.standard_normal(pairs).tolist(),
        "classlabels_ints": [7 * k for k in range(labels)],
        "kernel_type": kind,
        "kernel_params": [0.3, 0.5, 2.0],
        **more,
    }


def linear(count: int, **more: Any) -> Attributes:
    rng = np.random.default_rng(count)
    labels = list(range(3, 3 + max(count, 2)))
    weights = {"coefficients": rng.standard_normal(2 * count).tolist(), "intercepts": rng.random(count).tolist()}
    return {**weights, "classlabels_ints": labels, **more}


SINGLE = {"coefficients": [0.5, 0.25], "intercepts": [0.1]}
CLASSIFIERS: list[tuple[str, Attributes]] = [
    *(("LinearClassifier", linear(n, post_transform=t)) for n in (1, 2, 3) for t in TRANSFORMS),
    *(("SVMClassifier", machine(n, post_transform=t)) for n in (2, 3, 4) for t in TRANSFORMS),
    *(("SVMClassifier", machine(n, kind)) for n in (2, 3) for kind in ("LINEAR", "POLY", "SIGMOID")),
    (
        "SVMClassifier",
        {
            "coefficients": [0.5, -0.25, 0.1, 0.2],
            "rho": [0.1],
            "classlabels_ints": [4, 9],
            "kernel_type": "LINEAR",
            "kernel_params": [0.0, 0.0, 0.0],
        },
    ),
]
TWO = {"coefficients": [0.5, 0.25, -1.0, 0.4], "intercepts": [0.1, -0.2]}
SVR = {"coefficients": [0.5, -0.25], "rho": [0.1], "support_vectors": [1.0, 2, 3, 4], "n_supports": 2}
OTHERS: list[tuple[str, Attributes]] = [
    *(("LinearRegressor", {**SINGLE, "post_transform": t}) for t in TRANSFORMS),
    *(("LinearRegressor", {**TWO, "targets": 2, "post_transform": t}) for t in TRANSFORMS),
    ("LinearRegressor", {"coefficients": [0.5, 0.25]}),
    *(("SVMRegressor", {**SVR, "kernel_type": k, "kernel_params": [0.3, 0.5, 3.0]}) for k in ("LINEAR", "POLY", "RBF")),
    ("SVMRegressor", {**SVR, "kernel_type": "SIGMOID", "kernel_params": [0.3, 0.5, 3.0], "one_class": 1}),
    ("SVMRegressor", {"coefficients": [0.5, -1.0], "rho": [0.2], "kernel_type": "LINEAR", "kernel_params": [0.0] * 3}),
    *(("Normalizer", {"norm": norm}) for norm in ("MAX", "L1", "L2")),
    ("Scaler", {"offset": [1.0, -1.0], "scale": [2.0, 0.5]}),
    ("Scaler", {"offset": [1.0], "scale": [2.0]}),
    ("Binarizer", {"threshold": 0.25}),
    ("Imputer", {"imputed_value_floats": [7.0, 8.0], "replaced_value_float": float("nan")}),
    ("Imputer", {"imputed_value_floats": [7.0], "replaced_value_float": 0.0}),
]


def model(op: str, attributes: Attributes, outputs: list[str], inputs: dict[str, np.ndarray], **types: int) -> ir.Model:
    node = helper.make_node(op, list(inputs), outputs, domain="ai.onnx.ml")
    # Whole numbers in lists of floats must stay floats.
    node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items() if key not in LISTS)
    for key in LISTS & set(attributes):
        node.attribute.append(onnx.AttributeProto(name=key, type=onnx.AttributeProto.FLOATS, floats=attributes[key]))
    given = [
        helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(a.dtype), ["N", *a.shape[1:]])
        for key, a in inputs.items()
    ]
    asked = [helper.make_tensor_value_info(name, types.get(name, TensorProto.FLOAT), None) for name in outputs]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    graph = helper.make_graph([node], "g", given, asked)
    return ir.from_proto(helper.make_model(graph, opset_imports=opsets, ir_version=9))


LISTS = frozenset(
    {
        *("coefficients", "intercepts", "support_vectors", "rho", "kernel_params"),
        *("offset", "scale", "imputed_value_floats"),
    }
)


def check(before: ir.Model, feeds: dict[str, np.ndarray], run: Any) -> None:
    after = normalise(before)
    assert not {node.domain for node in after.graph} - {""}
    for expected, found in zip(run(before, feeds), run(after, feeds), strict=True):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


def named(row: tuple[str, Attributes]) -> str:
    kept = (row[1].get(key) for key in ("kernel_type", "post_transform", "norm", "targets"))
    return "-".join([row[0], str(len(row[1].get("classlabels_ints", ()))), *(str(part) for part in kept if part)])


@pytest.mark.parametrize("row", CLASSIFIERS, ids=named)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_classifiers(row: tuple[str, Attributes], dtype: Any, run: Any) -> None:
    feeds = {"x": X.astype(dtype)}
    check(model(*row, ["y", "z"], feeds, y=TensorProto.INT64), feeds, run)


@pytest.mark.parametrize("row", OTHERS, ids=named)
def test_regressors_and_preprocessing(row: tuple[str, Attributes], run: Any) -> None:
    x = X.copy()
    if row[0] == "Imputer":
        x[1, 0] = np.nan
    check(model(*row, ["z"], {"x": x}), {"x": x}, run)


@pytest.mark.parametrize("columns", [[[1, 0]], [0, 1, 1]])
def test_array_feature_extractor(columns: Any, run: Any) -> None:
    feeds = {"x": X, "columns": np.asarray(columns, np.int64)}
    before = model("ArrayFeatureExtractor", {}, ["z"], feeds)
    before.graph.inputs[1].shape = ir.Shape(feeds["columns"].shape)
    check(before, feeds, run)


def test_feature_vectorizer(run: Any) -> None:
    feeds = {"x": X, "more": X[:, :1] * 2}
    check(model("FeatureVectorizer", {"inputdimensions": [2, 1]}, ["z"], feeds), feeds, run)


def test_probit(run: Any) -> None:
    x = np.float32([[0.1, 0.4], [0.7, 0.9]])
    attributes = {"coefficients": [1.0, 0, 0, 1], "intercepts": [0.0, 0], "targets": 2, "post_transform": "PROBIT"}
    check(model("LinearRegressor", attributes, ["z"], {"x": x}), {"x": x}, run)


@pytest.mark.parametrize("labels", [2, 3])
def test_machines_with_probabilities_stay_and_know_their_shape(labels: int) -> None:
    pairs = labels * (labels - 1) // 2
    attributes = machine(labels, prob_a=[-1.5] * pairs, prob_b=[0.1] * pairs)
    after = normalise(model("SVMClassifier", attributes, ["y", "z"], {"x": X}, y=TensorProto.INT64))
    assert [node.op_type for node in after.graph] == ["SVMClassifier"]
    assert [list(map(str, value.shape or ())) for value in after.graph.outputs] == [["batch"], ["batch", str(labels)]]


@pytest.mark.parametrize(
    ("op", "attributes", "message"),
    [
        ("Normalizer", {"norm": "L3"}, "none of MAX, L1 and L2"),
        ("LinearClassifier", linear(2, post_transform="TANH"), "unknown post_transform 'TANH'"),
        ("LinearClassifier", linear(1, post_transform="PROBIT"), "has no meaning"),
        ("SVMClassifier", machine(3, "WAVELET"), "unknown kernel 'WAVELET'"),
    ],
)
def test_what_is_refused(op: str, attributes: Attributes, message: str) -> None:
    outputs = ["z"] if op == "Normalizer" else ["y", "z"]
    with pytest.raises(GraphError, match=message):
        normalise(model(op, attributes, outputs, {"x": X}, y=TensorProto.INT64))
