"""StepMul at, below and above its bounds."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from xgraph.graph import adjoint
from xgraph.graph.emit import Emit
from xgraph.graph.lower import PROFILES, lower

BOUNDS = {
    "relu": (0.0, None),
    "relu6": (0.0, 6.0),
    "hardtanh": (-1.0, 1.0),
    "shifted": (0.3, None),
    "narrow": (0.1, 0.1000001),
    "below zero": (-1e3, -1e-3),
    "thousands": (-3.5e4, 7.25e4),
    "only above": (-np.inf, 2.0),
    "tiny": (1e-35, None),
    "huge": (0.0, 1e37),
    "unbounded": (-np.inf, None),
}
DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16}


def model_of(low: float, high: float | None, dtype: type) -> ir.Model:
    kind = ir.TensorType(ir.DataType.from_numpy(np.dtype(dtype)))
    v, g = (ir.Value(name=name, shape=ir.Shape(["n"]), type=kind) for name in "vg")
    graph = ir.Graph([v, g], [], nodes=[], opset_imports={"": 18}, name="test")
    model = ir.Model(graph, ir_version=8)
    b = Emit(model)
    b.source = "forward"
    dx = adjoint.step_mul(b, g, v, low=low, high=high)
    dx.name = "dx"
    graph.outputs.append(dx)
    return model


def around(dtype: type, *bounds: float | None) -> np.ndarray:
    """Values at the bounds, one float beside them, and far away."""
    info = np.finfo(dtype)
    values = [0.0, -0.0, 0.5, -0.5, 3.0, -3.0, 1e3, -1e3, info.max, info.min, info.tiny, -info.tiny]
    for bound in bounds:
        if bound is not None and np.isfinite(bound):
            at = dtype(bound)
            values += [at, np.nextafter(at, dtype(np.inf)), np.nextafter(at, dtype(-np.inf))]
    array = np.array(values, dtype)
    # Subnormal numbers are not told from zero: runtimes may flush them.
    return array[(array == 0) | (np.abs(array) >= info.tiny)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", BOUNDS)
def test_is_one_strictly_inside(h, rng, name, profile, dtype):
    low, high = BOUNDS[name]
    kind = DTYPES[dtype]
    if dtype == "float16" and name in ("thousands", "tiny", "huge"):
        pytest.skip("the bound is no float16")
    model = model_of(low, high, kind)
    lower(model, profile)
    proto = h.checked(model)
    v = around(kind, low, high)
    g = rng.standard_normal(v.shape).astype(kind)
    (dx,) = h.run(proto, v=v, g=g)
    inside = (v > kind(low)) & (v < kind(np.inf if high is None else high))
    np.testing.assert_array_equal(dx, np.where(inside, g, 0))


def test_cpu_stays_in_the_blocked_layout(h):
    model = model_of(0.0, 6.0, np.float32)
    lower(model, "cpu")
    assert sorted(h.operators(h.checked(model))) == ["HardSigmoid", "HardSigmoid", "Mul", "Mul"]


def test_half_precision_has_no_room_for_a_steep_slope(h):
    model = model_of(0.0, None, np.float16)
    lower(model, "cpu")
    assert "HardSigmoid" not in h.operators(h.checked(model))
