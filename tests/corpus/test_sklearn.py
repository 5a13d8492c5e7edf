"""scikit-learn's models, converted by skl2onnx: forward against scikit-learn, gradients against its differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from e2e.closeness import distance
from tolerances import IMPORT

import xgraph
from xgraph.cli import command
from xgraph.errors import UnsupportedOpError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # both libraries announce what their next versions will change
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn import decomposition, ensemble, impute, linear_model, neural_network, preprocessing, svm, tree
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline

RNG = np.random.default_rng(0)
X = RNG.standard_normal((150, 5)).astype(np.float32)
CLASSES = (X @ RNG.standard_normal((5, 3))).argmax(axis=1)
BINARY = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int)
WORDS = np.array(["ant", "bee", "cat"])[CLASSES]
NUMBER = X[:, 0] * X[:, 1] + X[:, 2]
NUMBERS = np.stack([NUMBER, X[:, 3] - NUMBER], axis=1)
ROWS = X[:4]
STEP = 1e-6
SLOPE = 1e-3
"""Gradients in float32 of weights that are float64 in scikit-learn: of the largest entry."""
pytestmark = pytest.mark.slow

Scores = Callable[[Any, np.ndarray], np.ndarray]


class Case(NamedTuple):
    estimator: Any
    truth: np.ndarray
    scores: Scores
    """What is explained, by scikit-learn: (estimator, rows) -> (rows, columns)."""
    of: str = "logit"


def probability(model: Any, x: np.ndarray) -> np.ndarray:
    return model.predict_proba(x)


def decision(model: Any, x: np.ndarray) -> np.ndarray:
    return model.decision_function(x)


def both(model: Any, x: np.ndarray) -> np.ndarray:
    """Of two classes scikit-learn gives the second one's score alone."""
    score = model.decision_function(x)
    return np.stack([-score, score], axis=1)


def turned(model: Any, x: np.ndarray) -> np.ndarray:
    """skl2onnx writes the scores of two-class machines the other way round, and so ONNX Runtime returns them."""
    return -both(model, x)


def prediction(model: Any, x: np.ndarray) -> np.ndarray:
    return model.predict(x).reshape(len(x), -1)


def coupled(model: Any, x: np.ndarray) -> np.ndarray:
    """The exact minimum that libsvm looks for, by the linear system (21) of Wu, Lin and Weng 2004."""
    machine = model.set_params(decision_function_shape="ovo")
    count = len(machine.classes_)
    f = machine.decision_function(x).reshape(len(x), -1) * (-1 if count == 2 else 1)
    r = 1 / (1 + np.exp(machine.probA_ * f + machine.probB_))
    found = np.empty((len(x), count))
    for row in range(len(x)):
        system = np.zeros((count + 1, count + 1))
        system[:count, count] = system[count, :count] = 1
        for k, (i, j) in enumerate(combinations(range(count), 2)):
            p = r[row, k]
            system[i, i] += (1 - p) ** 2
            system[j, j] += p**2
            system[i, j] = system[j, i] = -p * (1 - p)
        found[row] = np.linalg.solve(system, [0] * count + [1])[:count]
    return found


def logistic(**options: Any) -> Any:
    return linear_model.LogisticRegression(**options)


def network(**options: Any) -> Any:
    return neural_network.MLPClassifier(**{"hidden_layer_sizes": (8, 6), "max_iter": 60, "random_state": 0, **options})


def regressor(**options: Any) -> Any:
    options = {"hidden_layer_sizes": (8,), "max_iter": 60, "random_state": 0, **options}
    return neural_network.MLPRegressor(**options)


