"""AveragePoolGrad: the transpose of the matrix that ONNX Runtime's AveragePool is, entry by entry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from xgraph.graph.lower import PROFILES

CASES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "side by side": ((2, 3, 8, 6), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "side by side, odd": ((2, 3, 9, 7), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "stride 1": ((2, 3, 9, 10), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "stride 1, asymmetric": ((2, 3, 9, 10), {"kernel_shape": [3, 4], "pads": [0, 2, 1, 1]}),
    "stride 1, no padding": ((2, 3, 9, 10), {"kernel_shape": [3, 3]}),
    "overlapping": ((2, 3, 9, 10), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "asymmetric": ((2, 3, 9, 10), {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [0, 1, 1, 0]}),
    "unequal strides": ((2, 3, 9, 10), {"kernel_shape": [3, 2], "strides": [1, 3]}),
    "gaps": ((2, 3, 10, 10), {"kernel_shape": [2, 2], "strides": [3, 3]}),
    "same upper": ((2, 3, 9, 10), {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    "same lower": ((2, 3, 9, 10), {"kernel_shape": [2, 4], "strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    "whole": ((2, 3, 5, 6), {"kernel_shape": [5, 6]}),
    "line": ((2, 3, 17), {"kernel_shape": [3], "strides": [2], "pads": [1, 0]}),
    "volume": (
        (2, 2, 6, 5, 7),
        {"kernel_shape": [2, 2, 3], "strides": [2, 1, 2], "pads": [0, 1, 1, 0, 0, 1]},
    ),
    "ceil": ((2, 3, 10, 10), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    "ceil, padded": (
        (2, 3, 10, 8),
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
    ),
}
DILATED = {
    "dilated": ((2, 3, 11, 12), {"kernel_shape": [3, 3], "dilations": [2, 2], "pads": [1, 1, 1, 1]}),
    "dilated, stride 2": ((2, 3, 11, 12), {"kernel_shape": [3, 2], "strides": [2, 2], "dilations": [2, 3]}),
}


def transpose_of_forward(
    h, shape: tuple[int, ...], g: np.ndarray, opset: int, attributes: dict[str, Any]
) -> np.ndarray:
    """Applies the transposed forward matrix to ``g``: its columns are the images of the unit inputs."""
    sizes = shape[2:]
    count = int(np.prod(sizes))
    units = np.eye(count, dtype=np.float32).reshape(count, 1, *sizes)
    images = h.forward("AveragePool", units, opset=opset, **attributes)
    columns = images.reshape(count, -1).astype(np.float64)
    return (g.reshape(*g.shape[:2], -1).astype(np.float64) @ columns.T).reshape(shape)


@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", [*CASES, *DILATED])
def test_is_the_transpose(h, rng, name, profile, include):
    _check(h, rng, name, profile, include, (0,))


@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", [*CASES, *DILATED])
def test_dynamic_sizes(h, rng, name, profile, include):
    attributes = (CASES | DILATED)[name][1]
    dynamic = [0, *range(2, 2 + len(attributes["kernel_shape"]))]
    _check(h, rng, name, profile, include, dynamic)


def _check(h, rng, name: str, profile: str, include: int, dynamic) -> None:
    shape, attributes = (CASES | DILATED)[name]
    attributes = {**attributes, "count_include_pad": include}
    opset = 19 if name in DILATED else 18
    x = rng.standard_normal(shape).astype(np.float32)
    y = h.forward("AveragePool", x, opset=opset, **attributes)
    g = rng.standard_normal(y.shape).astype(np.float32)
    proto = h.gradient_model("AveragePool", shape, profile=profile, dynamic=dynamic, opset=opset, **attributes)
    y2, dx = h.run(proto, x=x, g=g)
    np.testing.assert_array_equal(y, y2)
    assert h.error(dx, transpose_of_forward(h, shape, g, opset, attributes)) < 1e-5


@pytest.mark.torch
@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("name", ["side by side, odd", "stride 1", "overlapping", "ceil", "ceil, padded"])
def test_matches_autograd(h, rng, name, include):
    torch = pytest.importorskip("torch")
    shape, a = CASES[name]
    x = torch.tensor(rng.standard_normal(shape), requires_grad=True)
    pads = a.get("pads", [0, 0])[:2]
    ceil = bool(a.get("ceil_mode"))
    y = torch.nn.functional.avg_pool2d(x, a["kernel_shape"], a.get("strides", [1, 1]), pads, ceil, include)
    g = rng.standard_normal(tuple(y.shape)).astype(np.float32)
    (expected,) = torch.autograd.grad(y, x, torch.tensor(g, dtype=torch.double))
    proto = h.gradient_model("AveragePool", shape, count_include_pad=int(include), **a)
    dx = h.run(proto, x=x.detach().numpy().astype(np.float32), g=g)[1]
    assert h.error(dx, expected.numpy()) < 1e-5
