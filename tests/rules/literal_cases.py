"""More literal operators for the generated cases.

Random draws, which the reference evaluator makes anew at every run; pools of three axes, for which it takes seconds;
Scatter, which it lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun
from rules.literal import LITERAL, Array, ScatterElements, Windows


class Scatter(ScatterElements):
    """The old name of ScatterElements."""


class Bernoulli(OpRun):
    op_domain = ""

    def _run(self, x: Array, dtype: int | None = None, seed: float | None = None) -> tuple[Array]:
        return ((_draw(x) < x).astype(x.dtype),)


class RandomUniformLike(OpRun):
    op_domain = ""

    def _run(self, x: Array, **_: Any) -> tuple[Array]:
        return (_draw(x),)


def _draw(x: Array) -> Array:
    return np.random.default_rng(0).random(x.shape)


class AveragePool(OpRun):
    op_domain = ""

    def _run(
        self,
        x: Array,
        auto_pad: str | None = None,
        ceil_mode: int | None = None,
        count_include_pad: int | None = None,
        dilations: Sequence[int] | None = None,
        kernel_shape: Sequence[int] | None = None,
        pads: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
    ) -> tuple[Array]:
        assert kernel_shape is not None
        window = Windows(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, bool(ceil_mode))
        counted = window.pad(np.ones_like(x), 0.0)
        if count_include_pad:
            # What ceil_mode adds behind the padding is not counted.
            inside = [
                b + size + (pads or [0] * 2 * len(kernel_shape))[len(kernel_shape) + i]
                for i, (b, size) in enumerate(zip(window.begins, x.shape[2:], strict=True))
            ]
            counted[:, :, *[slice(0, end) for end in inside]] = 1
        total, count = (
            sum(array[:, :, *place] for _, place in window.taps()) for array in (window.pad(x, 0.0), counted)
        )
        return (total / count,)


class LpPool(OpRun):
    op_domain = ""

    def _run(
        self,
        x: Array,
        auto_pad: str | None = None,
        ceil_mode: int | None = None,
        dilations: Sequence[int] | None = None,
        kernel_shape: Sequence[int] | None = None,
        p: int | None = None,
        pads: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
    ) -> tuple[Array]:
        assert kernel_shape is not None
        window = Windows(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad, bool(ceil_mode))
        padded = window.pad(np.abs(x) ** (p or 2), 0.0)
        return (sum(padded[:, :, *place] for _, place in window.taps()) ** (1 / (p or 2)),)


_MORE = [AveragePool, Bernoulli, LpPool, RandomUniformLike, Scatter]
LITERAL_CASES = list({op.__name__: op for op in [*LITERAL, *_MORE]}.values())
