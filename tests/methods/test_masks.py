"""Every perturbation method against its literal formula: all kinds of inputs, targets and baselines, same masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest

import xgraph
from xgraph.feeds import BITS, SHIFT
from xgraph.plan import Samples, Wrt
from xgraph.sampling import Grids, Part
from xgraph.sampling.designs import Bernoulli, Coalitions, Permutations

torch = pytest.importorskip("torch")

import methods.literal_masks as literal  # noqa: E402
from methods.cases import CAM_LAYERS, SEED, TARGETS, Case, Load, assert_close  # noqa: E402
from methods.nets import Tokens, examples, net  # noqa: E402
from oracles import Array, Site  # noqa: E402
from torch import nn  # noqa: E402

pytestmark = pytest.mark.torch


@dataclass(frozen=True, eq=False)
class Setup:
    """A model, samples, and what their features are."""

    model: nn.Module
    inputs: Mapping[str, Array]
    labels: Array
    """(rows, *shape of a sample); several inputs in a row."""
    of: str
    given: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that say so to xgraph."""
    off: Any = 0.0
    """What shows where a feature is off."""
    channel_axis: int = 0

    @property
    def x(self) -> Array:
        """The samples; several inputs in a row."""
        arrays = list(self.inputs.values())
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=1)

    def ask(self, row: int, target: int, of: str, against: int | None = None) -> literal.Ask:
        """Returns what asks for a class of a row, or for one less another."""
        model = self.model if len(self.inputs) == 1 else literal.Together(self.model)
        at = "words" if isinstance(self.model, Tokens) else ""
        if against is not None:
            model, target, of, at = literal.Difference(model, target, against, of), 0, "logit", at and f"model.{at}"
        site = Site(model, torch.from_numpy(self.x), [target] * len(self.x), of, at)
        if not at:
            return literal.asking(site, row)
        return literal.asking_tokens(site, row, self.model.words.weight.detach().numpy().astype(np.float64))

    def wide(self, row: int) -> Array:
        """Returns a sample in float64, token numbers as they are."""
        return self.x[row] if self.x.dtype.kind == "i" else self.x[row].astype(np.float64)


def _maps() -> Array:
    """Label maps with 5, 4 and 6 features; the second has entries that stay on."""
    rng = np.random.default_rng(1)
    maps = np.stack([rng.integers(-1 if count == 4 else 0, count, (4, 4)) for count in (5, 4, 6)])
    for own, count in zip(maps, (5, 4, 6), strict=True):
        own.reshape(-1)[:count] = np.arange(count)
    return maps.repeat(2, axis=1).repeat(2, axis=2)


MAPS = _maps()
_IMAGES = examples("flat").numpy()
torch.manual_seed(3)
_RANDOM = np.random.default_rng(4).standard_normal((3, 35)).astype(np.float32)


def _all(shape: tuple[int, ...], labels: Array) -> Array:
    return np.broadcast_to(labels, (3, *shape))


