"""StepMul: ``g`` where ``low < v < high`` and 0 elsewhere; the adjoint of ReLU, Clip and their relatives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from xgraph.graph.emit import Emit
from xgraph.graph.lower.blocked import anchored, is_spread
from xgraph.graph.site import Site

_STEEP = 100
"""Steps are 2**100 steep (at a bound of magnitude one): a float32 never lies on the slope."""


def step_mul(b: Emit, s: Site, profile: str) -> ir.Value:
    """Emits ``g * [low < v < high]``.

    ONNX Runtime's CPU provider has no blocked-layout kernels for comparisons and ``Where``; a HardSigmoid so steep
    that it is a step, and a Mul, stay in that layout and cost a third.
    """
    g, v = s.input(0), s.input(2)
    low, high = float(s.attr("low", 0.0)), float(s.attr("high", math.inf))
    if profile == "cpu" and v.dtype == ir.DataType.FLOAT:
        steps = [
            _steep(low, 1.0) if math.isfinite(low) else {},
            _steep(high, -1.0) if math.isfinite(high) else {},
        ]
        if all(step is not None for step in steps):
            if is_spread(g):
                g = anchored(b, g)
            for step in steps:
                g = b.Mul(g, b.HardSigmoid(v, **step)) if step else g
            return g
    tests = []
    if math.isfinite(low):
        tests.append(b.Greater(v, low))
    if math.isfinite(high):
        tests.append(b.Less(v, high))
    if not tests:
        return g
    inside = b.And(*tests) if len(tests) == 2 else tests[0]
    return b.Where(inside, g, b.scalar(0.0, g))


def _steep(bound: float, sign: float) -> dict[str, Any] | None:
    """Returns the HardSigmoid ``clip(alpha * v + beta, 0, 1)`` that is 1 beyond ``bound`` and 0 up to it.

    ``alpha`` is a power of two, so ``alpha * bound`` is exact and the sum is exactly 0 at the bound, fused or not;
    one float away from it the sum is at least 1. None where no such alpha is finite.
    """
    if bound == 0.0:
        # Large enough for every normal float, and with no exponent left to overflow but to the right side.
        return {"alpha": sign * 3e38, "beta": 0.0}
    exponent = math.frexp(bound)[1]
    power = min(_STEEP - exponent, 126)
    if power < 26 - exponent or power + exponent > 126:
        return None
    alpha = math.ldexp(1.0, power)
    beta = -sign * alpha * float(np.float32(bound))
    return {"alpha": sign * alpha, "beta": beta}
