"""Perturbation methods against other packages, against InterpretDL 0.8.0 as described, and with global knowledge."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import pairwise_distances

import xgraph
from xgraph.preprocess import Preprocess
from xgraph.sampling.designs import Bernoulli, Permutations
from xgraph.sampling.tabular import Gaussian, Quartiles

torch = pytest.importorskip("torch")

import methods.literal_masks as literal  # noqa: E402
from methods.cases import CASES, SEED, TARGETS, Load, assert_close  # noqa: E402
from methods.nets import examples, export, net  # noqa: E402
from oracles import Array, Site  # noqa: E402

pytestmark = pytest.mark.torch

MAP = np.arange(64).reshape(8, 8) // 16 * 2 + np.arange(8) // 4
"""Eight features."""
IMAGES = examples("flat").numpy()
BACKGROUND = np.random.default_rng(6).standard_normal((60, 8)).round(1)


def package(name: str) -> Any:
    """Imports a package that may warn about itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name)


def wide(name: str) -> torch.nn.Module:
    return Site(net(name), examples(name), TARGETS).model


def numbers(name: str, x: Array, of: str = "probability") -> Array:
    """Returns logits or probabilities (n, classes) in float64."""
    with torch.no_grad():
        z = wide(name)(torch.from_numpy(np.asarray(x, np.float64)))
    return (z if of == "logit" else z.softmax(1)).numpy()


def coefficients(found: xgraph.Attribution) -> Array:
    return np.stack(found.details["coefficients"])


@pytest.mark.parametrize("row", range(3))
def test_lime_of_images(row: int, net_model: Load) -> None:
    lime_image = package("lime.lime_image")
    samples, target = 150, TARGETS[row]
    picture = IMAGES[row].transpose(1, 2, 0).astype(np.float64)
    told = lime_image.LimeImageExplainer(random_state=SEED).explain_instance(
        picture,
        lambda copies: numbers("flat", np.transpose(copies, (0, 3, 1, 2))),
        labels=(target,),
        top_labels=None,
        num_samples=samples,
        segmentation_fn=lambda _: MAP,
        random_seed=0,
    )
    masks = np.random.RandomState(SEED).randint(0, 2, samples * 8).reshape(samples, 8)
    masks[0] = 1
    found = xgraph.explain(net_model("flat"), IMAGES[row : row + 1], "lime", target, segments=MAP, masks=masks)
    exact = np.array([weight for _, weight in sorted(told.local_exp[target])])
    assert_close(coefficients(found)[0], exact)
    np.testing.assert_allclose(found.checks["r2"], told.score, rtol=1e-5)
    np.testing.assert_allclose(found.details["intercept"], told.intercept[target], rtol=1e-5)


@pytest.mark.parametrize("kept", [2, 5])
@pytest.mark.parametrize("selection", ["highest_weights", "forward_selection", "lasso_path"])
def test_lime_with_selected_features(selection: str, kept: int, net_model: Load) -> None:
    lime_base = package("lime.lime_base")
    masks = np.random.default_rng(2).integers(0, 2, (200, 8))
    masks[0] = 1
    x = examples("mlp").numpy()
    found = xgraph.explain(
        net_model("mlp"), x, "lime", list(TARGETS), masks=masks, selection=selection, features=kept, of="logit"
    )
    for row, target in enumerate(TARGETS):
        asked = numbers("mlp", literal.switched(x[row].astype(np.float64), np.arange(8), masks, np.zeros(8)), "logit")
        distances = pairwise_distances(masks, masks[:1], metric="cosine").ravel()
        base = lime_base.LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / 0.25**2)), random_state=np.random.RandomState(0))
        _, told, score, _ = base.explain_instance_with_data(masks, asked, distances, target, kept, selection)
        exact = np.zeros(8)
        exact[[feature for feature, _ in told]] = [weight for _, weight in told]
        assert_close(coefficients(found)[row], exact)
        np.testing.assert_allclose(found.checks["r2"][row], score, rtol=1e-4)


