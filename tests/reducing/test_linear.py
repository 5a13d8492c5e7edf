"""Linear surrogates against scikit-learn, lime, shap and literal formulas on the rows themselves."""

from __future__ import annotations

import warnings
from fractions import Fraction
from itertools import combinations
from math import comb, factorial
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics.pairwise import pairwise_distances

from xgraph.reducing.linear import (
    Normal,
    cosine_kernel,
    euclidean_kernel,
    glime,
    prior_ridge,
    ridge,
    ridge_all,
    shapley,
    shapley_kernel,
)
from xgraph.reducing.selection import forward_selection, highest_weights, lasso_path

CLOSE = 1e-8
"""Of the largest coefficient: float64 with condition numbers up to 1e6, squared once."""


def case(seed: int, rows: int = 120, features: int = 9, targets: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns a 0/1 design whose first row is ones, LIME's weights, and responses that it explains in part."""
    rng = np.random.default_rng(seed)
    design = rng.integers(0, 2, (rows, features)).astype(np.float64)
    design[0] = 1
    weights = cosine_kernel(design.sum(1), np.full(rows, features))
    responses = design @ rng.standard_normal((features, targets)) + rng.standard_normal((rows, targets)) - 1
    return design, weights, responses


def assert_close(found: Any, expected: Any, close: float = CLOSE) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=close * max(np.abs(expected).max(initial=0.0), 1e-12))


def assert_fits(fit: Any, model: Any, design: np.ndarray, weights: np.ndarray, response: np.ndarray) -> None:
    """A fit against a fitted estimator of scikit-learn."""
    assert_close(fit.coefficients[fit.selected], model.coef_)
    assert_close(fit.intercept, model.intercept_)
    assert fit.r2 == pytest.approx(model.score(design[:, fit.selected], response, weights), abs=CLOSE)


def test_equations_add_up() -> None:
    design, weights, responses = case(0)
    whole = Normal.of(design, weights, responses)
    total = Normal.of(design[:50], weights[:50], responses[:50]) + Normal.of(design[50:], weights[50:], responses[50:])
    for name in ("gram", "moments", "squares"):
        assert_close(getattr(total, name), getattr(whole, name), 1e-14)
    rows = np.concatenate([np.ones((len(design), 1)), design], axis=1)
    assert_close(whole.gram, sum(w * np.outer(d, d) for w, d in zip(weights, rows, strict=True)), 1e-14)
    assert_close(
        whole.moments, sum(w * np.outer(d, y) for w, d, y in zip(weights, rows, responses, strict=True)), 1e-14
    )
    assert (whole.count, whole.targets) == (9, 3)


@pytest.mark.parametrize("alpha", [0, 0.01, 1, 50])
@pytest.mark.parametrize("seed", range(4))
def test_ridge(seed: int, alpha: float) -> None:
    design, weights, responses = case(seed)
    fits = ridge_all(Normal.of(design, weights, responses), alpha)
    assert len(fits) == 3
    for target, fit in enumerate(fits):
        response = responses[:, target]
        model = Ridge(alpha=alpha).fit(design, response, weights)
        assert_fits(fit, model, design, weights, response)
        alone = ridge(Normal.of(design, weights, responses), target, alpha)
        assert_close(alone.coefficients, fit.coefficients, 1e-13)
        assert (alone.condition, alone.r2) == (fit.condition, pytest.approx(fit.r2, abs=1e-13))
        np.testing.assert_array_equal(fit.selected, np.arange(9))
        if alpha == 0:
            assert_fits(fit, LinearRegression().fit(design, response, weights), design, weights, response)


def test_ridge_among() -> None:
    design, weights, responses = case(5)
    among = [7, 2, 4]
    fit = ridge(Normal.of(design, weights, responses), 1, 1.0, among)
    model = Ridge(alpha=1).fit(design[:, among], responses[:, 1], weights)
    assert_fits(fit, model, design, weights, responses[:, 1])
    assert np.flatnonzero(fit.coefficients).tolist() == sorted(among)
    nothing = ridge(Normal.of(design, weights, responses), 1, 1.0, [])
    assert not nothing.coefficients.any()
    assert nothing.intercept == pytest.approx(np.average(responses[:, 1], weights=weights))
    assert (nothing.r2, nothing.condition) == (pytest.approx(0, abs=1e-12), 1)


