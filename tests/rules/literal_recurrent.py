"""RNN, GRU and LSTM step by step: the reference evaluator has neither directions nor the last cell of an LSTM."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

Array = np.ndarray


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


class Recurrent(OpRun):
    op_domain = ""
    gates = 1

    def step(self, x: Array, r: Array, bias: Array, h: Array, c: Array, after: bool) -> tuple[Array, Array]:
        """Returns the next state and cell; ``x`` holds ``x Wᵀ + b_W``."""
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
        direction: str | None = None,
        hidden_size: int | None = None,
        linear_before_reset: int | None = None,
        **_: Any,
    ) -> tuple[Array, ...]:
        assert lengths is None
        assert bias is not None
        steps, batch, _ = x.shape
        size = self.gates * hidden_size
        none = np.zeros((len(w), batch, hidden_size), x.dtype)
        first, cell = none if first is None else first, none if cell is None else cell
        states = np.zeros((steps, len(w), batch, hidden_size), x.dtype)
        last, last_cell = none.copy(), none.copy()
        for d in range(len(w)):
            h, c = first[d], cell[d]
            backwards = direction == "reverse" or d == 1
            for t in range(steps)[:: -1 if backwards else 1]:
                inputs = x[t] @ w[d].T + bias[d, :size]
                h, c = self.step(inputs, r[d], bias[d, size:], h, c, bool(linear_before_reset))
                states[t, d] = h
            last[d], last_cell[d] = h, c
        return (states, last, last_cell)[: len(self.onnx_node.output)]


class RNN(Recurrent):
    def step(self, x: Array, r: Array, bias: Array, h: Array, c: Array, after: bool) -> tuple[Array, Array]:
        return np.tanh(x + h @ r.T + bias), c


class GRU(Recurrent):
    gates = 3

    def step(self, x: Array, r: Array, bias: Array, h: Array, c: Array, after: bool) -> tuple[Array, Array]:
        x_z, x_r, x_n = np.split(x, 3, axis=-1)
        r_z, r_r, r_n = np.split(r, 3)
        b_z, b_r, b_n = np.split(bias, 3)
        update, reset = sigmoid(x_z + h @ r_z.T + b_z), sigmoid(x_r + h @ r_r.T + b_r)
        new = np.tanh(x_n + (reset * (h @ r_n.T + b_n) if after else (reset * h) @ r_n.T + b_n))
        return (1 - update) * new + update * h, c


class LSTM(Recurrent):
    gates = 4

    def step(self, x: Array, r: Array, bias: Array, h: Array, c: Array, after: bool) -> tuple[Array, Array]:
        i, o, f, n = np.split(x + h @ r.T + bias, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(n)
        return sigmoid(o) * np.tanh(c), c
