"""ResizeGrad: the transpose of the matrix that Resize is, and the matrices against the standard's reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from xgraph.graph.lower import PROFILES

F = np.float32
HALF, CORNERS, ASYMMETRIC = "half_pixel", "align_corners", "asymmetric"


def case(shape: tuple[int, ...], scales: Any = None, sizes: Any = None, roi: Any = None, **attributes: Any) -> Any:
    operands = [
        None if roi is None else np.array(roi, F),
        None if scales is None else np.array(scales, F),
        None if sizes is None else np.array(sizes, np.int64),
    ]
    return shape, operands, attributes


UP, DOWN, ODD = [1, 1, 2, 3], [1, 1, 0.5, 0.6], [1, 1, 1.7, 0.8]
CASES: dict[str, Any] = {
    "nearest": case((2, 3, 4, 5), UP),
    "nearest, asymmetric floor": case(
        (2, 3, 4, 5), UP, coordinate_transformation_mode=ASYMMETRIC, nearest_mode="floor"
    ),
    "nearest, asymmetric round": case((2, 3, 4, 5), UP, coordinate_transformation_mode=ASYMMETRIC),
    "nearest, asymmetric ceil": case((2, 3, 4, 5), ODD, coordinate_transformation_mode=ASYMMETRIC, nearest_mode="ceil"),
    "nearest, corners": case((2, 3, 4, 5), UP, coordinate_transformation_mode=CORNERS),
    "nearest, down": case((2, 3, 8, 10), DOWN),
    "nearest, odd": case((2, 3, 7, 9), ODD, nearest_mode="round_prefer_ceil"),
    "nearest, sizes": case((2, 3, 4, 5), sizes=[2, 3, 7, 9]),
    "nearest, line": case((2, 3, 7), [1, 1, 2]),
    "nearest, volume": case((2, 3, 3, 4, 5), [1, 1, 2, 1, 2]),
    "linear": case((2, 3, 4, 5), UP, mode="linear"),
    "linear, corners": case((2, 3, 4, 5), sizes=[2, 3, 8, 9], mode="linear", coordinate_transformation_mode=CORNERS),
    "linear, asymmetric": case((2, 3, 4, 5), UP, mode="linear", coordinate_transformation_mode=ASYMMETRIC),
    "linear, pytorch": case(
        (2, 3, 4, 5), sizes=[2, 3, 1, 9], mode="linear", coordinate_transformation_mode="pytorch_half_pixel"
    ),
    "linear, odd": case((2, 3, 7, 9), ODD, mode="linear"),
    "linear, symmetric": case((2, 3, 7, 9), ODD, mode="linear", coordinate_transformation_mode="half_pixel_symmetric"),
    "linear, down": case((2, 3, 8, 10), DOWN, mode="linear"),
    "linear, antialias": case((2, 3, 8, 10), DOWN, mode="linear", antialias=1),
    "linear, antialias, outside": case((2, 3, 8, 10), DOWN, mode="linear", antialias=1, exclude_outside=1),
    "linear, one": case((2, 3, 6, 6), sizes=[2, 3, 1, 1], mode="linear", coordinate_transformation_mode=CORNERS),
    "linear, crop": case(
        (2, 3, 6, 7),
        sizes=[2, 3, 5, 4],
        roi=[0, 0, 0.2, -0.3, 1, 1, 0.9, 1.2],
        mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize",
        extrapolation_value=3.0,
    ),
    "linear, axes": case((2, 3, 4, 5), [2.0, 1.5], mode="linear", axes=[3, 2]),
    "linear, not larger": case(
        (2, 3, 6, 9), sizes=[9, 9], axes=[2, 3], mode="linear", keep_aspect_ratio_policy="not_larger"
    ),
    "linear, not smaller": case(
        (2, 3, 6, 8), sizes=[9, 9], axes=[2, 3], mode="linear", keep_aspect_ratio_policy="not_smaller"
    ),
    "linear, matrix": case((4, 5), [2, 1.5], mode="linear"),
    "cubic": case((2, 3, 4, 5), UP, mode="cubic"),
    "cubic, corners": case((2, 3, 4, 5), sizes=[2, 3, 8, 9], mode="cubic", coordinate_transformation_mode=CORNERS),
    "cubic, a": case((2, 3, 4, 5), UP, mode="cubic", cubic_coeff_a=-0.5),
    "cubic, outside": case((2, 3, 7, 9), ODD, mode="cubic", exclude_outside=1),
    "cubic, antialias": case((2, 3, 8, 10), DOWN, mode="cubic", antialias=1),
}
# ONNX Runtime resizes neither batch nor channels, nor one axis in front of others, in every mode; its own
# formula for not_smaller etc. is the standard's. The reference knows these.
REFERENCE_ONLY: dict[str, Any] = {
    "channels": case((2, 3, 4, 5), [1, 2, 1, 2]),
    "linear, channels": case((1, 3, 4, 5), sizes=[1, 6, 4, 7], mode="linear"),
}

# Halfway between two pixels up to rounding: float32 runtimes and the float64 reference choose differently.
TIES = {"nearest, odd"}


def columns_of(run: Any, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """The matrix of a linear function of an array, from differences (extrapolation adds a constant)."""
    base = run(np.zeros(shape, dtype))
    count = int(np.prod(shape))
    columns = np.empty((count, base.size))
    for i in range(count):
        unit = np.zeros(count, dtype)
        unit[i] = 1
        columns[i] = (run(unit.reshape(shape)) - base).ravel()
    return columns


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", CASES)
def test_is_the_transpose_of_what_the_runtime_does(h, rng, name, profile):
    shape, operands, attributes = CASES[name]
    opset = 19 if attributes.get("coordinate_transformation_mode") == "half_pixel_symmetric" else 18
    proto = h.gradient_model("Resize", shape, *operands, profile=profile, dynamic=(), opset=opset, **attributes)
    session = h.session(proto)
    g_shape = session.get_outputs()[0].shape
    g = rng.standard_normal(g_shape).astype(F)
    zero = np.zeros(g_shape, F)
    columns = columns_of(lambda x: session.run(["y"], {"x": x, "g": zero})[0], shape, F)
    (dx,) = session.run(["dx"], {"x": np.zeros(shape, F), "g": g})
    assert h.error(dx, (columns @ g.ravel()).reshape(shape)) < 1e-5


@pytest.mark.parametrize("name", sorted({*CASES, *REFERENCE_ONLY} - TIES))
def test_is_the_transpose_of_the_reference(h, rng, name):
    shape, operands, attributes = (CASES | REFERENCE_ONLY)[name]
    opset = 19 if attributes.get("coordinate_transformation_mode") == "half_pixel_symmetric" else 18
    proto = h.gradient_model("Resize", shape, *operands, dynamic=(), dtype=np.float64, opset=opset, **attributes)
    evaluator = h.reference(proto)
    g_shape = tuple(d.dim_value for d in proto.graph.output[0].type.tensor_type.shape.dim)
    x = rng.standard_normal(shape)
    g = rng.standard_normal(g_shape)
    y, dx = evaluator.run(None, {"x": x, "g": g})
    # <g, R v> = <R^T g, v> for a random direction v.
    v = rng.standard_normal(shape)
    moved, _ = evaluator.run(None, {"x": x + v, "g": g})
    # Sources are computed in float32, as runtimes do.
    assert float((g * (moved - y)).sum()) == pytest.approx(float((dx * v).sum()), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", ["nearest", "nearest, asymmetric floor", "nearest, line", "nearest, volume"])
def test_repetition_needs_no_static_sizes(h, rng, name, profile):
    shape, operands, attributes = CASES[name]
    dynamic = [0, *range(2, len(shape))]
    proto = h.gradient_model("Resize", shape, *operands, profile=profile, dynamic=dynamic, **attributes)
    scales = operands[1].astype(int)
    g = rng.standard_normal([size * scale for size, scale in zip(shape, scales, strict=True)]).astype(F)
    expected = g
    for axis, scale in enumerate(scales):
        expected = expected.reshape(*expected.shape[:axis], -1, scale, *expected.shape[axis + 1 :]).sum(axis + 1)
    assert h.error(h.run(proto, x=np.zeros(shape, F), g=g)[1], expected) < 1e-6


# Shape inference takes the sizes that a policy keeps the ratio of for the sizes of the output.
AT_RUN_TIME = [name for name in CASES if not name.endswith(("larger", "smaller"))]


@pytest.mark.parametrize("name", AT_RUN_TIME)
def test_matrix_of_sizes_known_at_run_time(h, rng, name):
    shape, operands, attributes = CASES[name]
    opset = 19 if attributes.get("coordinate_transformation_mode") == "half_pixel_symmetric" else 18
    open_axes = range(len(shape))
    fixed, dynamic = (
        h.gradient_model("Resize", shape, *operands, dynamic=axes, opset=opset, **attributes)
        for axes in ((), open_axes)
    )
    g = rng.standard_normal(h.session(fixed).get_outputs()[0].shape).astype(F)
    x = np.zeros(shape, F)
    assert h.error(h.run(dynamic, x=x, g=g)[1], h.run(fixed, x=x, g=g)[1]) < 1e-5


@pytest.mark.parametrize("name", ["linear", "cubic", "nearest, corners", "linear, axes"])
def test_dynamic_batch(h, rng, name):
    shape, operands, attributes = CASES[name]
    proto = h.gradient_model("Resize", shape, *operands, **attributes)
    fixed = h.gradient_model("Resize", shape, *operands, dynamic=(), **attributes)
    g = rng.standard_normal(h.session(fixed).get_outputs()[0].shape).astype(F)
    x = np.zeros(shape, F)
    dx = h.run(fixed, x=x, g=g)[1]
    np.testing.assert_allclose(h.run(proto, x=x[:1], g=g[:1])[1], dx[:1], rtol=1e-5, atol=1e-6)