@pytest.mark.parametrize("alpha", [0, 2])
def test_condition(alpha: float) -> None:
    design, weights, responses = case(6)
    rows = (design - np.average(design, axis=0, weights=weights)) * np.sqrt(weights)[:, None]
    rows = np.concatenate([rows, np.sqrt(alpha) * np.eye(9)])
    expected = np.linalg.cond(rows / np.linalg.norm(rows, axis=0)) ** 2
    assert ridge(Normal.of(design, weights, responses), 0, alpha).condition == pytest.approx(expected, rel=1e-10)


def test_a_common_offset_moves_the_intercept_alone() -> None:
    design, weights, responses = case(7)
    near, far = (ridge(Normal.of(design, weights, responses + c), 0, 1.0) for c in (0.0, 1e4))
    assert_close(far.coefficients, near.coefficients)
    assert far.intercept == pytest.approx(near.intercept + 1e4, rel=1e-12)
    # The sum of squares is 1e8 times what is left of it about the mean.
    assert far.r2 == pytest.approx(near.r2, abs=1e-6)


DEFICIENT = {
    "twice the same": lambda d: np.concatenate([d, d[:, [3]]], axis=1),
    "a complement": lambda d: np.concatenate([d, 1 - d[:, [3]]], axis=1),
    "a constant": lambda d: np.concatenate([d, np.ones((len(d), 1))], axis=1),
    "zeros": lambda d: np.concatenate([np.zeros((len(d), 1)), d], axis=1),
    "more features than rows": lambda d: d[:7],
    "one row": lambda d: d[:1],
    "the same row": lambda d: d[[5] * 12],
}


@pytest.mark.parametrize("name", DEFICIENT)
@pytest.mark.parametrize("seed", range(3))
def test_deficient_designs_give_the_minimum_norm(name: str, seed: int) -> None:
    base, weights, responses = case(seed)
    design = DEFICIENT[name](base)
    weights, response = weights[: len(design)], responses[: len(design), 0]
    fit = ridge(Normal.of(design, weights, response[:, None]), 0, 0.0)
    root = np.sqrt(weights)[:, None]
    centred = (design - np.average(design, axis=0, weights=weights)) * root
    centred[:, np.ptp(design, axis=0) == 0] = 0
    norms = np.linalg.norm(centred, axis=0)
    norms[norms == 0] = 1
    about = (response - np.average(response, weights=weights)) * root[:, 0]
    expected = np.linalg.lstsq(centred / norms, about, rcond=1e-9)[0] / norms
    np.testing.assert_allclose(fit.coefficients, expected, atol=CLOSE * max(np.abs(expected).max(), 1e-6))
    assert fit.condition == np.inf
    residual = ((about - centred @ expected) ** 2).sum()
    if (about**2).sum() > 1e-20:
        assert fit.r2 == pytest.approx(1 - residual / (about**2).sum(), abs=CLOSE)
    else:
        assert fit.r2 == 1
    regular = ridge(Normal.of(design, weights, response[:, None]), 0, 1.0)
    if len(design) > 1:  # scikit-learn does not score one row
        assert_fits(regular, Ridge(alpha=1).fit(design, response, weights), design, weights, response)


@pytest.mark.parametrize("value", [0.0, 0.3, -1e6])
def test_a_constant_response(value: float) -> None:
    design, weights, responses = case(8)
    responses[:, 1] = value
    normal = Normal.of(design, weights, responses)
    fits = [
        *(ridge(normal, 1, alpha) for alpha in (0.0, 1.0)),
        shapley(normal, 1, value, value),
        prior_ridge(normal, 1, 1.0, np.zeros(9)),
    ]
    for fit in fits:
        assert np.abs(fit.coefficients).max() <= 1e-14 * abs(value)
        assert fit.intercept == pytest.approx(value, rel=1e-14)
        assert fit.r2 == 1
    assert prior_ridge(normal, 1, 1.0, np.arange(9.0)).r2 == 0
    assert highest_weights(normal, 1, 4).tolist() == [0, 1, 2, 3]
    assert forward_selection(normal, 1, 4).tolist() == [0, 1, 2, 3]
    assert lasso_path(normal, 1, 4, len(design)).tolist() == list(range(9))


