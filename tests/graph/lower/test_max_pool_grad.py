"""MaxPoolGrad against torch autograd and against a literal loop; ties go to the first maximum."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from xgraph.graph.lower import PROFILES

CASES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "side by side": ((2, 3, 8, 6), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "side by side, odd": ((2, 3, 9, 7), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "overlapping": ((2, 3, 9, 10), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "overlapping, no padding": ((2, 3, 10, 10), {"kernel_shape": [3, 3], "strides": [2, 2]}),
    "stride 1": ((2, 3, 9, 10), {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2]}),
    "asymmetric": ((2, 3, 9, 10), {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [0, 1, 1, 0]}),
    "unequal strides": ((2, 3, 9, 10), {"kernel_shape": [3, 2], "strides": [1, 3]}),
    "dilated": (
        (2, 3, 11, 12),
        {"kernel_shape": [3, 3], "strides": [2, 2], "dilations": [2, 2], "pads": [1, 1, 1, 1]},
    ),
    "ceil": ((2, 3, 10, 10), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    "ceil, padded": (
        (2, 3, 9, 10),
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
    ),
    "gaps": ((2, 3, 10, 10), {"kernel_shape": [2, 2], "strides": [3, 3]}),
    "column-major": ((2, 3, 8, 6), {"kernel_shape": [2, 2], "strides": [2, 2], "storage_order": 1}),
    "same upper": ((2, 3, 9, 10), {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    "same lower": ((2, 3, 9, 10), {"kernel_shape": [2, 4], "strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    "whole": ((2, 3, 5, 6), {"kernel_shape": [5, 6]}),
    "line": ((2, 3, 17), {"kernel_shape": [3], "strides": [2], "pads": [1, 0]}),
    "volume": (
        (2, 3, 6, 5, 7),
        {"kernel_shape": [2, 2, 3], "strides": [2, 1, 2], "pads": [0, 1, 1, 0, 0, 1]},
    ),
}


def literal(x: np.ndarray, g: np.ndarray, a: dict[str, Any]) -> np.ndarray:
    """Walks every window and gives its gradient to its first maximum in row-major order."""
    n = x.ndim - 2
    kernel, strides = a["kernel_shape"], a.get("strides", [1] * n)
    dilations, begins = a.get("dilations", [1] * n), list(a.get("pads", [0] * 2 * n))[:n]
    if a.get("auto_pad", "").startswith("SAME"):
        sizes = x.shape[2:]
        totals = [max((o - 1) * s + k - i, 0) for o, s, k, i in zip(g.shape[2:], strides, kernel, sizes, strict=True)]
        begins = [t // 2 if a["auto_pad"] == "SAME_UPPER" else t - t // 2 for t in totals]
    dx = np.zeros(x.shape)
    for lead in np.ndindex(*x.shape[:2]):
        for out in np.ndindex(*g.shape[2:]):
            best, where = -np.inf, None
            for tap in product(*map(range, kernel)):
                at = tuple(
                    o * s + t * d - p for o, s, t, d, p in zip(out, strides, tap, dilations, begins, strict=True)
                )
                inside = all(0 <= i < size for i, size in zip(at, x.shape[2:], strict=True))
                if inside and x[lead + at] > best:
                    best, where = x[lead + at], at
            assert where is not None
            dx[lead + where] += g[lead + out]
    return dx


@pytest.mark.parametrize("spatial", ["static", "dynamic"])
@pytest.mark.parametrize("values", ["distinct", "ties"])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", CASES)
def test_first_maximum_takes_all(h, rng, name, profile, values, spatial):
    x_shape, attributes = CASES[name]
    x = rng.standard_normal(x_shape).astype(np.float32)
    if values == "ties":
        x = rng.integers(-1, 2, x_shape).astype(np.float32)
    dynamic = [0] if spatial == "static" else [0, *range(2, len(x_shape))]
    proto = h.gradient_model("MaxPool", x_shape, profile=profile, dynamic=dynamic, **attributes)
    g = rng.standard_normal(h.forward("MaxPool", x, **attributes).shape).astype(np.float32)
    y, dx = h.run(proto, x=x, g=g)
    assert y.shape == g.shape
    assert h.error(dx, literal(x, g, attributes)) < 1e-5


@pytest.mark.torch
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", ["side by side, odd", "overlapping", "dilated", "stride 1"])
def test_matches_autograd(h, rng, name, profile):
    torch = pytest.importorskip("torch")
    x_shape, a = CASES[name]
    x = np.maximum(rng.standard_normal(x_shape), 0).astype(np.float32)  # many ties at zero, as behind a ReLU
    xt = torch.tensor(x, dtype=torch.double, requires_grad=True)
    y = torch.nn.functional.max_pool2d(
        xt, a["kernel_shape"], a.get("strides", [1, 1]), a.get("pads", [0, 0])[:2], a.get("dilations", [1, 1])
    )
    g = rng.standard_normal(tuple(y.shape)).astype(np.float32)
    (expected,) = torch.autograd.grad(y, xt, torch.tensor(g, dtype=torch.double))
    proto = h.gradient_model("MaxPool", x_shape, profile=profile, **a)
    assert h.error(h.run(proto, x=x, g=g)[1], expected.numpy()) < 1e-5


@pytest.mark.parametrize("profile", ["portable", "cpu"])
def test_float64(h, rng, profile):
    x_shape, attributes = CASES["overlapping"]
    x = rng.standard_normal(x_shape)
    proto = h.gradient_model("MaxPool", x_shape, profile=profile, dtype=np.float64, **attributes)
    g = rng.standard_normal((2, 3, 5, 5))
    assert h.error(h.run(proto, x=x, g=g)[1], literal(x, g, attributes)) < 1e-12