CASES = {
    "mlp": Case(network(), CLASSES, probability, "probability"),
    "mlp tanh": Case(network(activation="tanh"), CLASSES, probability, "probability"),
    "mlp words": Case(network(activation="logistic", learning_rate_init=0.03), WORDS, probability, "probability"),
    "mlp binary": Case(network(), BINARY, probability),
    "mlp regression": Case(regressor(activation="logistic"), NUMBER, prediction),
    "logistic": Case(logistic(), CLASSES, probability, "probability"),
    "logistic, logit": Case(logistic(), CLASSES, decision),
    "logistic words": Case(logistic(), WORDS, probability, "probability"),
    "logistic binary": Case(logistic(), BINARY, probability, "probability"),
    "logistic binary, logit": Case(logistic(), BINARY, both),
    "linear": Case(linear_model.LinearRegression(), NUMBER, prediction),
    "ridge, two numbers": Case(linear_model.Ridge(), NUMBERS, prediction),
    "sgd": Case(linear_model.SGDClassifier(loss="log_loss", random_state=0), CLASSES, probability),
    "linear svm": Case(svm.LinearSVC(), CLASSES, decision),
    "svm linear": Case(svm.SVC(kernel="linear"), CLASSES, decision),
    "svm rbf": Case(svm.SVC(), CLASSES, decision),
    "svm poly": Case(svm.SVC(kernel="poly", degree=3, coef0=0.5), CLASSES, decision),
    "svm sigmoid": Case(svm.SVC(kernel="sigmoid", gamma=0.1), CLASSES, decision),
    "svm binary": Case(svm.SVC(), BINARY, turned),
    "svm probability": Case(svm.SVC(probability=True, random_state=0), CLASSES, coupled),
    "svm probability words": Case(svm.SVC(probability=True, random_state=0), WORDS, coupled),
    "svm probability binary": Case(svm.SVC(probability=True, random_state=0), BINARY, coupled),
    "svr": Case(svm.SVR(), NUMBER, prediction),
    "svr linear": Case(svm.SVR(kernel="linear"), NUMBER, prediction),
    "standard scaler": Case(
        make_pipeline(preprocessing.StandardScaler(), logistic()), CLASSES, probability, "probability"
    ),
    "other scalers": Case(
        make_pipeline(preprocessing.RobustScaler(), preprocessing.MaxAbsScaler(), logistic()), CLASSES, decision
    ),
    "min-max scaler": Case(make_pipeline(preprocessing.MinMaxScaler(), network()), CLASSES, probability, "probability"),
    "l2 normalizer": Case(make_pipeline(preprocessing.Normalizer(), logistic()), CLASSES, decision),
    "l1 normalizer": Case(make_pipeline(preprocessing.Normalizer("l1"), logistic()), CLASSES, decision),
    "pca": Case(make_pipeline(decomposition.PCA(3), svm.SVC()), CLASSES, decision),
    "polynomial": Case(
        make_pipeline(preprocessing.PolynomialFeatures(2), linear_model.LinearRegression()), NUMBER, prediction
    ),
    "imputer": Case(make_pipeline(impute.SimpleImputer(), logistic()), CLASSES, decision),
    "columns": Case(
        make_pipeline(
            ColumnTransformer(
                [("a", preprocessing.StandardScaler(), [0, 3]), ("b", preprocessing.MinMaxScaler(), [1])],
                remainder="passthrough",
            ),
            logistic(),
        ),
        CLASSES,
        decision,
    ),
}
VOTES = ("svm linear", "svm rbf", "svm poly", "svm sigmoid", "pca")
"""Their scores are whole votes, which no gradient sees, plus a fraction."""
TREES = {
    "tree": (tree.DecisionTreeClassifier(max_depth=3), CLASSES, "probability"),
    "tree words": (tree.DecisionTreeClassifier(max_depth=3), WORDS, "probability"),
    "tree regression": (tree.DecisionTreeRegressor(max_depth=3), NUMBER, "prediction"),
    "forest": (ensemble.RandomForestClassifier(5, max_depth=3), CLASSES, "probability"),
    "boosting": (ensemble.GradientBoostingRegressor(n_estimators=5), NUMBER, "prediction"),
}


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Path]]:
    """Returns the function case -> (the fitted estimator, its ONNX file)."""
    folder = tmp_path_factory.mktemp("sklearn")

    @cache
    def convert(name: str) -> tuple[Any, Path]:
        estimator, truth = (CASES.get(name) or TREES[name])[:2]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few iterations are enough here
            estimator.fit(X, truth)
            proto = skl2onnx.to_onnx(estimator, X[:1])
        path = folder / f"{name}.onnx".replace(" ", "_")
        path.write_bytes(proto.SerializeToString())
        return estimator, path

    return convert


