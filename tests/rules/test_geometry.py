"""The gradients of operators that sample, pool regions and put patches together, against central differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rules.harness import Case, Draw, Fed, N, case, derive, forward, gradients, run_ort

RNG = np.random.default_rng(6)
IMAGE = (N, 2, 4, 5)
VOLUME = (N, 1, 3, 4, 2)


def drawn(*shape: int | str, low: float = -2.0, high: float = 2.0) -> Draw:
    return Draw(shape, low, high)


def told(*values: int) -> Fed:
    """Integers that arrive at run time."""
    return Fed(lambda _: np.asarray(values, np.int64), (len(values),))


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def regions(*corners: tuple[float, float, float, float]) -> np.ndarray:
    return np.asarray(corners)


# Points inside, at the border and outside, none of them at a kink.
GRID = drawn(N, 3, 4, 2, low=-1.7, high=1.6)
GRID_3D = drawn(N, 2, 3, 2, 3, low=-1.3, high=1.4)

GRID_SAMPLE = [
    *(
        case("GridSample", IMAGE, GRID, mode=mode, padding_mode=padding, align_corners=aligned, opset=20)
        for mode in ("linear", "nearest", "cubic")
        for padding in ("zeros", "border", "reflection")
        for aligned in (0, 1)
    ),
    *(
        case("GridSample", VOLUME, GRID_3D, mode=mode, padding_mode=padding, align_corners=aligned, opset=20)
        for mode in ("linear", "nearest")
        for padding in ("zeros", "border", "reflection")
        for aligned in (0, 1)
    ),
    case("GridSample", IMAGE, GRID, mode="bilinear", opset=16, label="opset 16", ort=False),
    case("GridSample", IMAGE, GRID, mode="bicubic", opset=16, label="cubic at opset 16", ort=False),
    case("GridSample", (N, 2, 1, 5), GRID, padding_mode="reflection", align_corners=1, opset=20, label="one row"),
    case("GridSample", (N, 2, "height", "width"), GRID, opset=20, label="open sizes"),
]

AFFINE_GRID = [
    *(case("AffineGrid", (2, 2, 3), [2, 1, 3, 4], align_corners=a, opset=20) for a in (0, 1)),
    *(case("AffineGrid", (2, 3, 4), [2, 1, 3, 4, 2], align_corners=a, opset=20) for a in (0, 1)),
    case("AffineGrid", (N, 2, 3), Fed(lambda n: np.asarray([n, 1, 3, 4]), (4,)), opset=20, ranks=(4,), label="told"),
]

ROIS = regions((0.3, 0.7, 3.2, 2.9), (1.1, 0.2, 4.4, 3.7), (-1.3, -0.9, 2.3, 1.6), (2.0, 2.1, 7.6, 5.8))
SAMPLES = np.asarray([0, 1, 1, 0])
ROI_ALIGN = [
    *(
        case(
            "RoiAlign", (2, 2, 4, 5), rois, SAMPLES, mode=mode, sampling_ratio=ratio, spatial_scale=0.9,
            coordinate_transformation_mode=coordinates, output_height=2, output_width=3,
            # Some of the drawn regions have a negative size, of which ONNX Runtime reports an overflow.
            ort=isinstance(rois, np.ndarray),
        )
        for mode in ("avg", "max")
        for ratio in (0, 2)
        for coordinates in ("half_pixel", "output_half_pixel")
        for rois in (ROIS, drawn(4, 4, low=0.0, high=4.0))
    ),
]  # fmt: skip

BOXES = np.concatenate([SAMPLES[:, None], ROIS], axis=1)
MAX_ROI_POOL = [
    case("MaxRoiPool", (2, 2, 4, 5), BOXES, pooled_shape=[2, 2]),
    case("MaxRoiPool", (2, 2, 4, 5), BOXES, pooled_shape=[3, 4], spatial_scale=0.6),
]


def deformable(
    x: tuple[int | str, ...],
    weight: tuple[int, ...],
    out: tuple[int | str, int],
    *rest: object,
    shifts: int = 1,
    **more: Any,
) -> Case:
    taps = shifts * weight[2] * weight[3]
    offset = drawn(N, 2 * taps, *out, low=-0.9, high=0.95)
    mask = [drawn(N, taps, *out)] if "mask" in rest else [None]
    bias = (weight[0],) if "bias" in rest else None
    label = ",".join([*map(str, rest), f"shifts={shifts}", *(f"{k}={v}" for k, v in more.items())])
    return case("DeformConv", x, weight, offset, bias, *mask, offset_group=shifts, opset=19, label=label, **more)


DEFORM_CONV = [
    deformable(IMAGE, (3, 2, 2, 2), (3, 4)),
    deformable(IMAGE, (3, 2, 2, 2), (3, 4), "bias", "mask"),
    deformable((N, 4, 4, 5), (4, 2, 3, 2), (2, 3), "mask", shifts=2, group=2, strides=[2, 2], pads=[1, 0, 1, 1]),
    deformable((N, 4, 4, 5), (2, 4, 2, 2), (4, 3), "bias", shifts=4, dilations=[2, 3], pads=[1, 1, 1, 0]),
    deformable((N, 2, "height", 5), (3, 2, 1, 1), ("height", 5), "mask"),
]

COL2IM = [
    case("Col2Im", (N, 12, 6), [4, 4], [2, 3], dilations=[1, 1]),
    case("Col2Im", (N, 12, 4), [5, 6], [2, 3], strides=[2, 2]),
    case("Col2Im", (N, 8, 6), [5, 5], [2, 2], pads=[0, 1, 2, 1], dilations=[3, 1], strides=[2, 2]),
    case("Col2Im", (N, 6, 4), [6], [3]),
    case("Col2Im", (N, 8, 12), [3, 4, 3], [2, 2, 2], ort=False),
    case("Col2Im", (N, 12, 6), told(4, 4), told(2, 3), ranks=(4,), label="told"),
]

UNPOOL = np.asarray([5, 7, 13, 15, 16, 19, 26, 31]).reshape(2, 1, 2, 2)
MAX_UNPOOL = [
    case("MaxUnpool", (2, 1, 2, 2), UNPOOL, kernel_shape=[2, 2], strides=[2, 2]),
    case("MaxUnpool", (2, 1, 2, 2), UNPOOL, [2, 1, 4, 4], kernel_shape=[2, 2], strides=[2, 2]),
    case("MaxUnpool", (2, 1, 2, 2), UNPOOL // 3, kernel_shape=[2, 2], strides=[2, 2], label="places told twice"),
    case("MaxUnpool", (2, 1, 2), np.asarray([0, 3, 5, 6]).reshape(2, 1, 2), kernel_shape=[2], strides=[2]),
]

CASES = [*GRID_SAMPLE, *AFFINE_GRID, *ROI_ALIGN, *MAX_ROI_POOL, *DEFORM_CONV, *COL2IM, *MAX_UNPOOL]


def names(rows: list[Case]) -> list[str]:
    return [row.name for row in rows]


IN_ORT = [row for row in CASES if row.ort]


@pytest.mark.parametrize("row", IN_ORT, ids=names(IN_ORT))
def test_literal_forward_is_that_of_the_runtime(row: Case) -> None:
    double, single = (derive(row, kind, dynamic=False) for kind in (np.float64, np.float32))
    feeds = double.feeds(2)
    expected = forward(double, feeds)[0]
    found = run_ort(single, {**feeds, "seed0": np.zeros_like(expected)})[single.names[0]]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.torch
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize(("mode", "theirs"), [("linear", "bilinear"), ("nearest", "nearest"), ("cubic", "bicubic")])
def test_grid_sample_is_that_of_torch(mode: str, theirs: str, padding: str, aligned: bool) -> None:
    torch = pytest.importorskip("torch")
    row = case("GridSample", IMAGE, GRID, mode=mode, padding_mode=padding, align_corners=int(aligned), opset=20)
    x, grid = derive(row, np.float64, dynamic=False).feeds(2).values()
    operands = [torch.tensor(array, requires_grad=True) for array in (x, grid)]
    y = torch.nn.functional.grid_sample(*operands, mode=theirs, padding_mode=padding, align_corners=aligned)
    seed = RNG.standard_normal(tuple(y.shape))
    dx, dgrid = gradients(row, {"x0": x, "x1": grid}, {"seed0": seed})
    expected = torch.autograd.grad(y, operands, torch.tensor(seed))
    np.testing.assert_allclose(dx, expected[0].numpy(), rtol=1e-9, atol=1e-12)
    if mode == "nearest":
        assert dgrid is None
    else:
        np.testing.assert_allclose(dgrid, expected[1].numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.torch
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("size", [[2, 1, 3, 4], [2, 1, 3, 4, 2]], ids=str)
def test_affine_grid_is_that_of_torch(size: list[int], aligned: bool) -> None:
    torch = pytest.importorskip("torch")
    n = len(size) - 2
    row = case("AffineGrid", (2, n, n + 1), size, align_corners=int(aligned), opset=20)
    theta = torch.tensor(RNG.standard_normal((2, n, n + 1)), requires_grad=True)
    grid = torch.nn.functional.affine_grid(theta, size, align_corners=aligned)
    seed = RNG.standard_normal(tuple(grid.shape))
    (expected,) = torch.autograd.grad(grid, theta, torch.tensor(seed))
    (found,) = gradients(row, {"x0": theta.detach().numpy()}, {"seed0": seed})
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-9, atol=1e-12)


def test_affine_grid_of_a_single_row_is_that_of_the_runtime() -> None:
    row = case("AffineGrid", (2, 2, 3), [2, 1, 1, 3], align_corners=1, opset=20)
    gradient = derive(row, np.float32, dynamic=False)
    theta, seed = RNG.standard_normal((2, 2, 3)), RNG.standard_normal((2, 1, 3, 2))
    found = run_ort(gradient, {"x0": theta, "seed0": seed})
    y, dtheta = (found[name] for name in gradient.names)
    # The grid is linear in theta.
    np.testing.assert_allclose(np.sum(y * seed), np.sum(dtheta * theta), rtol=1e-5)


@pytest.mark.torch
def test_col2im_is_the_fold_of_torch() -> None:
    torch = pytest.importorskip("torch")
    how = {"dilations": [2, 1], "strides": [1, 2]}
    row = case("Col2Im", (2, 12, 15), [5, 6], [2, 3], pads=[1, 1, 1, 1], **how)
    x = torch.tensor(RNG.standard_normal((2, 12, 15)), requires_grad=True)
    y = torch.nn.functional.fold(x, (5, 6), (2, 3), dilation=(2, 1), padding=1, stride=(1, 2))
    seed = RNG.standard_normal(tuple(y.shape))
    (expected,) = torch.autograd.grad(y, x, torch.tensor(seed))
    (found,) = gradients(row, {"x0": x.detach().numpy()}, {"seed0": seed})
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-9, atol=1e-12)
