"""What perturbation methods promise whatever they compute: independence, repeatability, early stops, errors."""

from __future__ import annotations

import tracemalloc
from copy import deepcopy
from pathlib import Path
from typing import Any

import builders
import numpy as np
import pytest

import xgraph
from xgraph.bundle import write_bundle
from xgraph.errors import XGraphError
from xgraph.reducing import Prior
from xgraph.sampling.designs import Bernoulli, Sequential

torch = pytest.importorskip("torch")

import methods.literal_masks as literal  # noqa: E402
from methods.cases import SEED, TARGETS, Load, assert_close  # noqa: E402
from methods.nets import VOCABULARY, examples, export, net  # noqa: E402
from oracles import Array, Site  # noqa: E402

pytestmark = pytest.mark.torch

GRID = {"segments": "grid:2x3"}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "occlusion": ("occlusion", {"window": (3, 3, 3)}),
    "feature_ablation": ("feature_ablation", GRID),
    "lime": ("lime", {**GRID, "samples": 50}),
    "lime of InterpretDL": ("lime", {**GRID, "samples": 50, "variant": "interpretdl", "baseline": "mean"}),
    "kernel_shap": ("kernel_shap", {**GRID, "samples": 40}),
    "shapley_sampling": ("shapley_sampling", {**GRID, "samples": 6}),
    "rise": ("rise", {"samples": 60, "cells": (3, 3)}),
    "rise of features": ("rise", {**GRID, "samples": 60}),
    "score_cam": ("score_cam", {}),
    "recipro_cam": ("recipro_cam", {}),
    "norm_lime": ("norm_lime", {**GRID, "samples": 50, "clusters": 4}),
    "norm_lime fast": ("norm_lime", {"segments": "grid:2x3", "clusters": 4, "variant": "fast"}),
    "g_lime": ("g_lime", {**GRID, "samples": 50, "clusters": 4}),
}
RANDOM = ["lime", "lime of InterpretDL", "kernel_shap", "shapley_sampling", "rise", "rise of features", "norm_lime"]
IMAGES = examples("flat").numpy()


def explain(model: xgraph.Model, case: str, x: Any = IMAGES, target: Any = TARGETS, **given: Any) -> xgraph.Attribution:
    method, parameters = CASES[case]
    target = list(target) if isinstance(target, tuple) else target
    return xgraph.explain(model, x, method, target, **{"seed": SEED, **parameters, **given})


def same(found: xgraph.Attribution, expected: xgraph.Attribution) -> None:
    """Asserts equality to float rounding, checks included."""
    assert found.values.keys() == expected.values.keys()
    for key, values in expected.values.items():
        assert_close(found.values[key], values.astype(np.float64))
    for key, numbers in expected.checks.items():
        np.testing.assert_allclose(found.checks[key], numbers, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(found.details["draws"], expected.details["draws"])


@pytest.mark.parametrize("case", CASES)
def test_batches_and_threads_do_not_matter(case: str, net_model: Load) -> None:
    expected = explain(net_model("flat"), case)
    for given in ({"batch": 1}, {"batch": 3}, {"batch": 7}, {"batch": 64}, {"threads": 1}, {"threads": 2}):
        same(explain(net_model("flat"), case, **given), expected)


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith(("norm", "g_", "rise", "shapley"))])
def test_the_rows_beside_do_not_matter(case: str, net_model: Load) -> None:
    """Those left out draw by row number, or learn from all rows."""
    together = explain(net_model("flat"), case)
    for row, target in enumerate(TARGETS):
        alone = explain(net_model("flat"), case, IMAGES[row : row + 1], target)
        for key, values in alone.values.items():
            assert_close(values, together.values[key][row : row + 1].astype(np.float64))