@pytest.mark.parametrize("around", [{}, {"kernel_width": 1.3, "alpha": 0.2}])
@pytest.mark.parametrize("sampling", ["quartiles", "gaussian"])
def test_lime_of_tables(sampling: Any, around: dict[str, Any], net_model: Load) -> None:
    """The package's kernel and ridge on the samples that are drawn here; the first one is the row itself."""
    lime_base = package("lime.lime_base")
    samples, x, every = 200, examples("mlp").numpy(), np.arange(200)
    data = np.concatenate([BACKGROUND[:, :7], np.random.default_rng(0).integers(0, 3, (60, 1))], axis=1)
    x[:, 7] = (0, 1, 2)
    given = {"data": data, "sampling": sampling, "categorical": (7,), "samples": samples, "seed": SEED, **around}
    found = xgraph.explain(net_model("mlp"), x, "lime", list(TARGETS), **given)
    fitted = (Quartiles if sampling == "quartiles" else Gaussian).fit(data, (7,))
    width = around.get("kernel_width", 0.75 * np.sqrt(8))
    for row, target in enumerate(TARGETS):
        values, seen = fitted.draw(x, np.full(samples, row), every, SEED)
        np.testing.assert_array_equal(values[0], x[row])
        distances = pairwise_distances(seen, seen[:1]).ravel()
        base = lime_base.LimeBase(lambda d: np.sqrt(np.exp(-(d**2) / width**2)))
        ridge = Ridge(alpha=around.get("alpha", 1), fit_intercept=True)
        asked = numbers("mlp", values)
        intercept, told, score, _ = base.explain_instance_with_data(seen, asked, distances, target, 8, "none", ridge)
        assert_close(coefficients(found)[row], np.array([weight for _, weight in sorted(told)]))
        np.testing.assert_allclose(found.details["intercept"][row], intercept, rtol=1e-4)
        np.testing.assert_allclose(found.checks["r2"][row], score, rtol=1e-4)
    np.testing.assert_array_equal(found.values["x"], coefficients(found))


@pytest.mark.parametrize("of", ["logit", "probability"])
def test_kernel_shap(of: Any, net_model: Load) -> None:
    shap = package("shap")
    x = examples("mlp").numpy()
    explainer = shap.KernelExplainer(lambda copies: numbers("mlp", copies, of), np.full((1, 8), 0.3))
    told = explainer.shap_values(x.astype(np.float64), l1_reg=False, nsamples=256, silent=True)
    exact = np.stack([told[row, :, target] for row, target in enumerate(TARGETS)])
    found = xgraph.explain(net_model("mlp"), x, "kernel_shap", list(TARGETS), of=of, baseline=0.3)
    assert_close(found.values["x"], exact)


