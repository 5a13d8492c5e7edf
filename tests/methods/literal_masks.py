"""Perturbation methods as literal, slow float64 formulas from the papers: perturb a sample, ask the model, add up.

Nothing of xgraph is imported here. Everything is about one sample: ``x`` of any shape, ``labels`` of the same shape
(-1: never switched off), masks ``on`` of (draws, features), and an ``Ask``, which returns the explained numbers of
perturbed copies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from math import ceil, comb, factorial, sqrt
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
import torch
from oracles import Array, Site
from scipy.ndimage import gaussian_filter
from sklearn.linear_model import Ridge
from torch import Tensor, nn

Ask = Callable[[Array], Array]
"""Copies of a sample (n, ...) -> their explained numbers (n,)."""


def asking(site: Site, row: int) -> Ask:
    """Returns what asks about copies of one row of a site."""
    return lambda copies: site.repeated(row, len(copies)).scores(copies)


def asking_tokens(site: Site, row: int, table: Array) -> Ask:
    """Returns what asks about token numbers; the site is what looks them up in ``table``."""
    return lambda copies: site.repeated(row, len(copies)).scores(table[copies])


class Difference(nn.Module):
    """Class ``a`` less class ``b`` of a model, of logits or probabilities, as its only class."""

    def __init__(self, model: nn.Module, a: int, b: int, of: str = "logit") -> None:
        super().__init__()
        self.model, self.a, self.b, self.of = model, a, b, of

    def forward(self, x: Tensor) -> Tensor:
        z = self.model(x)
        y = z.softmax(1) if self.of == "probability" else z
        return (y[:, self.a] - y[:, self.b])[:, None]


class Nhwc(nn.Module):
    """Takes pictures with their channels last."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.permute(0, 3, 1, 2))


class Signal(nn.Module):
    """Three channels of nine steps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv1d(3, 4, 3, padding=1), nn.Linear(36, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.conv(x)).flatten(1)) * 3


class Pair(nn.Module):
    """Two inputs of four columns, which meet in a product."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 5)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.head(torch.tanh(self.first(a)) * self.second(b)) * 5


class Together(nn.Module):
    """The same of one input of eight columns."""

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.pair = pair

    def forward(self, both: Tensor) -> Tensor:
        return self.pair(both[:, :4], both[:, 4:])


def export(model: nn.Module, examples: Mapping[str, Array], path: Path) -> Path:
    """Writes a model as ONNX with a free batch."""
    with catch_warnings():
        simplefilter("ignore")  # the exporter warns about itself
        torch.onnx.export(
            model,
            tuple(torch.from_numpy(example) for example in examples.values()),
            path,
            dynamo=False,
            opset_version=17,
            input_names=list(examples),
            output_names=["logits"],
            dynamic_axes={name: {0: "batch"} for name in examples},
        )
    return path


def baseline_of(spec: Any, x: Array, channel_axis: int = 0, labels: Array | None = None) -> Array:
    """Returns what shows where a sample is masked."""
    others = tuple(axis for axis in range(x.ndim) if axis != channel_axis)
    if not isinstance(spec, str):
        return np.broadcast_to(np.asarray(spec), x.shape)
    if spec == "zero":
        return np.zeros_like(x)
    if spec == "mean":
        return np.broadcast_to(x.mean(axis=others, keepdims=True), x.shape)
    if spec == "blur":
        sigma = 0.1 * min(x.shape[axis] for axis in others)
        planes = [
            gaussian_filter(plane, sigma, mode="nearest", truncate=4.0) for plane in np.moveaxis(x, channel_axis, 0)
        ]
        return np.moveaxis(np.stack(planes), 0, channel_axis)
    assert spec == "segment_mean"
    assert labels is not None
    made = np.zeros_like(x)
    for channel, feature in product(range(x.shape[channel_axis]), range(labels.max() + 1)):
        own = (labels == feature) & (np.indices(x.shape)[channel_axis] == channel)
        made[own] = x[own].mean()
    return made


def switched(x: Array, labels: Array, on: Array, baseline: Array) -> Array:
    """Returns a copy per mask: the sample where its feature is on, else the baseline."""
    copies = []
    for mask in on:
        copy = x.copy()
        for feature, bit in enumerate(mask):
            if not bit:
                copy[labels == feature] = baseline[labels == feature]
        copies.append(copy)
    return np.stack(copies)


