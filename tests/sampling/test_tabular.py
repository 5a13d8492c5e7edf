"""Neighbours of table rows: the statistics of the package ``lime``, and draws that follow them."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from scipy import stats

from xgraph.errors import InputError, MethodError
from xgraph.sampling.tabular import Bins, Categories, Gaussian, Quartiles

ROWS, CATEGORICAL = 400, (3,)
SURE = 1e-4
"""A test of a distribution fails below this probability; the seed is fixed, so it does not fail by chance."""


def background() -> np.ndarray:
    """Returns columns that are normal, skewed, rounded to few values, categories, constant, and mostly 0."""
    rng = np.random.default_rng(7)
    columns = [
        rng.normal(size=ROWS),
        rng.gamma(1.0, 2.0, ROWS) + 3,
        np.round(rng.normal(size=ROWS), 1),
        rng.choice([0, 2, 5], ROWS, p=[0.6, 0.3, 0.1]),
        np.full(ROWS, 0.1),
        np.where(rng.random(ROWS) < 0.1, 5.0, 0.0),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def explainer(**options: Any) -> Any:
    pytest.importorskip("lime")
    from lime.lime_tabular import LimeTabularExplainer

    return LimeTabularExplainer(
        background().astype(np.float64), categorical_features=list(CATEGORICAL), random_state=0, **options
    )


def pairs(samples: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(np.arange(samples), draws), np.tile(np.arange(draws), samples)


def fitted() -> list[Quartiles | Gaussian]:
    data = background()
    return [
        Quartiles.fit(data, CATEGORICAL),
        Gaussian.fit(data, CATEGORICAL),
        Gaussian.fit(data, CATEGORICAL, around_instance=True),
    ]


every = pytest.mark.parametrize("neighbours", fitted(), ids=["quartiles", "gaussian", "around"])


def test_quartiles_are_those_of_lime() -> None:
    lime, ours = explainer(), Quartiles.fit(background(), CATEGORICAL)
    for i, column in enumerate(ours.columns):
        values = np.asarray(lime.feature_values[i], int if isinstance(column, Bins) else float)
        if isinstance(column, Categories):
            np.testing.assert_array_equal(column.values, values)
            np.testing.assert_allclose(column.frequencies, lime.feature_frequencies[i])
            continue
        np.testing.assert_allclose(column.edges, lime.discretizer.maxs[i][:-1])
        np.testing.assert_allclose(column.mins, lime.discretizer.mins[i])
        np.testing.assert_allclose(column.maxs, lime.discretizer.maxs[i])
        np.testing.assert_allclose(column.means, lime.discretizer.means[i], atol=1e-12)
        np.testing.assert_allclose(column.stds, lime.discretizer.stds[i])
        np.testing.assert_allclose(column.frequencies[values], lime.feature_frequencies[i])
        assert column.frequencies.sum() == pytest.approx(1.0)


def test_the_gaussian_is_that_of_lime() -> None:
    lime = explainer(discretize_continuous=False)
    for i, (mean, std) in enumerate(
        zip(*(getattr(Gaussian.fit(background()), n) for n in ("means", "stds")), strict=True)
    ):
        if i not in CATEGORICAL:
            assert mean == pytest.approx(lime.scaler.mean_[i])
            assert std == pytest.approx(lime.scaler.scale_[i])


@every
def test_draw_0_is_the_sample(neighbours: Quartiles | Gaussian) -> None:
    x = background()[:5]
    values, seen = neighbours.draw(x, np.arange(5), np.zeros(5, np.int64), seed=1)
    assert (values.dtype, seen.dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(values, x)
    if isinstance(neighbours, Quartiles):
        np.testing.assert_array_equal(seen, np.ones(x.shape))
    else:
        expected = (x - neighbours.means) / neighbours.stds
        expected[:, CATEGORICAL] = 1.0
        np.testing.assert_allclose(seen, expected)


@every
@pytest.mark.parametrize("size", [1, 7, 50])
def test_grouping_does_not_matter(neighbours: Quartiles | Gaussian, size: int) -> None:
    x, (rows, draws) = background()[:4], pairs(4, 30)
    order = np.random.default_rng(0).permutation(len(rows))
    together = neighbours.draw(x, rows, draws, seed=2)
    parts = [order[start : start + size] for start in range(0, len(order), size)]
    grouped = [neighbours.draw(x, rows[part], draws[part], seed=2) for part in parts]
    for whole, pieces in zip(together, zip(*grouped, strict=True), strict=True):
        np.testing.assert_array_equal(whole[order], np.concatenate(pieces))
    later = neighbours.draw(x[2:], rows[60:] - 2, draws[60:], seed=2, first_row=2)
    np.testing.assert_array_equal(together[0][60:], later[0])
    assert not np.array_equal(together[0], neighbours.draw(x, rows, draws, seed=3)[0])


@every
def test_arguments_stay_as_they_are(neighbours: Quartiles | Gaussian) -> None:
    x, (rows, draws) = background()[:2], pairs(2, 5)
    before = x.copy()
    neighbours.draw(x, rows, draws, seed=0)
    np.testing.assert_array_equal(x, before)


def test_bins_are_drawn_by_frequency() -> None:
    data, count = background(), 8000
    ours = Quartiles.fit(data, CATEGORICAL)
    values, seen = ours.draw(data[:1], *pairs(1, count), seed=5)
    for i, column in enumerate(ours.columns):
        drawn, occurring = values[1:, i], column.frequencies > 0
        if isinstance(column, Bins):
            which = np.searchsorted(column.edges, drawn)
            own = np.searchsorted(column.edges, data[0, i])
        else:
            which, own = np.searchsorted(column.values, drawn), np.searchsorted(column.values, data[0, i])
            np.testing.assert_array_equal(column.values[which], drawn)
        np.testing.assert_array_equal(seen[1:, i], which == own)
        found = np.bincount(which, minlength=len(occurring))
        assert not found[~occurring].any()
        if occurring.sum() > 1:
            expected = column.frequencies[occurring] * (count - 1)
            assert stats.chisquare(found[occurring], expected).pvalue > SURE


def test_values_in_a_bin_are_truncated_normal() -> None:
    data = background()
    ours = Quartiles.fit(data, CATEGORICAL)
    values, _ = ours.draw(data[:1], *pairs(1, 8000), seed=6)
    for i in (0, 1):
        column = ours.columns[i]
        assert isinstance(column, Bins)
        which = np.searchsorted(column.edges, values[1:, i])
        for number in range(len(column.means)):
            mean, std = column.means[number], column.stds[number]
            low, high = (column.mins[number] - mean) / std, (column.maxs[number] - mean) / std
            law = stats.truncnorm(low, high, mean, std)
            assert stats.kstest(values[1:, i][which == number], law.cdf).pvalue > SURE


@pytest.mark.parametrize("around", [False, True])
def test_gaussian_draws_have_mean_and_deviation(around: bool) -> None:
    data = background()
    ours = Gaussian.fit(data, CATEGORICAL, around_instance=around)
    values, seen = ours.draw(data[9:10], *pairs(1, 8000), seed=5)
    for i in range(data.shape[1]):
        if i in CATEGORICAL:
            codes, counts = np.unique(values[1:, i], return_counts=True)
            np.testing.assert_array_equal(codes, ours.categories[i].values)
            assert stats.chisquare(counts, ours.categories[i].frequencies * 7999).pvalue > SURE
            np.testing.assert_array_equal(seen[1:, i], values[1:, i] == data[9, i])
            continue
        law = stats.norm(data[9, i] if around else ours.means[i], ours.stds[i])
        assert stats.kstest(values[1:, i], law.cdf).pvalue > SURE
        np.testing.assert_allclose(seen[:, i], (values[:, i] - ours.means[i]) / ours.stds[i])


def test_draws_are_distributed_as_those_of_lime() -> None:
    """Column 4 is left out: of a bin with one value, ``lime`` returns that value in standard units."""
    lime, ours = explainer(), Quartiles.fit(background(), CATEGORICAL)
    sample = background()[3]
    theirs_seen, theirs = lime._LimeTabularExplainer__data_inverse(sample.astype(np.float64), 12000)
    values, seen = ours.draw(sample[None], *pairs(1, 12000), seed=8)
    for i in (0, 1, 2, 3, 5):
        assert seen[:, i].mean() == pytest.approx(theirs_seen[:, i].mean(), abs=0.03)
        assert values[:, i].mean() == pytest.approx(theirs[:, i].mean(), abs=0.06 * float(background()[:, i].std()))
        assert values[:, i].std() == pytest.approx(theirs[:, i].std(), rel=0.1)


def test_a_constant_column_keeps_its_value() -> None:
    values, seen = Quartiles.fit(background(), CATEGORICAL).draw(background()[:1], *pairs(1, 50), seed=0)
    np.testing.assert_array_equal(values[:, 4], np.full(50, np.float32(0.1)))
    np.testing.assert_array_equal(seen[:, 4], np.ones(50))


def test_a_number_on_an_edge_is_in_its_bin_whatever_the_dtype() -> None:
    data = np.repeat([0.1, 0.2, 0.3, 0.4], 5)[:, None]
    values, seen = Quartiles.fit(data).draw(np.float32([[0.1]]), *pairs(1, 400), seed=0)
    low = values[:, 0] <= np.float32(0.1)
    np.testing.assert_array_equal(seen[:, 0], low)
    assert 60 < low.sum() < 140


def test_one_row_of_background() -> None:
    data = np.array([[1.0, 2.0]])
    values, _ = Quartiles.fit(data, (1,)).draw(np.zeros((1, 2), np.float32), *pairs(1, 4), seed=0)
    np.testing.assert_array_equal(values, [[0, 0], [1, 2], [1, 2], [1, 2]])
    np.testing.assert_array_equal(Gaussian.fit(data).stds, [1, 1])


def test_no_pairs() -> None:
    for neighbours in fitted():
        values, seen = neighbours.draw(background(), np.empty(0, np.int64), np.empty(0, np.int64), seed=0)
        assert values.shape == seen.shape == (0, 6)


@every
def test_pickle(neighbours: Quartiles | Gaussian) -> None:
    again = pickle.loads(pickle.dumps(neighbours))
    x = background()[:2]
    np.testing.assert_array_equal(again.draw(x, *pairs(2, 4), seed=0)[0], neighbours.draw(x, *pairs(2, 4), seed=0)[0])


@pytest.mark.parametrize("kind", [Quartiles, Gaussian])
@pytest.mark.parametrize(
    ("data", "categorical", "error", "message"),
    [
        (np.zeros(3), (), InputError, "one row per sample"),
        (np.zeros((0, 3)), (), InputError, "one row per sample"),
        (np.full((2, 2), "a"), (), InputError, "give numbers"),
        (np.array([[0.0, np.nan]]), (), InputError, "column 1 of the background holds numbers that are not finite"),
        (np.array([[0.0, 1e300]]), (), InputError, "column 1 of the background"),
        (np.array([[0.0, 0.5]]), (1,), InputError, "column 1 of the background is categorical"),
        (np.array([[0.0, 2.0**25]]), (1,), InputError, "column 1 of the background is categorical"),
        (np.zeros((2, 2)), (2,), MethodError, "there is no column 2, only 0 to 1"),
        (np.zeros((2, 2)), (-1,), MethodError, "there is no column -1"),
        (np.zeros((2, 2)), ("a",), MethodError, "there is no column 'a'"),
    ],
)
def test_backgrounds_that_are_refused(
    kind: Any, data: np.ndarray, categorical: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        kind.fit(data, categorical)
    assert "\n" not in str(caught.value)


@every
def test_samples_that_are_refused(neighbours: Quartiles | Gaussian) -> None:
    one = np.zeros(1, np.int64)
    with pytest.raises(InputError, match="do not fit a background of 6 columns"):
        neighbours.draw(np.zeros((1, 5), np.float32), one, one, seed=0)
    with pytest.raises(InputError, match="row 0 of the samples holds numbers that are not finite"):
        neighbours.draw(np.full((1, 6), np.nan, np.float32), one, one, seed=0)
