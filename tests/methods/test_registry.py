"""Parameters are checked before a method is made."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from xgraph.errors import MethodError
from xgraph.methods.registry import create


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("integrated_gradients", {"steps": np.int64(4), "tolerance": np.float32(0.5)}),
        ("integrated_gradients", {"baseline": np.float64(0.5)}),
        ("smooth_grad", {"noise": np.int32(1), "samples": np.uint8(3), "relative": np.bool_(False)}),
        ("smooth_grad", {"base": np.str_("gradient")}),
    ],
)
def test_numpy_scalars_become_plain_ones(name: str, given: dict[str, Any]) -> None:
    made = asdict(create(name, given))  # type: ignore[call-overload]
    for key, value in given.items():
        assert made[key] == value
        json.dumps(made[key])


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("smooth_grad", {"noise": float("nan")}, "noise=nan is not a number; give float"),
        ("gradient_shap", {"noise": np.float32("nan")}, "is not a number; give float"),
        ("integrated_gradients", {"baseline": np.nan}, "baseline=nan is not a number"),
        ("integrated_gradients", {"tolerance": np.nan}, "tolerance=nan is not a number; give float or None"),
        ("smooth_grad", {"noise": True}, "noise=True should be float"),
        ("smooth_grad", {"noise": np.bool_(True)}, "should be float"),
        ("smooth_grad", {"samples": np.float64(3)}, "should be int"),
        ("smooth_grad", {"samples": False}, "samples=False should be int"),
        ("smooth_grad", {"moment": ["mean"]}, "should be one of"),
        ("smooth_grad", {"moment": np.array(["mean", "square"])}, "should be one of"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(name: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(MethodError, match=message) as error:
        create(name, given)
    assert "\n" not in str(error.value)
