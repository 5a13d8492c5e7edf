"""More literal operators for the generated cases.

Random draws, which the reference evaluator makes anew at every run, and Scatter, which it lacks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun
from rules.literal import LITERAL, Array, ScatterElements


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


_MORE = [Bernoulli, RandomUniformLike, Scatter]
LITERAL_CASES = list({op.__name__: op for op in [*LITERAL, *_MORE]}.values())