def test_one_feature() -> None:
    design, weights, responses = case(9, features=1, targets=1)
    normal = Normal.of(design, weights, responses)
    fit = ridge(normal, 0, 0.5)
    assert_fits(fit, Ridge(alpha=0.5).fit(design, responses[:, 0], weights), design, weights, responses[:, 0])
    assert fit.condition == 1
    for choose in (highest_weights, forward_selection):
        assert choose(normal, 0, 3).tolist() == [0]
    assert lasso_path(normal, 0, 3, len(design)).tolist() == [0]
    alone = shapley(normal, 0, 3.0, 1.0)
    assert (alone.coefficients.tolist(), alone.intercept, alone.condition) == ([2.0], 1.0, 1.0)


def test_no_weight_at_all() -> None:
    design, _, responses = case(10)
    normal = Normal.of(design, np.zeros(len(design)), responses)
    for fit in (*ridge_all(normal, 0.0), *ridge_all(normal, 1.0)):
        assert not fit.coefficients.any()
        assert (fit.intercept, fit.r2) == (0, 1)
    np.testing.assert_allclose(shapley(normal, 0, 5.0, 0.5).coefficients, 0.5)


def test_a_response_that_is_not_finite_spoils_itself_alone() -> None:
    design, weights, responses = case(11)
    expected = ridge(Normal.of(design, weights, responses), 1, 1.0)
    responses[3, 0] = np.nan
    spoiled, fit, _ = ridge_all(Normal.of(design, weights, responses), 1.0)
    assert np.isnan(spoiled.coefficients).all()
    assert np.isnan(spoiled.r2)
    assert_close(fit.coefficients, expected.coefficients)


