"""ConvInputGrad against torch autograd in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from xgraph.errors import ShapeUnknownError
from xgraph.graph.lower import PROFILES

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

# name: x shape, weight shape, attributes
CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "plain": ((2, 4, 9, 10), (6, 4, 3, 3), {"pads": [1, 1, 1, 1]}),
    "no padding": ((2, 4, 9, 10), (6, 4, 3, 2), {}),
    "asymmetric padding": ((2, 4, 9, 10), (6, 4, 3, 3), {"pads": [0, 2, 1, 0]}),
    "padding beyond the kernel": ((2, 4, 9, 10), (6, 4, 3, 3), {"pads": [5, 4, 6, 3]}),
    "dilated": ((2, 3, 15, 14), (8, 3, 3, 2), {"dilations": [2, 3], "pads": [0, 1, 2, 1]}),
    "groups": ((2, 4, 9, 10), (6, 2, 3, 3), {"group": 2, "pads": [1, 1, 1, 1]}),
    "depthwise": ((2, 4, 9, 10), (4, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    "depthwise with a multiplier": ((2, 4, 9, 10), (8, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    "stride 2": ((2, 4, 8, 10), (6, 4, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "stride 2, odd": ((2, 4, 9, 11), (6, 4, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "stride 2, rows without gradient": ((2, 4, 9, 10), (6, 4, 2, 3), {"strides": [2, 2]}),
    "stride 2, stem": ((1, 3, 16, 17), (8, 3, 7, 7), {"strides": [2, 2], "pads": [3, 3, 3, 3]}),
    "stride 2, asymmetric": ((2, 4, 9, 10), (6, 4, 3, 3), {"strides": [2, 2], "pads": [0, 1, 2, 0]}),
    "stride 2, padding beyond the kernel": (
        (2, 4, 9, 10),
        (6, 4, 3, 3),
        {"strides": [2, 2], "pads": [5, 4, 6, 3]},
    ),
    "stride 2, groups": ((2, 4, 9, 10), (6, 2, 3, 3), {"strides": [2, 2], "group": 2, "pads": [1, 0, 2, 1]}),
    "stride 2, depthwise": (
        (2, 4, 9, 10),
        (4, 1, 5, 5),
        {"strides": [2, 2], "group": 4, "pads": [2, 2, 2, 2]},
    ),
    "stride 2, dilated": ((2, 3, 15, 14), (8, 3, 3, 2), {"strides": [2, 2], "dilations": [2, 1]}),
    "stride 3, groups": ((2, 4, 9, 10), (8, 1, 3, 3), {"strides": [3, 3], "group": 4, "pads": [1, 3, 1, 3]}),
    "stride beyond the kernel": ((2, 3, 15, 14), (8, 3, 2, 2), {"strides": [3, 3]}),
    "patches": ((2, 3, 12, 16), (8, 3, 4, 4), {"strides": [4, 4]}),
    "unequal strides": ((2, 3, 15, 14), (8, 3, 3, 2), {"strides": [3, 2], "pads": [0, 0, 0, 1]}),
    "1 x 1": ((2, 4, 9, 10), (6, 4, 1, 1), {}),
    "1 x 1, groups": ((2, 4, 9, 10), (6, 2, 1, 1), {"group": 2}),
    "1 x 1, stride 2": ((2, 4, 8, 10), (6, 4, 1, 1), {"strides": [2, 2]}),
    "1 x 1, stride 2, odd": ((2, 4, 9, 11), (6, 4, 1, 1), {"strides": [2, 2]}),
    "1 x 1, stride 2, whole blocks": ((2, 16, 9, 11), (6, 16, 1, 1), {"strides": [2, 2]}),
    "stride 2, whole blocks": ((2, 16, 9, 11), (6, 16, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "1 x 1, stride 2, padded": ((2, 4, 9, 10), (6, 4, 1, 1), {"strides": [2, 3], "pads": [1, 1, 0, 2]}),
    "1 x 1, stride 3, groups": (
        (2, 4, 9, 10),
        (6, 2, 1, 1),
        {"strides": [3, 3], "group": 2, "pads": [4, 0, 5, 1]},
    ),
    "one output": ((2, 4, 5, 5), (6, 4, 5, 5), {}),
    "line": ((2, 4, 19), (6, 4, 5), {"pads": [2, 1]}),
    "line, stride 2": ((2, 4, 19), (6, 4, 4), {"strides": [2], "pads": [2, 1]}),
    "line, dilated, groups": ((2, 4, 19), (6, 2, 3), {"dilations": [3], "pads": [4, 0], "group": 2}),
    "line, 1, stride 4": ((2, 4, 19), (6, 4, 1), {"strides": [4]}),
    "volume": ((2, 2, 6, 7, 5), (4, 2, 3, 2, 3), {"pads": [1, 0, 1, 1, 1, 0]}),
    "volume, stride 2": (
        (2, 2, 6, 7, 5),
        (4, 1, 3, 3, 3),
        {"strides": [2, 2, 2], "pads": [1] * 6, "group": 2},
    ),
}


def oracle(x: np.ndarray, w: np.ndarray, g: np.ndarray | None, rng: np.random.Generator, **a: Any):
    """Returns (g, dx) in float64; draws g if it is not given."""
    n = x.ndim - 2
    xt = torch.tensor(x, dtype=torch.double, requires_grad=True)
    pads = a.get("pads", [0] * 2 * n)
    padded = torch.nn.functional.pad(xt, [v for i in reversed(range(n)) for v in (pads[i], pads[n + i])])
    conv = (torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d)[n - 1]
    y = conv(
        padded,
        torch.tensor(w, dtype=torch.double),
        stride=tuple(a.get("strides", [1] * n)),
        dilation=tuple(a.get("dilations", [1] * n)),
        groups=a.get("group", 1),
    )
    g = rng.standard_normal(tuple(y.shape)).astype(np.float32) if g is None else g
    (dx,) = torch.autograd.grad(y, xt, torch.tensor(g, dtype=torch.double))
    return g, dx.numpy()


@pytest.mark.parametrize("spatial", ["static", "dynamic"])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", CASES)
def test_matches_autograd(h, rng, name, profile, spatial):
    x_shape, w_shape, attributes = CASES[name]
    w, x = rng.standard_normal(w_shape).astype(np.float32), rng.standard_normal(x_shape).astype(np.float32)
    g, expected = oracle(x, w, None, rng, **attributes)
    dynamic = (0,) if spatial == "static" else range(len(x_shape))
    if spatial == "dynamic":
        dynamic = [0, *range(2, len(x_shape))]
    proto = h.gradient_model("Conv", x_shape, w, profile=profile, dynamic=dynamic, **attributes)
    y, dx = h.run(proto, x=x, g=g)
    assert y.shape == g.shape
    assert h.error(dx, expected) < 1e-5


@pytest.mark.parametrize("name", ["plain", "stride 2, rows without gradient", "1 x 1, stride 2, odd", "line, stride 2"])
@pytest.mark.parametrize("profile", ["portable", "cpu", "openvino"])
def test_is_exact_in_float64(h, rng, name, profile):
    x_shape, w_shape, attributes = CASES[name]
    w, x = rng.standard_normal(w_shape), rng.standard_normal(x_shape)
    g, expected = oracle(x, w, None, rng, **attributes)
    proto = h.gradient_model("Conv", x_shape, w, profile=profile, dtype=np.float64, **attributes)
    _, dx = h.run_reference(proto, x=x, g=g.astype(np.float64))
    assert h.error(dx, expected) < 1e-12


@pytest.mark.parametrize("spatial", ["static", "dynamic"])
@pytest.mark.parametrize("profile", ["portable", "cpu", "openvino"])
@pytest.mark.parametrize("kernel", [2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_auto_pad(h, rng, mode, stride, kernel, profile, spatial):
    sizes = (9, 10)
    totals = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in sizes]
    small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
    pads = {"SAME_UPPER": small + large, "SAME_LOWER": large + small, "VALID": [0] * 4}[mode]
    w = rng.standard_normal((4, 3, kernel, kernel)).astype(np.float32)
    x = rng.standard_normal((2, 3, *sizes)).astype(np.float32)
    g, expected = oracle(x, w, None, rng, strides=[stride] * 2, pads=pads)
    dynamic = (0,) if spatial == "static" else (0, 2, 3)
    proto = h.gradient_model("Conv", x.shape, w, profile=profile, dynamic=dynamic, strides=[stride] * 2, auto_pad=mode)
    y, dx = h.run(proto, x=x, g=g)
    assert y.shape == g.shape
    assert h.error(dx, expected) < 1e-5


@pytest.mark.parametrize("profile", ["cpu", "openvino"])
@pytest.mark.parametrize("name", ["plain", "stride 2", "1 x 1, stride 2", "depthwise", "volume"])
def test_static_sizes_need_no_transposed_convolution(h, rng, name, profile):
    x_shape, w_shape, attributes = CASES[name]
    w = rng.standard_normal(w_shape).astype(np.float32)
    proto = h.gradient_model("Conv", x_shape, w, profile=profile, **attributes)
    assert "ConvTranspose" not in h.operators(proto)


def test_weight_is_stored_once(h, rng):
    w = rng.standard_normal((6, 4, 3, 3)).astype(np.float32)
    proto = h.gradient_model("Conv", (2, 4, 9, 10), w, profile="cpu", strides=[2, 2])
    assert sum(np.prod(t.dims) for t in proto.graph.initializer if t.data_type == 1) <= w.size + 1


def test_unknown_kernel_is_an_error(h):
    import onnx_ir as ir

    from xgraph.graph import adjoint
    from xgraph.graph.emit import Emit
    from xgraph.graph.lower import lower
    from xgraph.graph.site import Site

    def value(name: str, *shape: int | str) -> ir.Value:
        return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))

    x, w, g = value("x", "n", 4, 9, 9), value("w", 6, 4, "k", "k"), value("g", "n", 6, "h", "w")
    graph = ir.Graph([x, w, g], [], nodes=[], opset_imports={"": 18}, name="test")
    model = ir.Model(graph, ir_version=8)
    b = Emit(model)
    site = Site(ir.node("Conv", [x, w], name="conv"))
    graph.outputs.append(adjoint.conv_input_grad(b, site, g))
    with pytest.raises(ShapeUnknownError, match="kernel size of the weight 'w'"):
        lower(model)


def test_cpu_brings_zero_insertion_into_the_blocked_layout(h, rng):
    x_shape, w_shape, attributes = CASES["1 x 1, stride 2, whole blocks"]
    w = rng.standard_normal(w_shape).astype(np.float32)
    assert h.operators(h.gradient_model("Conv", x_shape, w, profile="cpu", **attributes))[-1] == "MaxPool"
    assert "MaxPool" not in h.operators(h.gradient_model("Conv", x_shape, w, profile="openvino", **attributes))