SETUPS = {
    "image": Setup(
        net("flat"), {"image": _IMAGES}, _all((3, 8, 8), MAPS[:, None]), "logit", {"segments": MAPS, "baseline": "zero"}
    ),
    "nhwc": Setup(
        literal.Nhwc(net("flat")),
        {"image": np.ascontiguousarray(_IMAGES.transpose(0, 2, 3, 1))},
        _all((8, 8, 3), MAPS[..., None]),
        "probability",
        {"segments": MAPS, "baseline": "zero"},
        channel_axis=2,
    ),
    "tokens": Setup(
        net("tokens"), {"ids": examples("tokens").numpy()}, _all((6,), np.arange(6)), "loss", {"baseline": 7}, 7
    ),
    "columns": Setup(net("mlp"), {"x": examples("mlp").numpy()}, _all((8,), np.arange(8)), "logit"),
    "signal": Setup(
        literal.Signal(), {"x": _RANDOM[:, :27].reshape(3, 3, 9)}, _all((3, 9), np.arange(9)), "probability"
    ),
    "pair": Setup(literal.Pair(), {"a": _RANDOM[:, 27:31], "b": _RANDOM[:, 31:]}, _all((8,), np.arange(8)), "loss"),
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Returns the function name of a setup -> loaded model."""
    folder = tmp_path_factory.mktemp("setups")
    return cache(
        lambda name: xgraph.load(literal.export(SETUPS[name].model, SETUPS[name].inputs, folder / f"{name}.onnx"))
    )


def joined(found: xgraph.Attribution, setup: Setup) -> Array:
    """Returns the values of all inputs in a row."""
    arrays = [found.values[name] for name in setup.inputs]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=1)


def drawn(design: Any, row: int, count: int) -> Array:
    """Returns the masks of a row, as the design says that it draws them."""
    counts = np.array([count])
    draws = np.arange(int(design.counts(counts)[0]))
    bits = design.bits(SEED, np.full(len(draws), row), draws, np.full(len(draws), count), count // 8 + 1)
    return np.unpackbits(bits, axis=1, count=count, bitorder="little").astype(np.float64)


def orders(row: int, count: int, samples: int, paired: bool) -> list[list[int]]:
    """Returns the permutations, read off their beginnings."""
    on = drawn(Permutations(samples, paired), row, count)
    found = []
    for start in range(2, len(on), count - 1):
        ends = np.concatenate([[np.zeros(count)], on[start : start + count - 1], [np.ones(count)]])
        found.append([int(np.flatnonzero(step)[0]) for step in np.diff(ends, axis=0)])
    return found


Exact = Callable[..., Array]
"""(ask, x, labels, baseline, row) -> coefficients."""


def masked(formula: Exact, design: Any, *more: Any, **options: Any) -> Exact:
    """Returns a formula over the masks that a design draws."""
    return lambda ask, x, labels, baseline, row: formula(
        ask, x, labels, baseline, drawn(design, row, labels.max() + 1), *more, **options
    )


def coefficients_of(*given: Any, **options: Any) -> Array:
    return literal.lime(*given, **options)[0]


def ordered(samples: int, paired: bool) -> Exact:
    """Returns Shapley sampling over the permutations that the design draws."""
    return lambda ask, x, labels, baseline, row: literal.permutation_shapley(
        ask, x, labels, baseline, orders(row, labels.max() + 1, samples, paired)
    ).mean(0)


FEATURE_CASES: dict[str, tuple[str, dict[str, Any], Exact]] = {
    "ablation": ("feature_ablation", {}, lambda *given: literal.feature_ablation(*given[:4])),
    "lime": ("lime", {"samples": 60}, masked(coefficients_of, Bernoulli(60))),
    "lime euclidean": (
        "lime",
        {"samples": 70, "kernel": "euclidean", "alpha": 0.01},
        masked(coefficients_of, Bernoulli(70), alpha=0.01, kernel="euclidean"),
    ),
    "lime least squares": (
        "lime",
        {"samples": 90, "kernel_width": 0.8, "alpha": 0},
        masked(coefficients_of, Bernoulli(90), alpha=0, width=0.8),
    ),
    "kernel_shap exact": ("kernel_shap", {"samples": 600}, lambda *given: literal.shapley_values(*given[:4])),
    "kernel_shap": ("kernel_shap", {"samples": 30}, masked(literal.kernel_shap, Coalitions(30))),
    "kernel_shap unpaired": (
        "kernel_shap",
        {"samples": 45, "paired": False},
        masked(literal.kernel_shap, Coalitions(45, False)),
    ),
    "shapley_sampling": ("shapley_sampling", {"samples": 5}, ordered(5, True)),
    "shapley_sampling unpaired": ("shapley_sampling", {"samples": 4, "paired": False}, ordered(4, False)),
    "rise": (
        "rise",
        {"samples": 50, "probability": 0.3},
        masked(literal.rise_features, Bernoulli(50, 0.3, clean=False, shared=False), 0.3),
    ),
}


def shown(spec: Any, setup: Setup, row: int) -> Array:
    """Returns the baseline of a row, in float64."""
    own = spec[row] if isinstance(spec, np.ndarray) and spec.shape == setup.x.shape else spec
    return literal.baseline_of(own, setup.wide(row), setup.channel_axis, setup.labels[row])


def exact_of(setup: Setup, formula: Exact, of: str, off: Any = None, against: int | None = None) -> Array:
    """Returns the formula's maps for all rows, each with its own target."""
    maps = []
    for row, target in enumerate(TARGETS):
        x, labels, baseline = setup.wide(row), setup.labels[row], shown(setup.off if off is None else off, setup, row)
        coefficients = formula(setup.ask(row, target, of, against), x, labels, baseline, row)
        maps.append(literal.painted(labels, coefficients))
    return np.stack(maps)


def feature_parameters(case: str, name: str) -> dict[str, Any]:
    """Returns the parameters of a case for a setup; RISE has a grid of its own unless there are segments."""
    return {**SETUPS[name].given, **FEATURE_CASES[case][1], "seed": SEED}


@pytest.mark.parametrize("name", SETUPS)
@pytest.mark.parametrize("case", FEATURE_CASES)
def test_features(case: str, name: str, loaded: Load) -> None:
    setup, (method, _, formula) = SETUPS[name], FEATURE_CASES[case]
    given = feature_parameters(case, name)
    found = xgraph.explain(loaded(name), setup.inputs, method, list(TARGETS), of=setup.of, **given)
    assert_close(joined(found, setup), exact_of(setup, formula, setup.of))


@pytest.mark.parametrize("of", ["logit", "probability"])
@pytest.mark.parametrize("name", ["image", "tokens"])
@pytest.mark.parametrize("case", ["ablation", "lime", "kernel_shap", "shapley_sampling", "rise"])
def test_contrasts(case: str, name: str, of: Any, loaded: Load) -> None:
    setup, (method, _, formula) = SETUPS[name], FEATURE_CASES[case]
    against = 4
    found = xgraph.explain_each(
        loaded(name),
        setup.inputs,
        method,
        [xgraph.Target.contrast(target, against, of=of) for target in TARGETS],
        **feature_parameters(case, name),
    )
    exact = exact_of(setup, formula, of, against=against)
    for row, one in enumerate(found):
        assert_close(joined(one, setup)[row], exact[row])


EACH = [*((case, "image") for case in FEATURE_CASES), ("lime", "tokens"), ("kernel_shap", "pair"), ("rise", "signal")]


@pytest.mark.parametrize(("case", "name"), EACH)
def test_targets_together_are_what_they_are_alone(case: str, name: str, loaded: Load) -> None:
    setup, method = SETUPS[name], FEATURE_CASES[case][0]
    given = {**feature_parameters(case, name), "of": setup.of}
    targets = [list(TARGETS), 2, 4, None]
    together = xgraph.explain_each(loaded(name), setup.inputs, method, targets, **given)
    for target, found in zip(targets, together, strict=True):
        alone = xgraph.explain(loaded(name), setup.inputs, method, target, **given)
        assert_close(joined(found, setup), joined(alone, setup).astype(np.float64))
        assert found.checks.keys() == alone.checks.keys()
        for a, b in zip(found.details["coefficients"], alone.details["coefficients"], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


BASELINES = {
    "number": lambda x: 0.5,
    "mean": lambda x: "mean",
    "blur": lambda x: "blur",
    "segment_mean": lambda x: "segment_mean",
    "array": lambda x: np.random.default_rng(8).standard_normal(x.shape[1:]).astype(np.float32),
    "each": lambda x: np.random.default_rng(9).standard_normal(x.shape).astype(np.float32),
}


@pytest.mark.parametrize("name", ["image", "nhwc"])
@pytest.mark.parametrize("case", ["ablation", "shapley_sampling"])
@pytest.mark.parametrize("baseline", BASELINES)
def test_baselines_of_pictures(baseline: str, case: str, name: str, loaded: Load) -> None:
    setup, (method, _, formula) = SETUPS[name], FEATURE_CASES[case]
    spec = BASELINES[baseline](setup.x)
    given = {**feature_parameters(case, name), "baseline": spec}
    found = xgraph.explain(loaded(name), setup.inputs, method, list(TARGETS), of="logit", **given)
    assert_close(joined(found, setup), exact_of(setup, formula, "logit", spec))


def test_lime_shows_mean_colours_unless_told_otherwise(loaded: Load) -> None:
    """Its default objective is the probability."""
    setup = SETUPS["image"]
    found = xgraph.explain(loaded("image"), setup.inputs, "lime", list(TARGETS), samples=60, segments=MAPS, seed=SEED)
    assert found.target.of == "probability"
    assert_close(found.values["image"], exact_of(setup, FEATURE_CASES["lime"][2], "probability", "segment_mean"))


WINDOWS: list[tuple[str, dict[str, Any], tuple[int, ...], tuple[int, ...]]] = [
    ("image", {}, (3, 1, 1), (3, 1, 1)),
    ("image", {"window": (3, 3, 4)}, (3, 3, 4), (3, 1, 2)),
    ("image", {"window": (3, 3, 4), "incremental": False}, (3, 3, 4), (3, 1, 2)),
    ("image", {"window": (1, 3, 2), "stride": (1, 2, 3), "baseline": "mean"}, (1, 3, 2), (1, 2, 3)),
    ("image", {"window": (3, 4, 4), "stride": 3, "baseline": "blur"}, (3, 4, 4), (3, 3, 3)),
    ("image", {"window": (3, 8, 8)}, (3, 8, 8), (3, 4, 4)),
    ("image", {"window": (3, 2, 2), "stride": (1, 3, 3)}, (3, 2, 2), (1, 3, 3)),
    ("nhwc", {}, (1, 1, 3), (1, 1, 3)),
    ("nhwc", {"window": (3, 2, 3), "stride": (2, 1, 3), "baseline": -0.4}, (3, 2, 3), (2, 1, 3)),
    ("nhwc", {"window": (2, 3, 1), "stride": 2}, (2, 3, 1), (2, 2, 2)),
    ("signal", {"window": (3, 4)}, (3, 4), (3, 2)),
    ("signal", {"window": (2, 2), "stride": (1, 3)}, (2, 2), (1, 3)),
    ("tokens", {"baseline": 7}, (1,), (1,)),
    ("tokens", {"baseline": 3, "window": (3,)}, (3,), (1,)),
    ("columns", {"window": (3,), "stride": 2}, (3,), (2,)),
    ("columns", {"window": (4,)}, (4,), (2,)),
    ("pair", {}, (1,), (1,)),
    ("pair", {"window": (3,), "stride": 3}, (3,), (3,)),
]


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize(("name", "given", "window", "stride"), WINDOWS)
def test_occlusion(
    name: str, given: dict[str, Any], window: tuple[int, ...], stride: tuple[int, ...], normalise: bool, loaded: Load
) -> None:
    setup = SETUPS[name]
    found = xgraph.explain(
        loaded(name), setup.inputs, "occlusion", list(TARGETS), of=setup.of, normalise=normalise, **given
    )
    exact = []
    for row, target in enumerate(TARGETS):
        baseline = shown(given.get("baseline", "zero"), setup, row)
        ask = setup.ask(row, target, setup.of)
        exact.append(literal.occlusion(ask, setup.wide(row), window, stride, baseline, normalise))
    assert_close(joined(found, setup), np.stack(exact))


@pytest.mark.parametrize(
    ("name", "cells", "chance", "baseline"),
    [
        ("image", (7, 7), 0.5, "zero"),
        ("image", (3, 2), 0.3, "zero"),
        ("image", (1, 5), 0.7, "blur"),
        ("nhwc", (3, 4), 0.5, "mean"),
        ("nhwc", (8, 3), 0.5, 0.4),
    ],
)
def test_rise(name: str, cells: tuple[int, int], chance: float, baseline: Any, loaded: Load) -> None:
    setup, samples = SETUPS[name], 40
    axis = setup.channel_axis + 1
    opened = Grids(Part(Wrt("input", "image"), "image", axis), cells, chance, samples, ("zero",)).open(
        Samples(setup.inputs, shapes=(setup.x.shape[1:],), seed=SEED)
    )
    exact = []
    for row, target in enumerate(TARGETS):
        feeds = opened.batch(np.full(samples, row), np.arange(samples)).feeds
        grids = np.unpackbits(feeds[BITS], axis=1, count=cells[0] * cells[1], bitorder="little").reshape(-1, *cells)
        masks = [literal.rise_mask(grid, shift, (8, 8)) for grid, shift in zip(grids, feeds[SHIFT], strict=True)]
        masks = np.expand_dims(np.stack(masks), axis)
        ask = setup.ask(row, target, "probability")
        exact.append(literal.rise(ask, setup.wide(row), masks, shown(baseline, setup, row), chance))
    given = {"cells": cells, "probability": chance, "baseline": baseline, "samples": samples, "seed": SEED}
    found = xgraph.explain(loaded(name), setup.inputs, "rise", list(TARGETS), **given)
    assert found.target.of == "probability"
    assert_close(found.values["image"], np.stack(exact))


@pytest.mark.parametrize("given", [{}, {"channels": 2}, {"baseline": 0.7}, {"baseline": "blur"}])
@pytest.mark.parametrize(("layer", "of"), [*((layer, "logit") for layer in CAM_LAYERS), ("flattened", "probability")])
def test_score_cam(layer: str, of: Any, given: dict[str, Any], net_model: Load) -> None:
    name, at = CAM_LAYERS[layer]
    case = Case(name, "", at)
    maps, pictures = case.site().value, Case(name, "input:image", "").site(of)
    exact = [
        literal.score_cam(
            literal.asking(pictures, row),
            x,
            maps[row],
            literal.baseline_of(given.get("baseline", "zero"), x),
            top=given.get("channels"),
        )
        for row, x in enumerate(pictures.value)
    ]
    found = xgraph.explain(net_model(name), case.x(), "score_cam", list(TARGETS), of=of, layer=at, **given)
    assert_close(found.values[at], np.stack(exact))


def test_score_cam_of_pictures_with_channels_last(loaded: Load) -> None:
    setup, at = SETUPS["nhwc"], "inner.conv.2"
    maps = Site(setup.model, torch.from_numpy(setup.x), TARGETS, at=at).value
    exact = [
        literal.score_cam(setup.ask(row, target, "logit"), setup.wide(row), maps[row], setup.wide(row) * 0, 2)
        for row, target in enumerate(TARGETS)
    ]
    found = xgraph.explain(loaded("nhwc"), setup.x, "score_cam", list(TARGETS), layer=at)
    assert_close(found.values[at], np.stack(exact))


@pytest.mark.parametrize("gaussian", [True, False])
@pytest.mark.parametrize(("layer", "of"), [*((layer, None) for layer in CAM_LAYERS), ("stem", "logit")])
def test_recipro_cam(layer: str, of: Any, gaussian: bool, net_model: Load) -> None:
    case = Case(CAM_LAYERS[layer][0], "", CAM_LAYERS[layer][1])
    site = case.site(of or "probability")
    exact = [literal.recipro_cam(literal.asking(site, row), maps, gaussian) for row, maps in enumerate(site.value)]
    given = {"layer": case.at, "gaussian": gaussian, "of": of}
    found = xgraph.explain(net_model(case.net), case.x(), "recipro_cam", list(TARGETS), **given)
    assert_close(found.values[case.at], np.stack(exact))