def painted(labels: Array, coefficients: Array) -> Array:
    """Returns each feature's coefficient on its entries, 0 where nothing is switched."""
    values = np.zeros(labels.shape)
    for feature, coefficient in enumerate(coefficients):
        values[labels == feature] = coefficient
    return values


def window_boxes(shape: Sequence[int], window: Sequence[int], stride: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Yields the boxes that begin at multiples of the stride, cut at the far edge (Zeiler and Fergus; captum)."""
    counts = [ceil((size - own) / step) + 1 for size, own, step in zip(shape, window, stride, strict=True)]
    for place in product(*map(range, counts)):
        yield tuple(
            slice(i * step, min(i * step + own, size))
            for i, step, own, size in zip(place, stride, window, shape, strict=True)
        )


def occlusion(
    ask: Ask, x: Array, window: Sequence[int], stride: Sequence[int], baseline: Array, normalise: bool = True
) -> Array:
    """Mean over the windows at each place of f(x) - f(x with the window hidden), or their sum (InterpretDL 5.1)."""
    boxes = list(window_boxes(x.shape, window, stride))
    copies = np.stack([x] * (len(boxes) + 1))
    for copy, box in zip(copies[1:], boxes, strict=True):
        copy[box] = baseline[box]
    clean, *hidden = ask(copies)
    sums, covers = np.zeros(x.shape), np.zeros(x.shape)
    for score, box in zip(hidden, boxes, strict=True):
        sums[box] += clean - score
        covers[box] += 1
    return sums / np.maximum(covers, 1) if normalise else sums


def feature_ablation(ask: Ask, x: Array, labels: Array, baseline: Array) -> Array:
    """f(x) - f(x without the feature), per feature."""
    count = labels.max() + 1
    return ask(x[None])[0] - ask(switched(x, labels, 1 - np.eye(count), baseline))


def shapley_values(ask: Ask, x: Array, labels: Array, baseline: Array) -> Array:
    """φ_i = Σ_S |S|! (K - |S| - 1)! / K! (v(S ∪ i) - v(S)), through all subsets."""
    count = labels.max() + 1
    subsets = np.array(list(product([0, 1], repeat=count)))
    worth = {tuple(s): v for s, v in zip(subsets.tolist(), ask(switched(x, labels, subsets, baseline)), strict=True)}
    values = np.zeros(count)
    for subset, i in product(worth, range(count)):
        if not subset[i]:
            size = sum(subset)
            weight = factorial(size) * factorial(count - size - 1) / factorial(count)
            values[i] += weight * (worth[(*subset[:i], 1, *subset[i + 1 :])] - worth[subset])
    return values


def coalition_weights(on: Array) -> Array:
    """Weights of KernelSHAP's coalitions: (K - 1) / (C(K, s) s (K - s)) where all of a size are there.

    The others share the mass of their sizes, in proportion to which they were drawn, evenly.
    """
    count = on.shape[1]
    sizes = on.sum(1).astype(int)
    listed = {s: (len(np.unique(on[sizes == s], axis=0)), int((sizes == s).sum())) for s in range(1, count)}
    whole = {s for s, found in listed.items() if found == (comb(count, s), comb(count, s))}
    rest = [s for s in range(1, count) if s not in whole]
    drawn = np.isin(sizes, rest)
    mass = sum((count - 1) / (s * (count - s)) for s in rest)
    return np.array(
        [
            mass / drawn.sum() if own else (count - 1) / (comb(count, s) * s * (count - s)) if 0 < s < count else 0.0
            for s, own in zip(sizes.tolist(), drawn, strict=True)
        ]
    )


def kernel_shap(ask: Ask, x: Array, labels: Array, baseline: Array, on: Array) -> Array:
    """argmin_φ Σ w (v(z) - v(∅) - z φ)² with Σ φ = v(all) - v(∅), by a Lagrange multiplier (Lundberg and Lee 2017)."""
    count = on.shape[1]
    every, none = ask(switched(x, labels, np.array([[1] * count, [0] * count]), baseline))
    gains = ask(switched(x, labels, on, baseline)) - none
    weights = coalition_weights(on)
    system = np.zeros((count + 1, count + 1))
    system[:count, :count] = (on * weights[:, None]).T @ on
    system[:count, count] = system[count, :count] = 1
    right = np.append((on * weights[:, None]).T @ gains, every - none)
    return np.linalg.solve(system, right)[:count]


def permutation_shapley(ask: Ask, x: Array, labels: Array, baseline: Array, orders: Sequence[Sequence[int]]) -> Array:
    """Mean over the orders of what each feature adds to those before it (Castro et al. 2009), per order and feature."""
    count = labels.max() + 1
    added = np.zeros((len(orders), count))
    for number, order in enumerate(orders):
        on = np.zeros((count + 1, count))
        for k, feature in enumerate(order):
            on[k + 1 :, feature] = 1
        worth = ask(switched(x, labels, on, baseline))
        for k, feature in enumerate(order):
            added[number, feature] = worth[k + 1] - worth[k]
    return added


def lime_weights(on: Array, kernel: str = "cosine", width: float | None = None) -> Array:
    """sqrt(exp(-d²/σ²)) of the distance to the mask of ones (Ribeiro et al. 2016 and the package ``lime``)."""
    count = on.shape[1]
    weights = []
    for mask in on:
        if kernel == "cosine":
            angle = mask.sum() / (sqrt(mask.sum()) * sqrt(count)) if mask.any() else 0.0
            distance, own = 1 - angle, 0.25 if width is None else width
        else:
            distance, own = sqrt(((1 - mask) ** 2).sum()), 0.75 * sqrt(count) if width is None else width
        weights.append(sqrt(np.exp(-(distance**2) / own**2)))
    return np.array(weights)


def surrogate(features: Array, weights: Array, responses: Array, alpha: float = 1.0) -> tuple[Array, float, float]:
    """Returns coefficients, intercept and weighted R² of a ridge with a free intercept."""
    fit = Ridge(alpha=alpha, fit_intercept=True, solver="svd" if alpha == 0 else "cholesky")
    fit.fit(features, responses, sample_weight=weights)
    return fit.coef_, float(fit.intercept_), fit.score(features, responses, sample_weight=weights)


def lime(
    ask: Ask, x: Array, labels: Array, baseline: Array, on: Array, alpha: float = 1.0, **kernel: Any
) -> tuple[Array, float, float]:
    """The weighted ridge of the responses on the masks."""
    return surrogate(on, lime_weights(on, **kernel), ask(switched(x, labels, on, baseline)), alpha)


def towards_prior(on: Array, weights: Array, responses: Array, alpha: float, prior: Array) -> Array:
    """argmin_β Σ w (y - c - z β)² + α |β - prior|² with c free: an ordinary ridge in β - prior."""
    return surrogate(on, weights, responses - on @ prior, alpha)[0] + prior


def rise_features(ask: Ask, x: Array, labels: Array, baseline: Array, on: Array, chance: float) -> Array:
    """Σ_i f(x_i) z_i / (N p)."""
    return on.T @ ask(switched(x, labels, on, baseline)) / (len(on) * chance)


def rise_mask(grid: Array, shift: Sequence[int], size: Sequence[int]) -> Array:
    """A grid, upsampled bilinearly to one cell more than it has, and cropped at the shift (Petsiuk et al. 2018)."""
    cell = [ceil(own / cells) for own, cells in zip(size, grid.shape, strict=True)]
    up = upsampled(grid[None], [(cells + 1) * own for cells, own in zip(grid.shape, cell, strict=True)])[0]
    return up[shift[0] : shift[0] + size[0], shift[1] : shift[1] + size[1]]


def rise(ask: Ask, x: Array, masks: Array, baseline: Array, chance: float) -> Array:
    """Σ_i f(x ⊙ M_i + b ⊙ (1 - M_i)) M_i / (N p); the masks have axes of one for colours."""
    total = np.zeros(masks.shape[1:])
    for mask, score in zip(masks, ask(x * masks + baseline * (1 - masks)), strict=True):
        total += score * mask
    return np.broadcast_to(total / (len(masks) * chance), x.shape)


def upsampled(maps: Array, size: Sequence[int]) -> Array:
    """Resizes (K, h, w) bilinearly; pixel centres are at half integers, and edges go on."""
    wide = torch.from_numpy(np.ascontiguousarray(maps, np.float64))[None]
    return nn.functional.interpolate(wide, tuple(size), mode="bilinear", align_corners=False)[0].numpy()


def score_cam(ask: Ask, x: Array, maps: Array, baseline: Array, channel_axis: int = 0, top: int | None = None) -> Array:
    """ReLU(Σ_k softmax_k(f(x ⊙ s(up A_k))) A_k) (Wang et al. 2019); a map that is flat masks everything."""
    chosen = sorted(np.argsort(-(maps**2).sum((1, 2)), kind="stable")[:top])
    size = [own for axis, own in enumerate(x.shape) if axis != channel_axis]
    copies = []
    for up, own in zip(upsampled(maps[chosen], size), maps[chosen], strict=True):
        # Whether a map is flat is asked of the map itself: interpolation rounds.
        mask = (up - up.min()) / (up.max() - up.min()) if own.max() > own.min() else np.zeros_like(up)
        mask = np.expand_dims(mask, channel_axis)
        copies.append(x * mask + baseline * (1 - mask))
    scores = ask(np.stack(copies))
    powers = np.exp(scores - scores.max())
    return np.maximum(np.einsum("k,khw->hw", powers / powers.sum(), maps[chosen]), 0)


def score_cam_interpretdl(ask: Ask, x: Array, maps: Array, channel_axis: int = 0) -> Array:
    """Σ_k p(x ⊙ M_k) U_k, U at the picture's size; M_k = U_k where that has no range (InterpretDL 4.2)."""
    size = [own for axis, own in enumerate(x.shape) if axis != channel_axis]
    total = np.zeros(size)
    for up, own in zip(upsampled(maps, size), maps, strict=True):
        mask = (up - up.min()) / (up.max() - up.min()) if own.max() > own.min() else up
        total += ask((x * np.expand_dims(mask, channel_axis))[None])[0] * up
    return total


def recipro_cam(ask: Ask, maps: Array, gaussian: bool = True) -> Array:
    """f of the maps times a 3 x 3 Gaussian (or one) at each place, 0 elsewhere (Byun and Lee 2022, section 3)."""
    height, width = maps.shape[1:]
    masks = []
    for y, x in product(range(height), range(width)):
        mask = np.zeros((height, width))
        for i, j in product((-1, 0, 1), repeat=2):
            if 0 <= y + i < height and 0 <= x + j < width:
                own = (2 - abs(i)) * (2 - abs(j)) / 16
                mask[y + i, x + j] = own if gaussian else float(i == j == 0)
        masks.append(mask)
    return ask(np.stack([maps * mask for mask in masks])).reshape(height, width)


CONTRIBUTIONS: Mapping[str, Callable[[Array], Array]] = {
    "normlime": lambda w: w**2 / np.abs(w).sum(),
    "average": np.abs,
    "squares": lambda w: w**2,
}
"""InterpretDL 6.2 and 6.4."""


def global_weights(
    kind: str, coefficients: Sequence[Array], clusters: Sequence[Array], classes: Sequence[int]
) -> dict[tuple[int, int], float]:
    """(class, cluster) -> the mean contribution of all segments of that cluster in all samples of that class."""
    found: dict[tuple[int, int], list[float]] = {}
    for own, names, cls in zip(coefficients, clusters, classes, strict=True):
        for name, value in zip(names, CONTRIBUTIONS[kind](own), strict=True):
            found.setdefault((cls, int(name)), []).append(value)
    return {key: float(np.mean(values)) for key, values in found.items()}


def glime(on: Array, weights: Array, responses: Array, prior: Array, beta: float) -> Array:
    """(X'X + βI)⁻¹ (X't + β a₀) in standardised variables, word by word (InterpretDL 6.4)."""
    features = on.astype(np.float64)
    features -= (weights[:, None] * features).sum(0) / weights.sum()
    features /= np.sqrt((features**2).sum(0))
    t = responses - (weights * responses).sum() / weights.sum()
    t /= np.sqrt((t**2).sum())
    features, t = features * np.sqrt(weights)[:, None], t * np.sqrt(weights)
    expected = prior / np.abs(prior).sum() if np.abs(prior).sum() else np.zeros_like(prior)
    return np.linalg.solve(features.T @ features + beta * np.eye(len(prior)), features.T @ t + beta * expected)