@pytest.mark.parametrize("case", CASES)
def test_a_seed_is_all_there_is_to_chance(case: str, net_model: Load) -> None:
    first, again, other = (explain(net_model("flat"), case, seed=seed) for seed in (3, 3, 4))
    for key, values in first.values.items():
        np.testing.assert_array_equal(again.values[key], values)
        if case in RANDOM:
            assert np.abs(other.values[key] - values).max() > 1e-3 * np.abs(values).max()
    assert first.provenance.seed == 3


@pytest.mark.parametrize("of", ["logit", "probability", "loss"])
@pytest.mark.parametrize("case", ["kernel_shap", "shapley_sampling"])
def test_shapley_values_add_up(case: str, of: Any, net_model: Load) -> None:
    site = Site(net("flat"), examples("flat"), TARGETS, of)
    covered = site.scores(site.value) - site.scores(np.zeros(IMAGES.shape))
    for samples in (4, 17, 100):
        found = explain(net_model("flat"), case, of=of, samples=samples)
        totals = [own.sum(dtype=np.float64) for own in found.details["coefficients"]]
        np.testing.assert_allclose(totals, covered, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.checks["score_difference"], covered, rtol=1e-5, atol=1e-6)
        assert found.checks["completeness_gap"].max() < 1e-6


EASY = {
    "lime": ("linear", {"samples": 2000, "tolerance": 0.05}),
    "kernel_shap": ("linear", {"samples": 250, "tolerance": 0.05}),
    "shapley_sampling": ("mlp", {"samples": 2000, "tolerance": 0.05}),
    "rise": ("linear", {"samples": 40_000, "tolerance": 0.1}),
    "rise of pictures": ("cnn", {"samples": 20_000, "tolerance": 0.2, "cells": (2, 2)}),
}


@pytest.mark.parametrize("case", EASY)
def test_a_tolerance_stops_early(case: str, net_model: Load) -> None:
    name, given = EASY[case]
    rows = [0, 2] if name == "cnn" else [0, 1, 2]  # of row 1 the map is too even
    method, x, model = case.partition(" ")[0], examples(name).numpy()[rows], net_model(name)
    whole, target = {**given, "tolerance": None}, [TARGETS[row] for row in rows]
    found = xgraph.explain(model, x, method, target, of="logit", seed=SEED, batch=64, **given)
    long = xgraph.explain(model, x, method, target, of="logit", seed=SEED, batch=64, **whole)
    budget = long.details["draws"]
    assert (found.details["draws"] < budget).all()
    assert found.provenance.samples == found.details["draws"].max()
    for key, values in long.values.items():
        flat = values.reshape(len(x), -1)
        flat = flat - (flat.mean(1, keepdims=True) if method == "rise" else 0)
        error = np.abs(found.values[key] - values).reshape(len(x), -1).max(1)
        assert (error <= 4 * given["tolerance"] * np.abs(flat).max(1)).all()
    for batch in (7, 50):
        other = xgraph.explain(model, x, method, target, of="logit", seed=SEED, batch=batch, **given)
        same(other, found)


@pytest.mark.parametrize("method", ["lime", "kernel_shap", "shapley_sampling", "rise"])
def test_memory_does_not_grow_with_samples(method: str, net_model: Load) -> None:
    few, many = (8, 80) if method == "shapley_sampling" else (200, 2000)
    peaks = []
    for samples in (few, many):
        program = xgraph.compile(net_model("flat"), method, segments="grid:5x5", samples=samples)
        program(IMAGES, 1, batch=32, threads=1)
        tracemalloc.start()
        program(IMAGES, 1, batch=32, threads=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] <= 1.2 * peaks[0], peaks