def quietly(scores: Scores, model: Any, x: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return scores(model, x)


def differences(case: Case, model: Any, column: int) -> np.ndarray:
    """Returns the central differences in float64 of one column of what is explained."""
    x = ROWS.astype(np.float64)
    found = np.empty_like(x)
    for feature in range(x.shape[1]):
        step = np.zeros_like(x)
        step[:, feature] = STEP
        up, down = (quietly(case.scores, model, x + sign * step)[:, column] for sign in (1, -1))
        found[:, feature] = (up - down) / (2 * STEP)
    return found


@pytest.mark.parametrize("name", CASES)
def test_gradient_is_the_slope_of_scikit_learns_own_function(name: str, converted: Any) -> None:
    case, (estimator, path) = CASES[name], converted(name)
    model = xgraph.load(path)
    expected = quietly(case.scores, estimator, ROWS.astype(np.float64))
    for column in range(expected.shape[1]):
        found = xgraph.explain(model, ROWS, "gradient", column, of=case.of)
        # libsvm's search for probabilities ends at 0.005 / classes: its output is no exact minimum.
        assert distance(found.scores, expected[:, column]) < (0.01 if case.scores is coupled else IMPORT)
        slopes = differences(case, estimator, column)
        assert np.abs(slopes).max() > 1e-2
        assert distance(found.values["X"], slopes) < SLOPE


@pytest.mark.parametrize("name", CASES)
def test_other_methods(name: str, converted: Any) -> None:
    case, (_, path) = CASES[name], converted(name)
    model = xgraph.load(path)
    gradient = xgraph.explain(model, ROWS, "gradient", 0, of=case.of).values["X"]
    product = xgraph.explain(model, ROWS, "input_x_gradient", 0, of=case.of).values["X"]
    np.testing.assert_allclose(product, gradient * ROWS, rtol=1e-5, atol=1e-7)
    along = xgraph.explain(model, ROWS, "integrated_gradients", 0, of=case.of, steps=200, baseline=0.1)
    gap, covered = along.checks["completeness_gap"], np.abs(along.checks["score_difference"])
    if name in VOTES:
        gap = np.abs(gap - np.round(gap))
    assert (gap < 0.03 * covered.max()).all()
    smooth = xgraph.explain(model, ROWS, "smooth_grad", 0, of=case.of, samples=20, noise=1e-4).values["X"]
    assert distance(smooth, gradient) < 0.05


@pytest.mark.parametrize("name", TREES)
def test_trees_load_and_run_but_have_no_gradient(name: str, converted: Any, evaluated: Any) -> None:
    (_, _, kind), (estimator, path) = TREES[name], converted(name)
    model = xgraph.load(path)
    found = evaluated(model, {"X": ROWS})[model.output().name]
    expected = estimator.predict_proba(ROWS) if kind == "probability" else estimator.predict(ROWS)[:, None]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(UnsupportedOpError, match=r"piecewise constant.*use a method that needs no gradient"):
        xgraph.explain(model, ROWS, "gradient")


def test_dictionaries_become_tensors_and_strings_are_left_aside(converted: Any, capsys: Any) -> None:
    _, path = converted("logistic words")
    model = xgraph.load(path)
    assert [(port.name, port.dtype, port.shape) for port in model.outputs] == [
        ("output_probability", "float32", ("batch", 3))
    ]
    command(["inspect", str(path)], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "the dictionaries of output output_probability, which is the tensor that they are made of" in printed
    assert "output output_label, which holds strings" in printed
    assert xgraph.load(converted("linear")[1]).aside == ()


def test_nothing_of_the_domain_is_left_but_what_has_to_stay(converted: Any) -> None:
    left = {
        name: {row.op for row in xgraph.coverage(xgraph.load(converted(name)[1])) if "::" in row.op} for name in CASES
    }
    assert {name for name, ops in left.items() if ops} == {name for name in CASES if name.startswith("svm probability")}
