"""The gradients of pools in every combination of their attributes, with static and with open sizes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from rules.harness import Case, N, case, check_directional, check_in_ort, derive

IMAGE = (N, 1, 5, 4)
OPEN = (N, 1, "height", "width")
WINDOWS = [
    {"kernel_shape": [3, 2], "strides": [2, 3]},
    {"kernel_shape": [2, 2], "strides": [2, 1], "dilations": [2, 1]},
    {"kernel_shape": [2, 3]},
]
BORDERS = [{}, {"pads": [1, 0, 1, 1]}, {"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER"}, {"auto_pad": "VALID"}]


def windows(op: str, **more: object) -> list[Case]:
    return [
        case(op, x, **window, **border, **more, ceil_mode=ceil, opset=19, ort=_same_in_ort(window, border))
        for x, window, border, ceil in product((IMAGE, OPEN), WINDOWS, BORDERS, (0, 1))
    ]


def _same_in_ort(window: dict[str, object], border: dict[str, object]) -> bool:
    """ONNX Runtime forgets dilations where it computes SAME padding; a model that is imported has pads instead."""
    return not (str(border.get("auto_pad")).startswith("SAME") and "dilations" in window)


POOLS = [
    *windows("MaxPool"),
    *windows("AveragePool"),
    *windows("AveragePool", count_include_pad=1),
    # Open sizes with a stride longer than the kernel are refused: see the conventions.
    *(row for row in windows("LpPool", p=3) if "Nx1xheight" not in row.name or "strides=[2,3]" not in row.name),
    *(case("LpPool", OPEN, kernel_shape=[3, 2], strides=[2, 3], p=3, **border) for border in ({}, {"pads": [1] * 4})),
    *(
        case(op, shape, kernel_shape=[3, 2, 2][:n], strides=[2, 2, 1][:n], pads=[1] * n * 2, ceil_mode=1, opset=19)
        for op in ("MaxPool", "AveragePool", "LpPool")
        for n, shape in ((1, (N, 2, 6)), (3, (N, 2, 4, 3, 3)))
    ),
    case("MaxPool", (N, 2, 4, 4), kernel_shape=[2, 2], strides=[2, 2], storage_order=1, label="by columns"),
]


def names(rows: list[Case]) -> list[str]:
    return [row.name for row in rows]


@pytest.mark.parametrize("row", POOLS, ids=names(POOLS))
def test_gradient_is_the_central_difference(row: Case) -> None:
    gradient = derive(row, np.float64, dynamic=True)
    for batch in (1, 3):
        check_directional(gradient, batch)


IN_ORT = [row for row in POOLS if row.ort]


@pytest.mark.parametrize("row", IN_ORT, ids=names(IN_ORT))
def test_float32_in_onnx_runtime(row: Case) -> None:
    check_in_ort(row, dynamic=True, batch=3)


HALVES = [
    case("MaxPool", (N, 4, 6, 5), kernel_shape=[3, 2]),
    case("AveragePool", (N, 4, 6, 5), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
]


@pytest.mark.parametrize("row", HALVES, ids=names(HALVES))
def test_float16_in_onnx_runtime(row: Case) -> None:
    check_in_ort(row, dynamic=True, batch=3, dtype=np.float16, relative=1e-2)
