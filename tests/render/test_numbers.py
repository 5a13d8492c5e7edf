"""Palettes, ranges and channel reductions."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from xgraph.errors import InputError
from xgraph.render.palette import palette
from xgraph.render.presets import PRESETS, preset, title
from xgraph.render.scale import Range, find_range, reduce_channels
from xgraph.result import Kind


def test_the_centre_of_a_diverging_palette_is_exactly_zero() -> None:
    colours = palette("seismic")
    for high in (1e-30, 0.3, 7.0, 1e30):
        shown = Range(-high, high)
        unit = shown.unit(np.array([-high, 0.0, high], np.float32))
        assert unit[1] == 0.5
        assert colours(unit)[1].tolist() == [255, 255, 255]
    assert colours(np.array([0.5 + 1 / 256]))[0].tolist() != [255, 255, 255]
    assert colours(np.array([0.75]))[0].tolist() == [255, 0, 0]
    assert colours(np.array([0.25]))[0].tolist() == [0, 0, 255]


def test_palettes_clip_and_keep_the_shape() -> None:
    colours = palette("gray")
    out = colours(np.array([[-1.0, 0.0], [1.0, 2.0]]))
    assert out.dtype == np.uint8
    assert out.tolist() == [[[0, 0, 0]] * 2, [[255, 255, 255]] * 2]


def test_an_unknown_palette_is_named() -> None:
    with pytest.raises(InputError, match="'infreno' does not exist; did you mean 'inferno'"):
        palette("infreno")


@pytest.mark.parametrize(
    ("how", "want"),
    [("sum", [[0.0, -3.0]]), ("max_abs", [[2.0, 4.0]]), ("norm", [[np.sqrt(6.0), np.sqrt(17.0)]])],
)
def test_channels_are_reduced(how: Any, want: list[list[float]]) -> None:
    values = np.array([[[1.0, -4.0]], [[1.0, 0.0]], [[-2.0, 1.0]]], np.float32)
    before = values.copy()
    np.testing.assert_allclose(reduce_channels(values, how), want, rtol=1e-6)
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize(
    ("scaling", "values", "want"),
    [
        ("signed", [-3.0, 1.0], (-3.0, 3.0)),
        ("signed", [0.0, 0.0], (-1.0, 1.0)),
        ("signed", [], (-1.0, 1.0)),
        ("positive", [-3.0, 1.0], (0.0, 1.0)),
        ("positive", [-3.0, -1.0], (0.0, 1.0)),
        ("spread", [2.0, 5.0], (2.0, 5.0)),
        ("spread", [2.0, 2.0], (2.0, 3.0)),
        ("spread", [], (0.0, 1.0)),
    ],
)
def test_ranges(scaling: Any, values: list[float], want: tuple[float, float]) -> None:
    shown = find_range(np.array(values), scaling, percentile=100.0)
    assert (shown.low, shown.high) == want


def test_outliers_do_not_eat_the_contrast_and_sparse_maps_keep_theirs() -> None:
    values = np.ones(1000)
    values[0] = 1e6
    assert find_range(values, "signed", 99.5).high == 1.0
    assert find_range(values, "positive", 99.5).high == 1.0
    sparse = np.zeros(1000)
    sparse[0] = -4.0
    assert find_range(sparse, "signed", 99.5).high == 4.0
    assert find_range(sparse, "spread", 99.5).low == -4.0


def test_units_are_clipped_and_raw_values_untouched() -> None:
    values = np.array([-2.0, 0.0, 1.0, 9.0], np.float32)
    before = values.copy()
    assert Range(0.0, 2.0).unit(values).tolist() == [0.0, 0.0, 0.5, 1.0]
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize(
    ("method", "want"),
    [
        ("cam", "CAM"),
        ("grad_cam", "Grad-CAM"),
        ("grad_cam_plus_plus", "Grad-CAM++"),
        ("gradient_shap", "Gradient SHAP"),
        ("input_x_gradient", "Input × Gradient"),
        ("integrated_gradients", "Integrated Gradients"),
        ("layer_cam", "LayerCAM"),
        ("kernel_shap", "Kernel SHAP"),
        ("smooth_grad", "SmoothGrad"),
        ("new_method", "New Method"),
    ],
)
def test_methods_have_a_title(method: str, want: str) -> None:
    assert title(method) == want


def test_there_is_a_preset_for_every_kind() -> None:
    assert set(PRESETS) == set(get_args(Kind))
    assert preset("cam") is PRESETS["cam"]
    with pytest.raises(InputError, match="preset 'camm' is not one of"):
        preset("camm")
