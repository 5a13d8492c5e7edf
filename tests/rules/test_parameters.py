"""The gradients of layers with respect to their weights, where those are computed from what is explained."""

from __future__ import annotations

import numpy as np
import pytest
from rules.harness import Case, Draw, N, case, check_directional, check_in_ort, derive

IMAGE = (N, 4, 6, 5)
POSITIVE = Draw((4,), 0.5, 2.0)


def weights(op: str, x: tuple[int | str, ...], weight: tuple[int, ...], *bias: object, **attributes: object) -> Case:
    return case(op, x, weight, *bias, **attributes)


CONVOLUTION = [
    case("Conv", IMAGE, (3, 4, 3, 3)),
    case("Conv", IMAGE, (3, 4, 3, 3), (3,), pads=[1, 0, 1, 2]),
    case("Conv", IMAGE, (3, 4, 2, 2), strides=[3, 2]),
    case("Conv", IMAGE, (3, 4, 2, 3), strides=[1, 2], dilations=[2, 1], pads=[1, 1, 1, 1]),
    case("Conv", IMAGE, (4, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    case("Conv", IMAGE, (6, 2, 3, 3), group=2, strides=[2, 1]),
    case("Conv", IMAGE, (3, 4, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    case("Conv", IMAGE, (3, 4, 3, 2), auto_pad="SAME_LOWER", strides=[2, 2]),
    case("Conv", (N, 4, "height", "width"), (3, 4, 3, 2), auto_pad="SAME_UPPER", strides=[3, 2]),
    case("Conv", (N, 4, "height", "width"), (6, 2, 3, 2), strides=[2, 1], group=2),
    case("Conv", (N, 2, 7), (3, 2, 3), strides=[2]),
    case("Conv", (N, 2, 4, 5, 4), (3, 2, 2, 3, 2), pads=[0, 1, 0, 1, 1, 0], strides=[1, 2, 2]),
    case("ConvTranspose", IMAGE, (4, 3, 3, 3), (3,), pads=[1, 0, 1, 2]),
    case("ConvTranspose", IMAGE, (4, 3, 3, 3), strides=[3, 2], output_padding=[2, 1]),
    case("ConvTranspose", IMAGE, (4, 3, 2, 3), dilations=[2, 1], strides=[2, 1]),
    case("ConvTranspose", IMAGE, (4, 2, 3, 3), group=2, strides=[2, 2]),
    case("ConvTranspose", IMAGE, (4, 3, 3, 3), strides=[2, 2], output_shape=[12, 10]),
    case("ConvTranspose", IMAGE, (4, 3, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    case("ConvTranspose", (N, 2, 3, 2, 3), (2, 2, 2, 3, 2), strides=[2, 1, 2]),
]

CASES = [*CONVOLUTION]


def names(rows: list[Case]) -> list[str]:
    return [row.name for row in rows]


@pytest.mark.parametrize("row", CASES, ids=names(CASES))
def test_gradient_is_the_central_difference(row: Case) -> None:
    check_directional(derive(row, np.float64, dynamic=False), 2)


DYNAMIC = [row for row in CASES if row.dynamic]


@pytest.mark.parametrize("row", DYNAMIC, ids=names(DYNAMIC))
def test_gradient_with_a_named_batch(row: Case) -> None:
    gradient = derive(row, np.float64, dynamic=True)
    for batch in (1, 3):
        check_directional(gradient, batch)


IN_ORT = [row for row in CASES if row.ort]


@pytest.mark.parametrize("row", IN_ORT, ids=names(IN_ORT))
def test_float32_in_onnx_runtime(row: Case) -> None:
    check_in_ort(row, dynamic=row.dynamic, batch=3 if row.dynamic else 2)
