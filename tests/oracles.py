"""Slow, literal formulas of explanation methods, written from the papers and from InterpretDL 0.8.0.

Nothing of xgraph is imported here. What is explained is a ``Site``: an input of a torch model, or what one of its
modules returns. Everything is float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

Array = np.ndarray
Gradient = Callable[[Array], Array]
"""Value with a batch axis -> gradient of each row's own score, of the same shape."""


class Site:
    """A value in a torch model that can be read, put in anew, and differentiated by."""

    def __init__(self, model: nn.Module, x: Tensor, targets: Sequence[int], of: str = "logit", at: str = "") -> None:
        """Makes a double-precision run.

        Args:
            model: returns logits (N, classes); is copied to float64.
            x: the samples, or token numbers.
            targets: one class per row.
            of: ``logit``, ``probability`` or ``loss``.
            at: the module whose output is meant; empty: the input itself.
        """
        self.model = deepcopy(model).double().eval()
        self.x = x.double() if x.is_floating_point() else x
        self.targets, self.of, self.at = list(targets), of, at

    @property
    def value(self) -> Array:
        """What the clean samples give there."""
        if not self.at:
            return self.x.numpy().copy()
        seen: list[Tensor] = []
        hook = self.model.get_submodule(self.at).register_forward_hook(lambda _m, _i, out: seen.append(out))
        with torch.no_grad():
            self.model(self.x)
        hook.remove()
        return seen[0].numpy().copy()

    def logits(self, value: Array) -> Array:
        """Returns the logits where ``value`` stands."""
        with torch.no_grad():
            return self._run(torch.from_numpy(np.array(value, np.float64))).numpy()

    def scores(self, value: Array) -> Array:
        """Returns each row's explained number."""
        with torch.no_grad():
            return self._scores(torch.from_numpy(np.array(value, np.float64))).numpy()

    def gradient(self, value: Array) -> Array:
        """Returns the gradient of each row's score by that row's value."""
        leaf = torch.from_numpy(np.array(value, np.float64)).requires_grad_()
        (gradient,) = torch.autograd.grad(self._scores(leaf).sum(), leaf)
        return gradient.numpy().copy()

    def repeated(self, row: int, times: int) -> Site:
        """Returns the site for one row, so many times."""
        x = self.x[row : row + 1].repeat(times, *[1] * (self.x.dim() - 1))
        return Site(self.model, x, [self.targets[row]] * times, self.of, self.at)

    def _run(self, value: Tensor) -> Tensor:
        if not self.at:
            return self.model(value)
        hook = self.model.get_submodule(self.at).register_forward_hook(lambda _m, _i, _out: value)
        try:
            return self.model(self.x)
        finally:
            hook.remove()

    def _scores(self, value: Tensor) -> Tensor:
        logits = self._run(value)
        rows = torch.arange(len(logits))
        if self.of == "logit":
            return logits[rows, self.targets]
        if self.of == "probability":
            return logits.softmax(1)[rows, self.targets]
        return -logits.log_softmax(1)[rows, self.targets]


def predicted(model: nn.Module, x: Tensor) -> list[int]:
    """Returns the class of the largest logit of each row."""
    with torch.no_grad():
        wide = deepcopy(model).double().eval()
        return wide(x.double() if x.is_floating_point() else x).argmax(1).tolist()


def value_range(value: Array) -> Array:
    """Returns max - min of each row, with axes of one for the rest."""
    axes = tuple(range(1, value.ndim))
    return value.max(axis=axes, keepdims=True) - value.min(axis=axes, keepdims=True)


def smooth_grad(gradient: Gradient, value: Array, noises: Iterable[Array]) -> Array:
    """Mean of the gradients at noisy values (Smilkov et al. 2017, arXiv 1706.03825, the formula of section 3)."""
    gradients = [gradient(value + noise) for noise in noises]
    return sum(gradients) / len(gradients)


def smooth_grad_squared(gradient: Gradient, value: Array, noises: Iterable[Array]) -> Array:
    """Mean of the squared gradients (Hooker et al. 2019, arXiv 1806.10758, section 3.1: SG-SQ)."""
    gradients = [gradient(value + noise) for noise in noises]
    return sum(g * g for g in gradients) / len(gradients)


def var_grad(gradient: Gradient, value: Array, noises: Iterable[Array]) -> Array:
    """Variance of the gradients (Adebayo et al. 2018, arXiv 1810.03307; Hooker et al. 2019: VarGrad)."""
    gradients = np.stack([gradient(value + noise) for noise in noises])
    return ((gradients - gradients.mean(axis=0)) ** 2).mean(axis=0)