def lime_base() -> Any:
    """Returns LIME's solver; its kernel takes the weights themselves for distances."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("lime.lime_base")
    return module.LimeBase(lambda weights: weights)


@pytest.mark.parametrize("count", [1, 4, 12])
@pytest.mark.parametrize("method", ["none", "highest_weights", "lasso_path", "forward_selection"])
@pytest.mark.parametrize("seed", range(6))
def test_lime(seed: int, method: str, count: int) -> None:
    design, weights, responses = case(seed, rows=80 + 60 * seed, features=12)
    normal = Normal.of(design, weights, responses)
    for target in range(3):
        intercept, pairs, score, _ = lime_base().explain_instance_with_data(
            design, responses, weights, target, count, feature_selection=method
        )
        selected = {
            "none": lambda: None,
            "highest_weights": lambda t=target: highest_weights(normal, t, count),
            "lasso_path": lambda t=target: lasso_path(normal, t, count, len(design)),
            "forward_selection": lambda t=target: forward_selection(normal, t, count),
        }[method]()
        fit = ridge(normal, target, 1.0, selected)
        expected = np.zeros(12)
        for feature, coefficient in pairs:
            expected[feature] = coefficient
        assert_close(fit.coefficients, expected)
        assert_close(fit.intercept, intercept)
        assert fit.r2 == pytest.approx(score, abs=CLOSE)


@pytest.mark.parametrize("seed", range(8))
def test_lime_selects_the_same_in_the_same_order(seed: int) -> None:
    design, weights, responses = case(seed, rows=40 + 20 * seed, features=12, targets=1)
    responses = 3 + 0.1 * responses
    normal = Normal.of(design, weights, responses)
    solver = lime_base()
    for count in (1, 2, 5, 11, 12, 15):
        choices = {
            "highest_weights": highest_weights(normal, 0, count),
            "lasso_path": lasso_path(normal, 0, count, len(design)),
        }
        for method, found in choices.items():
            expected = solver.feature_selection(design, responses[:, 0], weights, count, method)
            assert found.tolist() == list(expected), (method, count)
            assert found.dtype == np.int64
    greedy = solver.feature_selection(design, responses[:, 0], weights, 15, "forward_selection").tolist()
    assert len(greedy) == 12
    for count in (1, 5, 12, 15):
        assert forward_selection(normal, 0, count).tolist() == greedy[:count]


def test_the_lasso_path_ends_by_the_loss_per_row() -> None:
    design, weights, responses = case(2, targets=1)
    responses *= 1e-4
    normal = Normal.of(design, weights, responses)
    for copies in (1, 10, 200):
        args = (np.tile(design, (copies, 1)), np.tile(responses[:, 0], copies), np.tile(weights / copies, copies))
        expected = lime_base().feature_selection(*args, 9, "lasso_path")
        assert lasso_path(normal, 0, 9, copies * len(design)).tolist() == expected.tolist()
    assert len(lasso_path(normal, 0, 9, 1)) == 9 > len(lasso_path(normal, 0, 9, 200 * len(design)))


def test_no_feature_is_wanted() -> None:
    design, weights, responses = case(3, targets=1)
    normal = Normal.of(design, weights, responses)
    assert forward_selection(normal, 0, 0).tolist() == highest_weights(normal, 0, 0).tolist() == []
    expected = lime_base().feature_selection(design, responses[:, 0], weights, 0, "lasso_path")
    assert lasso_path(normal, 0, 0, len(design)).tolist() == expected.tolist()
    assert len(expected) == 1


@pytest.mark.parametrize("seed", range(5))
def test_selection_does_not_depend_on_the_order_of_rows(seed: int) -> None:
    """Features that come twice tie exactly; only rounding tells them apart."""
    design, weights, responses = case(seed, targets=1)
    design = np.repeat(design, 2, axis=1)
    rng = np.random.default_rng(seed)
    chosen = []
    for _ in range(10):
        order = rng.permutation(len(design))
        halves = np.split(order, [int(rng.integers(1, len(order)))])
        first, second = (Normal.of(design[half], weights[half], responses[half]) for half in halves)
        chosen.append(forward_selection(first + second, 0, 12).tolist())
    assert all(other == chosen[0] for other in chosen)
    assert all(feature % 2 == 0 for feature in chosen[0][:9])
    assert chosen[0][9:] == [1, 3, 5]


def test_selection_from_deficient_designs() -> None:
    for name, change in DEFICIENT.items():
        base, weights, responses = case(1)
        design = change(base)
        normal = Normal.of(design, weights[: len(design)], responses[: len(design)])
        count = normal.count
        for found in (forward_selection(normal, 0, count), highest_weights(normal, 0, count)):
            assert sorted(found) == list(range(count)), name
        assert len(lasso_path(normal, 0, count, len(design))) <= count, name


def coalitions(count: int) -> np.ndarray:
    """Returns all 2^K coalitions, the empty one first and the full one last."""
    return (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(np.float64)


def exact(values: dict[frozenset[int], float], count: int) -> np.ndarray:
    """Returns Shapley values by their definition."""
    phi = np.zeros(count)
    for feature in range(count):
        others = [other for other in range(count) if other != feature]
        for size in range(count):
            share = factorial(size) * factorial(count - size - 1) / factorial(count)
            for subset in combinations(others, size):
                gain = values[frozenset((*subset, feature))] - values[frozenset(subset)]
                phi[feature] += share * gain
    return phi


@pytest.mark.parametrize("count", range(2, 7))
@pytest.mark.parametrize("seed", range(3))
def test_shapley_of_all_coalitions(seed: int, count: int) -> None:
    masks = coalitions(count)
    responses = np.random.default_rng(seed).standard_normal((len(masks), 2)) + 4
    weights = shapley_kernel(masks.sum(1), np.array(count))
    assert weights[0] == weights[-1] == 0
    normal = Normal.of(masks, weights, responses)
    for target in range(2):
        values = {frozenset(np.flatnonzero(m)): float(v) for m, v in zip(masks, responses[:, target], strict=True)}
        fit = shapley(normal, target, responses[-1, target], responses[0, target])
        expected = exact(values, count)
        assert_close(fit.coefficients, expected)
        assert fit.intercept == responses[0, target]
        assert fit.coefficients.sum() == pytest.approx(responses[-1, target] - responses[0, target], abs=1e-12)
        errors = responses[:, target] - fit.intercept - masks @ expected
        about = responses[:, target] - np.average(responses[:, target], weights=weights)
        assert fit.r2 == pytest.approx(1 - weights @ errors**2 / (weights @ about**2), abs=CLOSE)


@pytest.mark.parametrize(("count", "samples"), [(2, 2), (5, 30), (8, 100), (14, 400)])
def test_shap(count: int, samples: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shap = pytest.importorskip("shap")
    rng = np.random.default_rng(count)
    linear, pairs = rng.standard_normal((count, 2)), rng.standard_normal((count, count, 2))

    def model(rows: np.ndarray) -> np.ndarray:
        return 1 + rows @ linear + np.einsum("ni,nj,ijt->nt", rows, rows, pairs) + np.sin(5 * rows @ linear)

    explainer = shap.KernelExplainer(model, np.zeros((1, count)))
    expected = explainer.shap_values(np.ones(count), nsamples=samples, l1_reg=False, silent=True)
    used = slice(explainer.nsamplesAdded)
    normal = Normal.of(explainer.maskMatrix[used], explainer.kernelWeights[used], np.asarray(explainer.ey)[used])
    for target in range(2):
        fit = shapley(normal, target, explainer.fx[target], explainer.fnull[target])
        # shap sets what is below 1e-10 to 0.
        np.testing.assert_allclose(fit.coefficients, expected[:, target], atol=CLOSE * np.abs(expected).max())


def test_shapley_of_too_few_coalitions() -> None:
    """The rows are met exactly, and what they leave open is nearest to the even split, in any order of features."""
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 2, (12, 40)).astype(np.float64)
    responses = rng.standard_normal((12, 1))
    fit = shapley(Normal.of(masks, np.ones(12), responses), 0, 2.5, 0.5)
    assert fit.condition == np.inf
    assert fit.r2 == pytest.approx(1, abs=CLOSE)
    assert fit.coefficients.sum() == pytest.approx(2, abs=1e-12)
    # The least change of the even split that satisfies the rows and the sum.
    system = np.concatenate([masks, np.ones((1, 40))])
    right = np.append(responses[:, 0] - 0.5, 2.0) - system @ np.full(40, 0.05)
    assert_close(fit.coefficients, 0.05 + np.linalg.lstsq(system, right, rcond=None)[0])
    order = rng.permutation(40)
    turned = shapley(Normal.of(masks[:, order], np.ones(12), responses), 0, 2.5, 0.5)
    assert_close(turned.coefficients, fit.coefficients[order])


def literal_glime(
    design: np.ndarray, weights: np.ndarray, response: np.ndarray, prior: np.ndarray, beta: float
) -> np.ndarray:
    x = design - np.average(design, axis=0, weights=weights)
    x = x / np.linalg.norm(x, axis=0)
    x[:, np.ptp(design, axis=0) == 0] = 0
    t = response - np.average(response, weights=weights)
    t = t / np.linalg.norm(t) if np.ptp(response) else np.zeros_like(t)
    x, t = x * np.sqrt(weights)[:, None], t * np.sqrt(weights)
    a0 = prior / np.abs(prior).sum() if prior.any() else np.zeros_like(prior)
    return np.linalg.inv(x.T @ x + beta * np.eye(x.shape[1])) @ (x.T @ t + beta * a0)


@pytest.mark.parametrize("beta", [0.01, 1.0, 20.0])
@pytest.mark.parametrize("prior", ["zero", "signed", "positive"])
@pytest.mark.parametrize("seed", range(3))
def test_glime(seed: int, prior: str, beta: float) -> None:
    design, weights, responses = case(seed)
    rng = np.random.default_rng(seed)
    expects = {"zero": np.zeros(9), "signed": rng.standard_normal(9), "positive": rng.random(9)}[prior]
    normal = Normal.of(design, weights, responses)
    plain = Normal.of(design, np.ones(len(design)), responses)
    for target in range(3):
        response = responses[:, target]
        fit = glime(normal, plain, target, expects, beta)
        expected = literal_glime(design, weights, response, expects, beta)
        assert_close(fit.coefficients, expected)
        x = design - np.average(design, axis=0, weights=weights)
        t = response - np.average(response, weights=weights)
        errors = t - x / np.linalg.norm(x, axis=0) @ expected * np.linalg.norm(t)
        assert fit.r2 == pytest.approx(1 - weights @ errors**2 / (weights @ t**2), abs=CLOSE)
        assert fit.intercept == 0


def test_glime_of_what_does_not_vary() -> None:
    design, weights, responses = case(4)
    design[:, 2], responses[:, 1] = 0, 0.7
    normal, plain = Normal.of(design, weights, responses), Normal.of(design, np.ones(len(design)), responses)
    prior = np.arange(9.0)
    for target in range(3):
        with np.errstate(invalid="ignore"):
            expected = literal_glime(design, weights, responses[:, target], prior, 2.0)
        fit = glime(normal, plain, target, prior, 2.0)
        assert_close(fit.coefficients, expected)
        assert fit.coefficients[2] == pytest.approx(2 / 36)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 10.0])
@pytest.mark.parametrize("seed", range(3))
def test_prior_ridge(seed: int, alpha: float) -> None:
    """The pull towards a prior is a ridge of what the prior leaves unexplained."""
    design, weights, responses = case(seed)
    prior = np.random.default_rng(seed).standard_normal(9)
    fit = prior_ridge(Normal.of(design, weights, responses), 1, alpha, prior, scale=0.5)
    rest = Ridge(alpha=alpha).fit(design, responses[:, 1] - design @ (0.5 * prior), weights)
    assert_close(fit.coefficients, rest.coef_ + 0.5 * prior)
    assert_close(fit.intercept, rest.intercept_)
    errors = responses[:, 1] - fit.intercept - design @ fit.coefficients
    about = responses[:, 1] - np.average(responses[:, 1], weights=weights)
    assert fit.r2 == pytest.approx(1 - weights @ errors**2 / (weights @ about**2), abs=CLOSE)


def test_a_strong_prior_prevails() -> None:
    design, weights, responses = case(0)
    fit = prior_ridge(Normal.of(design, weights, responses), 0, 1e9, np.arange(9.0), scale=-2)
    np.testing.assert_allclose(fit.coefficients, -2 * np.arange(9.0), atol=1e-6)


def test_cosine_kernel() -> None:
    rows = np.random.default_rng(0).integers(0, 2, (50, 13)).astype(np.float64)
    rows[0], rows[1] = 1, 0
    distances = pairwise_distances(rows, rows[:1], metric="cosine")[:, 0]
    found = cosine_kernel(rows.sum(1), np.full(50, 13))
    np.testing.assert_allclose(found, np.sqrt(np.exp(-(distances**2) / 0.25**2)), rtol=1e-12)
    assert found[0] == 1
    assert found[1] == pytest.approx(np.exp(-8))
    text = np.sqrt(np.exp(-((100 * distances) ** 2) / 25**2))
    np.testing.assert_allclose(found, text, rtol=1e-12)


@pytest.mark.parametrize("width", [None, 1.7])
def test_euclidean_kernel(width: float | None) -> None:
    rows = np.random.default_rng(1).integers(0, 2, (50, 13)).astype(np.float64)
    rows[0] = 1
    distances = pairwise_distances(rows, rows[:1], metric="euclidean")[:, 0]
    used = np.sqrt(13) * 0.75 if width is None else width
    found = euclidean_kernel(rows.sum(1), np.full(50, 13), width)
    np.testing.assert_allclose(found, np.sqrt(np.exp(-(distances**2) / used**2)), rtol=1e-12)


def test_shapley_kernel() -> None:
    for count in (2, 3, 10, 64, 500, 2000):
        sizes = np.arange(count + 1)
        found = shapley_kernel(sizes, np.full(count + 1, count))
        assert found[0] == found[-1] == 0
        for size in {1, 2, count // 3, count // 2, count - 1} & set(range(1, count)):
            expected = Fraction(count - 1, comb(count, size) * size * (count - size))
            assert found[size] == float(expected)
        np.testing.assert_array_equal(found, found[::-1])
    mixed = shapley_kernel(np.array([[1, 2], [3, 1]]), np.array([[4, 4], [4, 1]]))
    np.testing.assert_array_equal(mixed, [[1 / 4, 1 / 8], [1 / 4, 0]])
