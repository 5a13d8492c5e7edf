"""RNN, GRU and LSTM row by row and step by step: the reference evaluator has neither directions nor the last cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

Array = np.ndarray


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


ACTIVATIONS: dict[str, Callable[..., Array]] = {
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "affine": lambda x, alpha, beta: alpha * x + beta,
    "scaledtanh": lambda x, alpha, beta: alpha * np.tanh(beta * x),
    "hardsigmoid": lambda x, alpha=0.2, beta=0.5: np.clip(alpha * x + beta, 0, 1),
    "leakyrelu": lambda x, alpha=0.01: np.where(x < 0, alpha * x, x),
    "thresholdedrelu": lambda x, alpha=1.0: np.where(x > alpha, x, 0),
    "elu": lambda x, alpha=1.0: np.where(x < 0, alpha * (np.exp(x) - 1), x),
}
WITH_ALPHA = {"affine", "scaledtanh", "hardsigmoid", "leakyrelu", "thresholdedrelu", "elu"}
WITH_BETA = {"affine", "scaledtanh", "hardsigmoid"}


def named(names: list[str], alphas: list[float], betas: list[float]) -> list[Callable[[Array], Array]]:
    """Returns functions; alpha and beta go, in order, to those that have them."""
    alphas, betas = list(alphas), list(betas)
    found = []
    for name in map(str.lower, names):
        numbers = {}
        if name in WITH_ALPHA and alphas:
            numbers["alpha"] = alphas.pop(0)
        if name in WITH_BETA and betas:
            numbers["beta"] = betas.pop(0)
        found.append(lambda x, name=name, numbers=numbers: ACTIVATIONS[name](x, **numbers))
    return found


class Recurrent(OpRun):
    op_domain = ""
    gates = 1
    defaults = ("Tanh",)

    def step(self, x: Array, r: Array, bias: Array, p: Array, h: Array, c: Array, **flags: Any) -> tuple[Array, Array]:
        """Returns the next state and cell of one row; ``x`` holds ``x Wᵀ + b_W``."""
        raise NotImplementedError

    def _run(
        self,
        x: Array,
        w: Array,
        r: Array,
        bias: Array | None = None,
        lengths: Array | None = None,
        first: Array | None = None,
        cell: Array | None = None,
        peepholes: Array | None = None,
        direction: str | None = None,
        hidden_size: int | None = None,
        linear_before_reset: int | None = None,
        input_forget: int | None = None,
        layout: int | None = None,
        clip: float | None = None,
        activations: list[str] | None = None,
        activation_alpha: list[float] | None = None,
        activation_beta: list[float] | None = None,
        **_: Any,
    ) -> tuple[Array, ...]:
        if layout:
            x, first, cell = (None if a is None else a.swapaxes(0, 1) for a in (x, first, cell))
        steps, batch, _ = x.shape
        size = self.gates * hidden_size
        bias = np.zeros((len(w), 2 * size), x.dtype) if bias is None else bias
        peepholes = np.zeros((len(w), 3 * hidden_size), x.dtype) if peepholes is None else peepholes
        none = np.zeros((len(w), batch, hidden_size), x.dtype)
        first, cell = none if first is None else first, none if cell is None else cell
        lengths = [steps] * batch if lengths is None else lengths
        functions = named(activations or self.defaults * len(w), activation_alpha or [], activation_beta or [])
        states = np.zeros((steps, len(w), batch, hidden_size), x.dtype)
        last, last_cell = none.copy(), none.copy()
        for d in range(len(w)):
            flags = {
                "after": linear_before_reset,
                "coupled": input_forget,
                "bounded": (lambda v: np.clip(v, -clip, clip)) if clip is not None else (lambda v: v),
                "functions": functions[d * len(self.defaults) :][: len(self.defaults)],
            }
            for n in range(batch):
                h, c = first[d, n], cell[d, n]
                backwards = direction == "reverse" or d == 1
                for t in range(int(lengths[n]))[:: -1 if backwards else 1]:
                    inputs = x[t, n] @ w[d].T + bias[d, :size]
                    h, c = self.step(inputs, r[d], bias[d, size:], peepholes[d], h, c, **flags)
                    states[t, d, n] = h
                last[d, n], last_cell[d, n] = h, c
        if layout:
            states, last, last_cell = states.transpose(2, 0, 1, 3), last.swapaxes(0, 1), last_cell.swapaxes(0, 1)
        return (states, last, last_cell)[: len(self.onnx_node.output)]


class RNN(Recurrent):
    def step(self, x: Array, r: Array, bias: Array, p: Array, h: Array, c: Array, **flags: Any) -> tuple[Array, Array]:
        (f,) = flags["functions"]
        return f(flags["bounded"](x + h @ r.T + bias)), c


class GRU(Recurrent):
    gates = 3
    defaults = ("Sigmoid", "Tanh")

    def step(self, x: Array, r: Array, bias: Array, p: Array, h: Array, c: Array, **flags: Any) -> tuple[Array, Array]:
        (f, g), bounded = flags["functions"], flags["bounded"]
        x_z, x_r, x_n = np.split(x, 3, axis=-1)
        r_z, r_r, r_n = np.split(r, 3)
        b_z, b_r, b_n = np.split(bias, 3)
        update, reset = f(bounded(x_z + h @ r_z.T + b_z)), f(bounded(x_r + h @ r_r.T + b_r))
        inner = reset * (h @ r_n.T + b_n) if flags["after"] else (reset * h) @ r_n.T + b_n
        return (1 - update) * g(bounded(x_n + inner)) + update * h, c


class LSTM(Recurrent):
    gates = 4
    defaults = ("Sigmoid", "Tanh", "Tanh")

    def step(self, x: Array, r: Array, bias: Array, p: Array, h: Array, c: Array, **flags: Any) -> tuple[Array, Array]:
        (f, g, k), bounded = flags["functions"], flags["bounded"]
        p_i, p_o, p_f = np.split(p, 3)
        i, o, forget, n = np.split(x + h @ r.T + bias, 4, axis=-1)
        i = f(bounded(i + p_i * c))
        forget = 1 - i if flags["coupled"] else f(bounded(forget + p_f * c))
        c = forget * c + i * g(bounded(n))
        return f(bounded(o + p_o * c)) * k(c), c