@pytest.mark.parametrize("case", CASES)
def test_no_single_file(case: str, net_model: Load, tmp_path: Path) -> None:
    method, parameters = CASES[case]
    program = xgraph.compile(net_model("flat"), method, **parameters)
    with pytest.raises(XGraphError, match="no single ONNX file") as raised:
        program.save(tmp_path / "program.onnx")
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_bundle_explains_the_same(net_model: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the graphs that it brings along: none is compiled."""
    model = net_model("flat")
    programs = [xgraph.compile(model, method, **parameters) for method, parameters in CASES.values()]
    bundle = xgraph.load(write_bundle(model, programs, tmp_path / "flat.xgraph"))
    expected = {case: explain(model, case, batch=16) for case in CASES}

    def refuse(*_: Any) -> None:
        raise AssertionError("a graph is missing in the bundle")

    monkeypatch.setattr("xgraph.program.build", refuse)
    for case in CASES:
        same(explain(bundle, case, batch=16), expected[case])


@pytest.mark.parametrize("case", CASES)
def test_an_interrupt_leaves_nothing_behind(case: str, net_model: Load) -> None:
    method, parameters = CASES[case]
    program = xgraph.compile(net_model("flat"), method, **parameters)
    expected = program(IMAGES, list(TARGETS), seed=SEED, batch=5)
    seen: list[tuple[int, int]] = []

    def interrupt(done: int, total: int) -> None:
        seen.append((done, total))
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        program(IMAGES, list(TARGETS), seed=SEED, batch=1, progress=interrupt)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    again = program(IMAGES, list(TARGETS), seed=SEED, batch=5)
    for key, values in expected.values.items():
        np.testing.assert_array_equal(again.values[key], values)


def test_progress_counts_to_one_end(net_model: Load) -> None:
    for case in ("lime", "occlusion", "score_cam"):
        seen: list[tuple[int, int]] = []
        explain(net_model("flat"), case, batch=9, progress=lambda *both, seen=seen: seen.append(both))
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        assert {total for _, total in seen} == {seen[-1][0]}


@pytest.mark.parametrize("case", [case for case in CASES if case != "norm_lime fast"])
def test_half_precision(case: str, net_model: Load, tmp_path: Path) -> None:
    x = examples("flat").half().numpy()
    model = xgraph.load(literal.export(deepcopy(net("flat")).half(), {"image": x}, tmp_path / "flat.onnx"))
    found, expected = explain(model, case, x), explain(net_model("flat"), case)
    for key, values in expected.values.items():
        assert_close(found.values[key], values.astype(np.float64), 0.02)


VOCABULARY_FILE = ["[PAD]", "[UNK]", "[MASK]", "[CLS]", "[SEP]", "play", "##ing", "a", "b", "##c", "##d", *"efghijklm"]
TEXTS = np.array([[3, 5, 6, 7, 4, 0], [3, 8, 9, 10, 11, 4], [3, 12, 4, 0, 0, 0]])
TOKENS = np.array([[-1, 0, 1, 2, -1, -1], [-1, 0, 1, 2, 3, -1], [-1, 0, -1, -1, -1, -1]])
WORDS = np.array([[-1, 0, 0, 1, -1, -1], [-1, 0, 0, 0, 1, -1], [-1, 0, -1, -1, -1, -1]])
UP_TO_PADDING = np.array([[0, 1, 2, 3, 4, -1], [0, 1, 2, 3, 4, 5], [0, 1, 2, -1, -1, -1]])


@pytest.fixture(scope="module")
def worded(tmp_path_factory: pytest.TempPathFactory) -> xgraph.Model:
    """The token net with a vocabulary beside it."""
    folder = tmp_path_factory.mktemp("worded")
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY_FILE) + "\n")
    return xgraph.load(export("tokens", folder / "tokens.onnx"))


def token_ask(ids: Array, row: int, target: int, of: str = "logit") -> literal.Ask:
    site = Site(net("tokens"), torch.from_numpy(ids), [target] * len(ids), of, "words")
    return literal.asking_tokens(site, row, site.model.words.weight.detach().numpy())


def masks(design: Any, count: int) -> Array:
    draws = np.arange(design.samples)
    bits = design.bits(SEED, draws * 0, draws, np.full(len(draws), count), count // 8 + 1)
    return np.unpackbits(bits, axis=1, count=count, bitorder="little").astype(np.float64)


def lime(ask: literal.Ask, x: Array, labels: Array, off: Array) -> Array:
    return literal.lime(ask, x, labels, off, masks(Bernoulli(50), labels.max() + 1))[0]


TEXT_CASES = {
    "feature_ablation": ({}, literal.feature_ablation),
    "kernel_shap": ({"samples": 100}, literal.shapley_values),
    "lime": ({"samples": 50}, lime),
}


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("method", TEXT_CASES)
def test_words_and_special_tokens(method: str, words: bool, worded: xgraph.Model) -> None:
    """Special tokens stay, the mask token is what shows, and tokens of a word go together."""
    given, formula = TEXT_CASES[method]
    found = xgraph.explain(worded, TEXTS, method, list(TARGETS), of="logit", words=words, seed=SEED, **given)
    for row, target in enumerate(TARGETS):
        labels = (WORDS if words else TOKENS)[row]
        exact = formula(token_ask(TEXTS, row, target), TEXTS[row], labels, np.full(6, 2))
        assert_close(found.values["ids"][row], literal.painted(labels, exact))


def test_interpretdl_lime_of_text(worded: xgraph.Model) -> None:
    """Section 5.3: features are all positions before the padding, and what is off becomes the unknown token."""
    given = {"samples": 90, "seed": SEED, "variant": "interpretdl"}
    found = xgraph.explain(worded, TEXTS, "lime", list(TARGETS), **given)
    for row, target in enumerate(TARGETS):
        labels = UP_TO_PADDING[row]
        on, ask = masks(Sequential(90), labels.max() + 1), token_ask(TEXTS, row, target, "probability")
        exact = literal.lime(ask, TEXTS[row], labels, np.full(6, 1), on, 0)[0]
        assert_close(found.values["ids"][row], literal.painted(labels, exact))


@pytest.mark.parametrize("method", TEXT_CASES)
def test_padding_stays(method: str, load_proto: Any) -> None:
    proto = builders.token_model(mask=True)
    oracle, rng = builders.Oracle(proto), np.random.default_rng(3)
    ids, given = rng.integers(1, 20, (3, 6)), TEXT_CASES[method][0]
    kept = np.array([[1, 1, 1, 1, 0, 0], [1] * 6, [0, 1, 1, 0, 0, 0]])
    found = xgraph.explain(
        load_proto(proto), {"ids": ids, "attention_mask": kept}, method, [0, 3, 1], of="logit", seed=SEED, baseline=0,
        **given,
    )  # fmt: skip
    for row, target in enumerate((0, 3, 1)):
        labels = np.where(kept[row] == 1, np.cumsum(kept[row]) - 1, -1)

        def ask(copies: Array, row: int = row, target: int = target) -> Array:
            return oracle({"ids": copies, "attention_mask": kept[[row] * len(copies)]})["logits"][:, target]

        exact = TEXT_CASES[method][1](ask, ids[row], labels, np.zeros(6, np.int64))
        assert_close(found.values["ids"][row], literal.painted(labels, exact))


REPEATED = np.array([[5, 9, 5, 12, 9, 14], [9, 9, 5, 13, 12, 12], [5, 12, 9, 14, 14, 13]])


@pytest.mark.parametrize("variant", ["paper", "interpretdl"])
def test_norm_lime_of_tokens(variant: Any, net_model: Load) -> None:
    """By token; InterpretDL's goes by position, and counts positive coefficients alone (section 6.3)."""
    classes, plain = [0, 0, 3], variant == "interpretdl"
    given = {"samples": 90, "baseline": 3, "seed": SEED, "variant": variant}
    found = xgraph.explain(net_model("tokens"), REPEATED, "norm_lime", classes, **given)
    on, w = masks(Sequential(90) if plain else Bernoulli(90), 6), []
    for row, target in enumerate(classes):
        ask = token_ask(REPEATED, row, target, "probability")
        w.append(literal.lime(ask, REPEATED[row], np.arange(6), np.full(6, 3), on, 0 if plain else 1)[0])
    assert min(own.min() for own in w) < 0, "the test shows nothing unless some coefficients are negative"
    names = [np.arange(6)] * 3 if plain else list(REPEATED)
    counted = [own > 0 if plain else np.ones(6, bool) for own in w]
    sums: dict[tuple[int, int], list[float]] = {}
    for c, own, keys, chosen in zip(classes, w, names, counted, strict=True):
        for name, value in zip(keys[chosen], (own**2 / np.abs(own).sum())[chosen], strict=True):
            sums.setdefault((c, int(name)), []).append(value)
    for row, (c, keys) in enumerate(zip(classes, names, strict=True)):
        assert_close(found.values["ids"][row], np.array([np.mean(sums.get((c, int(k)), [0.0])) for k in keys]))


@pytest.mark.parametrize("alpha", [0.3, 2.0])
def test_lime_is_pulled_towards_a_prior(alpha: float, net_model: Load) -> None:
    known = {0: {5: 0.02, 9: -0.05}, 3: {12: 0.1, 14: 0.04, 5: -0.03}}
    prior, classes = Prior(known, features="tokens"), [0, 1, 3]
    given = {"samples": 90, "baseline": 7, "seed": SEED, "alpha": alpha, "prior": prior}
    found = xgraph.explain(net_model("tokens"), REPEATED, "lime", classes, **given)
    on = masks(Bernoulli(90), 6)
    for row, target in enumerate(classes):
        ask, expected = token_ask(REPEATED, row, target, "probability"), known.get(target, {})
        responses = ask(literal.switched(REPEATED[row], np.arange(6), on, np.full(6, 7)))
        own = np.array([expected.get(int(token), 0.0) for token in REPEATED[row]])
        exact = literal.towards_prior(on, literal.lime_weights(on), responses, alpha, own)
        assert_close(found.values["ids"][row], exact)


BACKGROUND = np.random.default_rng(0).random((9, 8))
ERRORS: list[tuple[str, str, dict[str, Any], str]] = [
    ("flat", "occlusion", {"window": (3, 9, 8)}, "larger than the sample"),
    ("flat", "occlusion", {"window": (3, 2)}, "do not fit samples of shape"),
    ("flat", "occlusion", {"window": (3, 0, 2)}, "count from 1"),
    ("flat", "occlusion", {"window": (3, 2, 2), "stride": 0}, "count from 1"),
    ("flat", "occlusion", {"incremental": True}, "incremental=true, but"),
    ("mlp", "occlusion", {"window": (9,)}, "larger than the sample"),
    ("mlp", "occlusion", {"window": (2, 2)}, "one axis"),
    *(("flat", name, {"samples": 0}, "samples=0") for name in ("lime", "norm_lime", "g_lime", "kernel_shap", "rise")),
    ("flat", "shapley_sampling", {"samples": 0}, "samples=0"),
    ("flat", "lime", {"segments": "slik"}, "segments='slik' is not one of"),
    ("flat", "lime", {"segments": "grid:9x9"}, "more cells than the picture"),
    ("flat", "lime", {"segments": np.zeros((8, 7), int)}, r"segments of shape \[8, 7\] do not fit"),
    ("flat", "lime", {"segments": np.full((8, 8), -1)}, "nothing can be switched off"),
    ("flat", "lime", {"segments": 5}, "segments=5 should be"),
    ("flat", "lime", {"segments": lambda picture: np.zeros((3, 3), int)}, r"\[3, 3\] do not fit"),
    ("mlp", "kernel_shap", {"segments": "slic"}, "is no picture"),
    ("flat", "rise", {"baseline": "nonsense"}, "baseline='nonsense' is not known"),
    ("flat", "feature_ablation", {"baseline": "nonsense"}, "baseline='nonsense' is not known"),
    ("flat", "lime", {"baseline": np.zeros((3, 8, 7))}, "does not fit"),
    ("mlp", "lime", {"baseline": "segment_mean"}, "superpixels of pictures"),
    ("tokens", "lime", {}, "no token is known"),
    ("tokens", "lime", {"baseline": 0.5}, "does not fit whole numbers"),
    ("tokens", "lime", {"baseline": "mean"}, "does not fit whole numbers"),
    ("tokens", "lime", {"baseline": 0, "words": True}, "vocab.txt"),
    ("tokens", "rise", {"baseline": 0, "segments": "slic"}, "tokens are no picture"),
    ("mlp", "lime", {"masks": np.ones((9, 7))}, r"masks of shape \[9, 7\] do not fit sample 0, which has 8 features"),
    ("mlp", "lime", {"masks": np.ones(8)}, r"should be \(samples, features\)"),
    ("mlp", "lime", {"masks": np.ones((0, 8))}, "masks of shape"),
    ("mlp", "lime", {"data": np.ones((9, 7))}, "do not fit a background of 7 columns"),
    ("mlp", "lime", {"data": BACKGROUND, "categorical": (8,)}, "no column 8"),
    ("flat", "lime", {"data": np.ones((9, 8))}, "data is a table"),
    ("mlp", "lime", {"kernel_width": 0}, "kernel_width"),
    ("mlp", "lime", {"selection": "lasso_path"}, "needs features"),
    *(("mlp", "lime", {"tolerance": tolerance}, "tolerance=") for tolerance in (0, 1.5, -0.1)),
    ("flat", "lime", {"wrt": "layer:conv.2"}, "cannot be masked by features"),
    ("flat", "rise", {"probability": 1.0}, "between 0 and 1"),
    ("flat", "rise", {"cells": (7,)}, "rows and columns"),
    ("mlp", "score_cam", {}, "is for one image input"),
    ("flat", "score_cam", {"layer": "head"}, "not .N, channels, height, width"),
    ("flat", "score_cam", {"channels": 0}, "channels=0"),
    ("mlp", "recipro_cam", {}, "no layer with spatial axes"),
    ("mlp", "norm_lime", {"target": xgraph.Target.contrast(0, 1)}, "the target must be a class"),
    ("flat", "g_lime", {"target": xgraph.Target.contrast(0, 1)}, "the target must be a class"),
    ("mlp", "g_lime", {"beta": -1}, "beta=-1"),
    ("mlp", "g_lime", {"prior": "missing.npz"}, "no such file"),
    ("flat", "norm_lime", {"clusters": 0}, "clusters=0"),
    ("flat", "norm_lime", {"clusters": lambda picture, labels: np.zeros(2)}, "one whole number per segment"),
    ("tokens", "kernel_shap", {"baseline": VOCABULARY + 1}, str(VOCABULARY + 1)),
    ("tokens", "kernel_shap", {"baseline": np.ones((2, 6))}, "does not fit whole numbers"),
    ("mlp", "lime", {"masks": np.full((9, 8), 0.5)}, "0 or 1"),
    ("mlp", "lime", {"data": BACKGROUND, "masks": np.ones((9, 8))}, "masks"),
    ("mlp", "lime", {"data": BACKGROUND, "kernel": "cosine"}, "cosine"),
]


@pytest.mark.parametrize(("name", "method", "given", "message"), ERRORS)
def test_errors_take_one_line(name: str, method: str, given: dict[str, Any], message: str, net_model: Load) -> None:
    with pytest.raises(XGraphError, match=message) as raised:
        xgraph.explain(net_model(name), examples(name).numpy(), method, **{"target": 1, **given})
    assert "\n" not in str(raised.value)


def test_a_text_of_padding(load_proto: Any) -> None:
    ids, kept = np.ones((2, 6), np.int64), np.array([[1] * 6, [0] * 6])
    model = load_proto(builders.token_model(mask=True))
    with pytest.raises(XGraphError, match="sample 1 has no feature to switch off") as raised:
        xgraph.explain(model, {"ids": ids, "attention_mask": kept}, "lime", 1, baseline=0)
    assert "\n" not in str(raised.value)
