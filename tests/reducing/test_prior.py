"""What explanations say together: the formulas, literally, and the file that keeps them."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from tolerances import FORMULA

from xgraph.errors import InputError, MethodError
from xgraph.reducing.clusters import Clusters
from xgraph.reducing.prior import Prior, aggregate, normlime_text, ridge_prior

WEIGHTS = {3: {0: 0.25, 7: 1.5}, 1: {2: -0.5}}


def clusters() -> Clusters:
    return Clusters(np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(3), np.ones(3))


def explanations() -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    coefficients = [rng.normal(size=size) for size in (5, 8, 3, 6)]
    coefficients.append(np.zeros(4))
    return coefficients, [rng.integers(-1, 4, len(w)) for w in coefficients], np.array([2, 9, 2, 2, 9])


@pytest.mark.parametrize("kind", ["normlime", "average", "squares"])
def test_weights_are_the_mean_over_all_segments_of_a_cluster(kind: str) -> None:
    coefficients, names, classes = explanations()
    literal: dict[int, dict[int, list[float]]] = {}
    for w, keys, number in zip(coefficients, names, classes.tolist(), strict=True):
        for value, key in zip(w, keys.tolist(), strict=True):
            total = sum(abs(other) for other in w)
            shares = {"normlime": value**2 / total if total else 0.0, "average": abs(value), "squares": value**2}
            if key >= 0:
                literal.setdefault(number, {}).setdefault(key, []).append(shares[kind])
    found = aggregate(kind, coefficients, names, classes)
    assert {number: set(entries) for number, entries in found.items()} == {n: set(e) for n, e in literal.items()}
    for number, entries in literal.items():
        for key, values in entries.items():
            assert found[number][key] == pytest.approx(np.mean(values), rel=FORMULA)


def test_words_get_their_positive_coefficients() -> None:
    coefficients = [np.array([1.0, -2.0, 3.0]), np.array([4.0, 4.0]), np.array([0.0])]
    words = [np.array([70, 70, 80]), np.array([70, -1]), np.array([90])]
    classes = np.array([0, 0, 1])
    found = normlime_text(coefficients, words, classes)
    assert found == {0: {70: pytest.approx((1 / 6 + 2) / 2), 80: pytest.approx(9 / 6)}}


def test_positions_instead_of_words() -> None:
    coefficients = [np.array([1.0, -2.0, 3.0]), np.array([4.0, 4.0])]
    words = [np.array([70, 70, 80]), np.array([70, 90])]
    found = normlime_text(coefficients, words, np.array([0, 0]), positions=True)
    assert found == {0: {0: pytest.approx((1 / 6 + 2) / 2), 1: pytest.approx(2), 2: pytest.approx(9 / 6)}}


@pytest.mark.parametrize("strength", [1.0, 0.1, 30])
@pytest.mark.parametrize("pictures", [4, 40])
def test_ridge_is_that_of_scikit_learn(strength: float, pictures: int) -> None:
    rng = np.random.default_rng(0)
    presence = (rng.random((pictures, 12)) < 0.4).astype(float)
    probabilities = rng.dirichlet(np.ones(3), pictures)
    expected = Ridge(alpha=strength).fit(presence, probabilities).coef_
    found = ridge_prior(presence, probabilities, strength)
    for number in range(3):
        np.testing.assert_allclose([found[number][i] for i in range(12)], expected[number], atol=1e-9)
    smooth = ridge_prior(presence, probabilities, strength, softmax=True)
    shares = np.exp(10 * (expected[1] - expected[1].max()))
    np.testing.assert_allclose([smooth[1][i] for i in range(12)], shares / shares.sum(), atol=1e-9)


def test_for_row() -> None:
    prior = Prior(WEIGHTS, clusters=clusters())
    found = prior.for_row(3, np.array([7, -1, 0, 2, 7]))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [1.5, 0, 0.25, 0, 1.5])
    np.testing.assert_array_equal(prior.for_row(4, np.array([7])), [0])
    assert prior.for_row(3, np.empty(0, np.int64)).shape == (0,)


def test_weights_cannot_be_changed() -> None:
    mine = {3: {0: 1.0}}
    prior = Prior(mine)
    mine[3][0] = 2.0
    assert prior.weights[3][0] == 1.0
    with pytest.raises(TypeError):
        prior.weights[3][0] = 3.0  # type: ignore[index]


def same(one: Prior, other: Prior) -> None:
    assert one.weights == other.weights
    assert (one.kind, one.features) == (other.kind, other.features)
    assert (one.clusters is None) == (other.clusters is None)
    if one.clusters is not None and other.clusters is not None:
        for name in ("centres", "mean", "scale"):
            np.testing.assert_array_equal(getattr(one.clusters, name), getattr(other.clusters, name))


PRIORS = [
    Prior(WEIGHTS, clusters=clusters()),
    Prior(WEIGHTS, "squares", clusters(), "layer:Größe/conv.1"),
    Prior({5: {-2: 0.0}, 6: {}}, features="tokens"),
    Prior({}),
]


@pytest.mark.parametrize("prior", PRIORS, ids=["picture", "layer", "tokens", "empty"])
def test_files_keep_everything(prior: Prior, tmp_path: Path) -> None:
    same(Prior.load(prior.save(tmp_path / "new" / "prior.npz")), prior)
    same(pickle.loads(pickle.dumps(prior)), prior)
    same(copy.deepcopy(prior), prior)


def test_files_without_pickle(tmp_path: Path) -> None:
    path = tmp_path / "prior.npz"
    np.savez(path, header=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="not a prior that xgraph saved, or damaged"):
        Prior.load(path)


def test_every_damaged_byte_is_one_line(tmp_path: Path) -> None:
    path = PRIORS[1].save(tmp_path / "prior.npz")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    broken = [whole[:cut] for cut in range(0, len(whole), 61)]
    for place in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= int(rng.integers(1, 256))
        broken.append(bytes(changed))
    refusals = []
    for content in broken:
        path.write_bytes(content)
        try:
            same(Prior.load(path), PRIORS[1])  # a byte that nothing depends on
        except InputError as error:
            refusals.append(str(error))
    assert len(refusals) > len(broken) / 2
    assert all(message.startswith(f"{path}: ") and "\n" not in message for message in refusals)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"clusters": np.array([1, 2])}, "does not fit its arrays"),
        ({"weights": np.array([1.0, np.nan, 2.0])}, "does not fit its arrays"),
        ({"classes": np.array([0.5, 1.0, 2.0])}, "does not fit its arrays"),
        ({"mean": np.zeros(7)}, "does not fit its arrays"),
        (
            {"header": b'{"format": "xgraph.prior", "version": 1, "kind": "no", "features": "picture", "clusters": 0}'},
            "does not fit",
        ),
        (
            {"header": b'{"format": "xgraph.prior", "version": 1, "kind": "ridge", "features": 3, "clusters": 0}'},
            "does not fit",
        ),
        ({"header": b'{"format": "xgraph.prior", "version": 1}'}, "does not fit its arrays"),
        ({"header": b'{"format": "xgraph.prior", "version": 99}'}, "prior format 99, but 1 is read here"),
        ({"header": b'{"format": "other", "version": 1}'}, "not a prior"),
        ({"header": b"[]"}, "not a prior"),
    ],
)
def test_files_that_contradict_themselves(entries: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = PRIORS[0].save(tmp_path / "prior.npz")
    with np.load(path) as stored:
        arrays: dict[str, Any] = dict(stored)
    arrays.update({n: np.frombuffer(v, np.uint8) if isinstance(v, bytes) else v for n, v in entries.items()})
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=message) as caught:
        Prior.load(path)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        Prior.load(tmp_path / "none.npz")
    with pytest.raises(InputError, match="damaged"):
        Prior.load(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot write it"):
        PRIORS[0].save(tmp_path / "file" / "prior.npz")


def test_what_is_refused() -> None:
    one, flat = [np.ones(2)], np.zeros(1, np.int64)
    for refused, error, message in (
        (lambda: Prior({}, "other"), MethodError, "not one of normlime, average, squares, ridge"),  # type: ignore[arg-type]
        (lambda: Prior({}, features="layer:"), MethodError, "'layer:NAME'"),
        (lambda: Prior({}, features="my layer:x"), MethodError, "'layer:NAME'"),
        (lambda: Prior({}, "normlime", clusters(), "tokens"), MethodError, "leave clusters out"),
        (lambda: Prior({1: {2: np.inf}}), InputError, "class 1, cluster 2 is inf"),
        (lambda: Prior({"a": {2: 1.0}}), InputError, "class 'a' is no whole number"),  # type: ignore[dict-item]
        (lambda: Prior({1: {2.5: 1.0}}), InputError, "cluster 2.5 is no whole number"),  # type: ignore[dict-item]
        (lambda: aggregate("ridge", one, one, flat), MethodError, "not one of normlime, average, squares"),
        (lambda: aggregate("average", one, [], flat), InputError, "1 explanations, 0 rows of clusters and 1 classes"),
        (lambda: aggregate("average", one, [np.zeros(3)], flat), InputError, "one cluster per coefficient"),
        (lambda: aggregate("average", [one[0] * np.nan], one, flat), InputError, "explanation 0 .* not finite"),
        (lambda: normlime_text(one, [np.zeros((2, 1))], flat), InputError, "one cluster per coefficient"),
        (lambda: ridge_prior(np.ones((2, 3)), np.ones((3, 2))), InputError, "one row per picture"),
        (lambda: ridge_prior(np.ones((2, 3)), np.full((2, 2), np.nan)), InputError, "not finite"),
        (
            lambda: ridge_prior(np.ones((2, 3)), np.ones((2, 2)), 0),
            MethodError,
            "strength=0 should be a number above 0",
        ),
    ):
        with pytest.raises(error, match=message) as caught:
            refused()
        assert "\n" not in str(caught.value)