RIEMANN: dict[str, Callable[[int], tuple[list[float], list[float]]]] = {
    "riemann_left": lambda m: ([k / m for k in range(m)], [1 / m] * m),
    "riemann_right": lambda m: ([(k + 1) / m for k in range(m)], [1 / m] * m),
    "riemann_middle": lambda m: ([(2 * k + 1) / (2 * m) for k in range(m)], [1 / m] * m),
    "trapezoid": lambda m: (
        [k / (m - 1) for k in range(m)],
        [(0.5 if k in (0, m - 1) else 1.0) / (m - 1) for k in range(m)],
    ),
    "interpretdl": lambda m: ([k / (m - 1) for k in range(m)], [1 / m] * m),
}
"""Rule -> positions on the path and their weights, for m steps."""


def legendre(steps: int) -> tuple[list[float], list[float]]:
    """Gauss-Legendre nodes on [0, 1] by Newton's method on the Legendre polynomial, weights 1 / ((1 - x²) P'(x)²)."""
    nodes, weights = [], []
    for i in range(steps):
        x = np.cos(np.pi * (i + 0.75) / (steps + 0.5))
        for _ in range(100):
            before, p = 1.0, x
            for n in range(2, steps + 1):
                before, p = p, ((2 * n - 1) * x * p - (n - 1) * before) / n
            slope = steps * (x * p - before) / (x * x - 1)
            x -= p / slope
        nodes.append((x + 1) / 2)
        weights.append(1 / ((1 - x * x) * slope**2))
    return nodes, weights


def path_integral(
    gradient: Gradient, value: Array, baseline: Array, nodes: Sequence[float], weights: Sequence[float]
) -> Array:
    """(x - b) ∫ g(b + α (x - b)) dα as a sum (Sundararajan et al. 2017, arXiv 1703.01365, equations 1 and 3)."""
    total = np.zeros_like(value)
    for node, weight in zip(nodes, weights, strict=True):
        total += weight * gradient(node * value + (1 - node) * baseline)
    return (value - baseline) * total


def gradient_shap(gradient: Gradient, value: Array, draws: Iterable[tuple[Array, Array, Array]]) -> Array:
    """Mean of g(α x' + (1 - α) b) (x' - b), x' = x + noise (expected gradients; InterpretDL 2.4).

    ``draws``: (noise, α with axes of one, baseline) of every draw, each for all rows.
    """
    terms = []
    for noise, alpha, baseline in draws:
        noisy = value + noise
        terms.append(gradient(alpha * noisy + (1 - alpha) * baseline) * (noisy - baseline))
    return sum(terms) / len(terms)


def grad_cam(activation: Array, gradient: Array) -> Array:
    """ReLU(Σ_k mean(g_k) A_k) (Selvaraju et al. 2017, arXiv 1610.02391, equations 1 and 2)."""
    rows, channels = activation.shape[:2]
    maps = np.zeros((rows, *activation.shape[2:]))
    for row in range(rows):
        for k in range(channels):
            maps[row] += gradient[row, k].mean() * activation[row, k]
    return np.maximum(maps, 0)


def grad_cam_interpretdl(activation: Array, probability_gradient: Array) -> Array:
    """max((1/K) Σ_k a_k F_k, 0) on the gradient of the probability (InterpretDL 4.1)."""
    return grad_cam(activation, probability_gradient) / activation.shape[1]


def grad_cam_plus_plus(activation: Array, gradient: Array, logit: Array | None = None) -> Array:
    """Chattopadhay et al. 2018, arXiv 1710.11063, equations 5, 6, 19.

    With Y = exp(S) for the logit S, the derivatives of Y are exp(S) times the powers of g = dS/dA (equations 15 to 18),
    so exp(S) cancels in α and stays as a factor of ReLU(dY/dA). Without ``logit`` that factor is left out.
    """
    rows, channels = activation.shape[:2]
    maps = np.zeros((rows, *activation.shape[2:]))
    for row in range(rows):
        for k in range(channels):
            g, total = gradient[row, k], activation[row, k].sum()
            bottom = 2 * g**2 + total * g**3
            alpha = np.divide(g**2, bottom, out=np.zeros_like(g), where=bottom != 0)
            factor = 1.0 if logit is None else np.exp(logit[row])
            maps[row] += (alpha * np.maximum(factor * g, 0)).sum() * activation[row, k]
    return np.maximum(maps, 0)


def layer_cam(activation: Array, gradient: Array) -> Array:
    """ReLU(Σ_k ReLU(g_k) A_k), element by element (Jiang et al. 2021, doi:10.1109/TIP.2021.3089943, equations 4, 5)."""
    rows, channels = activation.shape[:2]
    maps = np.zeros((rows, *activation.shape[2:]))
    for row in range(rows):
        for k in range(channels):
            maps[row] += np.maximum(gradient[row, k], 0) * activation[row, k]
    return np.maximum(maps, 0)


def cam(activation: Array, weights: Array, targets: Sequence[int]) -> Array:
    """Σ_k W[c, k] A_k (Zhou et al. 2016, arXiv 1512.04150, equation 2)."""
    maps = np.zeros((len(activation), *activation.shape[2:]))
    for row, target in enumerate(targets):
        for k in range(activation.shape[1]):
            maps[row] += weights[target, k] * activation[row, k]
    return maps
