"""The gradients of Resize and Pad where sizes, scales, regions, axes and amounts are known at run time only."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from rules.harness import Case, Draw, Fed, N, case, check_directional, check_in_ort, derive

SMALL = (N, 1, 4, 3)
OPEN = (N, 1, "height", "width")


def told(*values: int) -> Fed:
    """Integers that arrive at run time."""
    return Fed(lambda _: np.asarray(values, np.int64), (len(values),))


def scaled(*values: float) -> Fed:
    """Scales or a region that arrive at run time, in float32 as the standard asks for."""
    return Fed(lambda _: np.asarray(values, np.float32), (len(values),))


def resized(
    x: tuple[int | str, ...], scales: Any, sizes: Any, label: str, *, roi: Any = None, **attributes: Any
) -> Case:
    """Resizes the axes 2 and 3."""
    attributes.setdefault("ranks", (len(x),))
    return case("Resize", x, roi, scales, sizes, label=label, axes=[2, 3], **attributes)


FRACTIONS, THIRDS = (np.asarray(scales, np.float32) for scales in ([2.3, 1.7], [0.6, 0.5]))
WHOLE = np.asarray([2.0, 3.0], np.float32)
REGION = (0.2, -0.3, 0.9, 1.2)
CROP = {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 3.0}
RESIZE = [
    *(
        resized(OPEN, FRACTIONS, None, f"{mode}, {where}", mode=mode, coordinate_transformation_mode=where)
        for mode in ("nearest", "linear", "cubic")
        for where in ("half_pixel", "pytorch_half_pixel", "asymmetric")
    ),
    *(
        # The reference evaluator aligns with a size that is not rounded, which only differs for fractions.
        resized(OPEN, WHOLE, None, f"{mode}, aligned", mode=mode, coordinate_transformation_mode="align_corners")
        for mode in ("nearest", "linear", "cubic")
    ),
    *(
        resized(OPEN, FRACTIONS, None, rounding, nearest_mode=rounding)
        for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    ),
    resized(OPEN, FRACTIONS, None, "symmetric", coordinate_transformation_mode="half_pixel_symmetric", opset=19),
    resized(SMALL, scaled(2.3, 1.4), None, "scales told", mode="linear"),
    resized(SMALL, None, told(5, 7), "sizes told", mode="cubic"),
    resized(SMALL, None, told(6, 7), "not larger", mode="linear", keep_aspect_ratio_policy="not_larger"),
    resized(SMALL, None, told(6, 7), "not smaller", mode="linear", keep_aspect_ratio_policy="not_smaller"),
    resized(OPEN, None, [6, 7], "open sizes in ratio", mode="linear", keep_aspect_ratio_policy="not_larger"),
    resized(OPEN, None, told(5, 1), "region told", roi=scaled(*REGION), **CROP),
    resized(OPEN, None, told(5, 6), "region fixed", roi=np.asarray(REGION, np.float32), **CROP),
    resized(OPEN, FRACTIONS, None, "outside excluded", mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5),
    *(
        resized((N, 1, 5, 4), THIRDS, None, f"antialiased {mode}", mode=mode, antialias=1, exclude_outside=e, ranks=())
        for mode, e in (("linear", 0), ("cubic", 1))
    ),
    *(
        resized(
            (N, 1, "height", 5),
            THIRDS,
            None,
            f"open, antialiased {mode}, {e}",
            mode=mode,
            antialias=1,
            exclude_outside=e,
        )
        for mode, e in product(("linear", "cubic"), (0, 1))
    ),
]

X = (N, 4, 5)
VALUE = Draw((), -1.0, 1.0)
PAD = [
    *(
        case("Pad", X, pads, None, [1, 2], mode=mode, opset=19, ranks=(3,), label=f"{mode}, {label}")
        for mode in ("constant", "reflect", "edge", "wrap")
        for label, pads in (("fixed", [2, 1, 1, 3]), ("negative", [-1, 2, 1, -2]), ("told", told(1, -1, 2, 3)))
    ),
    *(
        case("Pad", X, told(1, 0, 2, 3), None, told(-1, 1), mode=mode, opset=19, ranks=(3,), label=f"{mode}, axes told")
        for mode in ("constant", "reflect")
    ),
    case("Pad", X, [0, 1, 1, 0, 2, 0], VALUE, label="value"),
    case("Pad", X, [0, 1, 1, 0, 2, 0], Draw((1,), -1.0, 1.0), label="value in a vector"),
    case("Pad", X, told(0, -1, 1, 0, 2, 0), VALUE, label="value with pads told", ranks=(3,)),
    case("Pad", (N, "rows", 5), [1, 2, -1, 1], None, [1, 2], mode="edge", label="open rows"),
]

CASES = [*RESIZE, *PAD]


def names(rows: list[Case]) -> list[str]:
    return [row.name for row in rows]


@pytest.mark.parametrize("row", CASES, ids=names(CASES))
def test_gradient_is_the_central_difference(row: Case) -> None:
    gradient = derive(row, np.float64, dynamic=True)
    for batch in (1, 3):
        check_directional(gradient, batch)


IN_ORT = [row for row in CASES if row.ort]


@pytest.mark.parametrize("row", IN_ORT, ids=names(IN_ORT))
def test_float32_in_onnx_runtime(row: Case) -> None:
    check_in_ort(row, dynamic=True, batch=3)