def captum(name: str, method: str, x: Array, **given: Any) -> Array:
    attr = package("captum.attr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = getattr(attr, method)(wide(name))
        orders = given.pop("orders", None)
        if orders is not None:
            made.permutation_generator = lambda *_: iter(orders)
        return made.attribute(torch.from_numpy(x).double(), target=torch.tensor(TARGETS[: len(x)]), **given).numpy()


@pytest.mark.parametrize(
    ("window", "stride"), [((3, 2, 3), (3, 1, 2)), ((1, 4, 4), (1, 3, 3)), ((2, 3, 3), (2, 2, 2)), ((3, 5, 1), 1)]
)
@pytest.mark.parametrize("baseline", [0.0, -0.6, "array"])
def test_occlusion(window: Any, stride: Any, baseline: Any, net_model: Load) -> None:
    baseline = (
        np.random.default_rng(1).standard_normal((3, 8, 8)).astype(np.float32) if baseline == "array" else baseline
    )
    told = torch.from_numpy(baseline[None]).double() if isinstance(baseline, np.ndarray) else baseline
    exact = captum("flat", "Occlusion", IMAGES, sliding_window_shapes=window, strides=stride, baselines=told)
    given = {"window": window, "stride": stride, "baseline": baseline}
    found = xgraph.explain(net_model("flat"), IMAGES, "occlusion", list(TARGETS), **given)
    assert_close(found.values["image"], exact)


def test_feature_ablation(net_model: Load) -> None:
    exact = captum("flat", "FeatureAblation", IMAGES, feature_mask=torch.from_numpy(MAP)[None, None], baselines=0.2)
    given = {"segments": MAP, "baseline": 0.2}
    found = xgraph.explain(net_model("flat"), IMAGES, "feature_ablation", list(TARGETS), **given)
    assert_close(found.values["image"], exact)


def test_shapley_values_of_all_orders(net_model: Load) -> None:
    maps, rows = MAP // 2, slice(0, 3)
    mask = torch.from_numpy(maps)[None, None]
    exact = captum("flat", "ShapleyValueSampling", IMAGES, feature_mask=mask, orders=list(permutations(range(4))))
    found = xgraph.explain(net_model("flat"), IMAGES[rows], "kernel_shap", list(TARGETS), segments=maps)
    assert_close(found.values["image"], exact)


@pytest.mark.parametrize("paired", [True, False])
def test_shapley_sampling(paired: bool, net_model: Load) -> None:
    """One row at a time: the first row of a call draws the same orders each time."""
    design, samples = Permutations(7, paired), 7
    draws = np.arange(2 + samples * 7)
    bits = design.bits(SEED, draws * 0, draws, np.full(len(draws), 8), 2)
    on = np.unpackbits(bits, axis=1, count=8, bitorder="little")[2:].reshape(samples, 7, 8)
    orders = [np.argsort(8 - own.sum(0), kind="stable").tolist() for own in on]
    if paired:
        assert orders[1] == orders[0][::-1]
    mask = torch.from_numpy(MAP)[None, None]
    exact = captum("flat", "ShapleyValueSampling", IMAGES[:1], feature_mask=mask, orders=orders, n_samples=samples)
    given = {"segments": MAP, "samples": samples, "paired": paired, "seed": SEED}
    found = xgraph.explain(net_model("flat"), IMAGES[:1], "shapley_sampling", TARGETS[0], **given)
    assert_close(found.values["image"], exact)


# InterpretDL 0.8.0.

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
PICTURES = np.random.default_rng(12).integers(0, 256, (3, 8, 8, 3), np.uint8)
COARSE = np.random.default_rng(13).integers(0, 256, (3, 2, 2, 3), np.uint8).repeat(4, axis=1).repeat(4, axis=2)
MASKS = 80


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> xgraph.Model:
    """The flat net with a preprocessing spec."""
    spec = Preprocess(size=(8, 8), mean=tuple(MEAN.tolist()), std=tuple(STD.tolist()))
    return xgraph.load(export("flat", tmp_path_factory.mktemp("spec") / "flat.onnx"), preprocess=spec)


def normalised(pictures: Array) -> Array:
    """Section 1.1."""
    return ((pictures / 255 - MEAN) / STD).transpose(0, 3, 1, 2)


def lime_step(picture: Array, segments: Array, seed: int) -> tuple[Array, Array, Array]:
    """Section 5.2, steps 2 to 6: masks, weights, probabilities."""
    count = segments.max() + 1
    on = np.random.RandomState(seed).randint(0, 2, MASKS * count).reshape(MASKS, count)
    on[0] = 1
    grey = picture.copy()
    for segment in range(count):
        grey[segments == segment] = picture[segments == segment].mean(0).astype(np.uint8)
    copies = np.stack([np.where(mask[segments][..., None] == 1, picture, grey) for mask in on])
    distance = 1 - np.sqrt(on.sum(1) / count)
    return on, np.sqrt(np.exp(-(distance**2) / 0.25**2)), numbers("flat", normalised(copies))


def test_interpretdl_lime(pictured: xgraph.Model) -> None:
    given = {"segments": MAP, "samples": MASKS, "seed": SEED, "variant": "interpretdl"}
    found = xgraph.explain(pictured, PICTURES, "lime", list(TARGETS), **given)
    for row, target in enumerate(TARGETS):
        on, weights, p = lime_step(PICTURES[row], MAP, SEED)
        exact, intercept, r2 = literal.surrogate(on, weights, p[:, target], 0)
        assert_close(coefficients(found)[row], exact)
        np.testing.assert_allclose(found.checks["r2"][row], r2, rtol=1e-4)
        np.testing.assert_allclose(found.details["intercept"][row], intercept, rtol=1e-4)


def test_interpretdl_cuts_pictures_with_quickshift(pictured: xgraph.Model) -> None:
    from skimage.segmentation import quickshift

    found = xgraph.explain(pictured, COARSE, "lime", 1, samples=10, variant="interpretdl")
    for row, picture in enumerate(COARSE):
        np.testing.assert_array_equal(found.details["segments"][row], quickshift(picture, sigma=1))


@pytest.mark.parametrize("window", [(3, 3, 3), (1, 4, 2)])
def test_interpretdl_occlusion(window: tuple[int, ...], net_model: Load) -> None:
    site = CASES["flat image"].site("probability")
    for stride in (1, (3, 2, 3)):
        steps = (stride,) * 3 if isinstance(stride, int) else stride
        exact = [
            literal.occlusion(literal.asking(site, row), x, window, steps, x * 0, False)
            for row, x in enumerate(site.value)
        ]
        given = {"window": window, "stride": stride, "variant": "interpretdl"}
        found = xgraph.explain(net_model("flat"), IMAGES, "occlusion", list(TARGETS), **given)
        assert_close(found.values["image"], np.stack(exact))


def test_interpretdl_occlusion_moves_by_one(net_model: Load) -> None:
    given = {"window": (3, 4, 4), "variant": "interpretdl"}
    plain = xgraph.explain(net_model("flat"), IMAGES, "occlusion", 1, **given)
    moved = xgraph.explain(net_model("flat"), IMAGES, "occlusion", 1, stride=1, **given)
    np.testing.assert_array_equal(plain.values["image"], moved.values["image"])


class Flat(torch.nn.Module):
    """Its first layer has two maps that are the same everywhere."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = torch.nn.Conv2d(3, 4, 3, padding=1, stride=2), torch.nn.Linear(4, 5)
        with torch.no_grad():
            self.conv.weight[1:3] = 0
            self.conv.bias[1:3] = torch.tensor([0.7310586, -0.337])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.sigmoid(self.conv(x)).mean((2, 3))) * 3


@pytest.mark.parametrize("variant", ["paper", "interpretdl"])
@pytest.mark.parametrize("size", [8, 9, 21])
def test_score_cam_of_flat_maps(size: int, variant: Any, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, size, size)).astype(np.float32)
    model = xgraph.load(literal.export(Flat(), {"image": x}, tmp_path / "flat.onnx"))
    paper = variant == "paper"
    site = Site(Flat(), torch.from_numpy(x), (0, 3), "logit" if paper else "probability")
    maps = Site(Flat(), torch.from_numpy(x), (0, 3), at="conv").value
    exact = []
    for row, own in enumerate(site.value):
        ask = literal.asking(site, row)
        formula = literal.score_cam if paper else literal.score_cam_interpretdl
        exact.append(formula(ask, own, maps[row], own * 0) if paper else formula(ask, own, maps[row]))
    found = xgraph.explain(model, x, "score_cam", [0, 3], layer="conv", variant=variant)
    assert_close(found.values["conv"], np.stack(exact))


@pytest.mark.parametrize("layer", ["conv.2", "conv.3"])
def test_interpretdl_score_cam(layer: str, net_model: Load) -> None:
    site = CASES["flat image"].site("probability")
    maps = Site(net("flat"), examples("flat"), TARGETS, at=layer).value
    exact = [literal.score_cam_interpretdl(literal.asking(site, row), x, maps[row]) for row, x in enumerate(site.value)]
    found = xgraph.explain(net_model("flat"), IMAGES, "score_cam", list(TARGETS), layer=layer, variant="interpretdl")
    assert_close(found.values[layer], np.stack(exact))


# LIME with global knowledge.

CLASSES = [0, 3, 0]
CLUSTERS = np.array([0, 1, 1, 2, 5, 5, 0, 1])


def alike(picture: Array, labels: Array) -> Array:
    """Names the segments, in a way of its own for each picture."""
    number = next(i for i, known_picture in enumerate(PICTURES) if (known_picture == picture).all())
    return (CLUSTERS, CLUSTERS * 2 % 7, CLUSTERS[::-1] + 3)[number]


def paper_step(row: int, x: Array = IMAGES) -> tuple[Array, Array, Array]:
    """Masks, weights and probabilities of LIME as in the paper: mean colours, and the masks that are drawn here."""
    draws = np.arange(MASKS)
    on = np.unpackbits(Bernoulli(MASKS).bits(SEED, draws * 0, draws, np.full(MASKS, 8), 2), axis=1, bitorder="little")
    labels, sample = np.broadcast_to(MAP, (3, 8, 8)), x[row].astype(np.float64)
    baseline = literal.baseline_of("segment_mean", sample, 0, labels)
    on = on[:, :8].astype(np.float64)
    return on, literal.lime_weights(on), numbers("flat", literal.switched(sample, labels, on, baseline))


def steps(variant: str) -> tuple[list[tuple[Array, Array, Array]], Array]:
    """Returns these of all rows, and the clusters."""
    if variant == "interpretdl":
        return [lime_step(picture, MAP, SEED) for picture in PICTURES], np.stack([alike(p, MAP) for p in PICTURES])
    x = normalised(PICTURES).astype(np.float32)
    return [paper_step(row, x) for row in range(3)], np.stack([alike(p, MAP) for p in PICTURES])


def known(weights: Any, clusters: Array, classes: Sequence[int] = CLASSES) -> list[Array]:
    return [
        np.array([weights.get((c, int(name)), 0.0) for name in own]) for c, own in zip(classes, clusters, strict=True)
    ]


@pytest.mark.parametrize(("variant", "alpha"), [("paper", 1.0), ("interpretdl", 0.0)])
def test_norm_lime(variant: Any, alpha: float, pictured: xgraph.Model, tmp_path: Path) -> None:
    made, clusters = steps(variant)
    w = [literal.surrogate(on, weights, p[:, c], alpha)[0] for (on, weights, p), c in zip(made, CLASSES, strict=True)]
    expected = literal.global_weights("normlime", w, clusters, CLASSES)
    given = {"segments": MAP, "samples": MASKS, "clusters": alike, "seed": SEED, "variant": variant}
    found = xgraph.explain(pictured, PICTURES, "norm_lime", CLASSES, **given)
    for own, exact in zip(coefficients(found), known(expected, clusters), strict=True):
        assert_close(own, exact)
    prior = found.details["prior"]
    keys = list(zip(prior["classes"].tolist(), prior["clusters"].tolist(), strict=True))
    assert set(keys) == set(expected)
    np.testing.assert_allclose(prior["weights"], [expected[key] for key in keys], rtol=1e-4)
    again = xgraph.explain(pictured, PICTURES[:1], "norm_lime", 3, **given, prior=found.save(tmp_path / "found.npz"))
    assert_close(coefficients(again)[0], known(expected, clusters[:1], [3])[0])


def test_fast_norm_lime(pictured: xgraph.Model) -> None:
    """Section 6.5: ridge, strength 1, of the probabilities on which clusters a picture has."""
    pictures = np.random.default_rng(5).integers(0, 256, (6, 8, 8, 3), np.uint8)
    names = np.random.default_rng(6).integers(0, 7, (6, 8))
    by_picture = {picture.tobytes(): own for picture, own in zip(pictures, names, strict=True)}
    presence = np.array([[cluster in own for cluster in range(7)] for own in names], float)
    ridge = Ridge(alpha=1.0).fit(presence, numbers("flat", normalised(pictures)))
    given = {"segments": MAP, "variant": "fast", "clusters": lambda picture, labels: by_picture[picture.tobytes()]}
    classes = [0, 3, 0, 1, 2, 4]
    found = xgraph.explain(pictured, pictures, "norm_lime", classes, **given)
    for row, c in enumerate(classes):
        assert_close(coefficients(found)[row], ridge.coef_[c][names[row]])


@pytest.mark.parametrize("beta", [1.0, 2.5])
@pytest.mark.parametrize("kind", ["normlime", "average", "squares", "ridge", None])
@pytest.mark.parametrize("variant", ["paper", "interpretdl"])
def test_g_lime(variant: Any, kind: str | None, beta: float, pictured: xgraph.Model) -> None:
    made, clusters = steps(variant)
    priors = [np.zeros(8)] * 3
    if kind == "ridge":
        every = np.unique(clusters)
        presence = np.array([np.isin(every, own) for own in clusters], float)
        fit = Ridge(alpha=1.0).fit(presence, numbers("flat", normalised(PICTURES))).coef_
        priors = known({(c, int(k)): w for c, row in enumerate(fit) for k, w in zip(every, row, strict=True)}, clusters)
    elif kind is not None:
        w = [literal.surrogate(on, weights, p[:, c], 0)[0] for (on, weights, p), c in zip(made, CLASSES, strict=True)]
        priors = known(literal.global_weights(kind, w, clusters, CLASSES), clusters)
    given = {"segments": MAP, "samples": MASKS, "clusters": alike, "beta": beta, "prior": kind}
    found = xgraph.explain(pictured, PICTURES, "g_lime", CLASSES, seed=SEED, variant=variant, **given)
    for row, ((on, weights, p), c) in enumerate(zip(made, CLASSES, strict=True)):
        assert_close(coefficients(found)[row], literal.glime(on, weights, p[:, c], priors[row], beta))
