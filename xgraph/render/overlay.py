"""Heat over a picture: maps are enlarged as numbers, then coloured, then blended."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xgraph.render.palette import Palette, palette
from xgraph.render.presets import Preset
from xgraph.render.scale import Range
from xgraph.resample import resize

Array = NDArray[Any]

SMALLEST, LARGEST, OF_MANY = 320, 768, 400
"""Pixels of a panel's long side: smaller pictures are enlarged, larger ones reduced; one of many is kept smaller."""
_THINNEST = 24
"""Pixels of a panel's short side, whatever the ratio: a line of one pixel cannot be seen."""


def panel_size(height: int, width: int, largest: int = LARGEST) -> tuple[int, int]:
    """Returns the size (h, w) at which a picture or map of ``height`` x ``width`` is shown, its ratio kept.

    Enlarging by two or more uses a whole factor, so that every pixel becomes a square of the same size.
    """
    long = max(height, width)
    if long > largest:
        factor = largest / long
    elif long >= SMALLEST:
        factor = 1.0
    else:
        factor = SMALLEST / long
        factor = float(round(factor)) if factor >= 2.0 else factor
    return max(round(height * factor), _THINNEST), max(round(width * factor), _THINNEST)


def fit(values: Array, size: tuple[int, int], *, smooth: bool = False) -> Array:
    """Returns a picture (h, w, 3) or map (h, w) at ``size``.

    Args:
        values: uint8 (stays uint8) or float.
        size: (h, w).
        smooth: interpolate whatever the factor is. Otherwise pixels stay squares when enlarged by two or
            more.
    """
    if size[0] <= values.shape[0] and size[1] <= values.shape[1]:
        return resize(values, size, "area")
    enlarged = min(size[0] / values.shape[0], size[1] / values.shape[1])
    return resize(values, size, "nearest" if enlarged >= 2.0 and not smooth else "bilinear")


def heat(values: Array, shown: Range, colours: Palette) -> Array:
    """Returns uint8 (h, w, 3), the coloured map (h, w)."""
    return colours(shown.unit(values))


def overlay(image: Array, values: Array, shown: Range, preset: Preset) -> Array:
    """Returns uint8 (h, w, 3): a map over a picture of the same size.

    Opacity rises with the square root of the amount (``unit``, or its distance from zero for a signed range).
    ``fade`` turns the picture into light grey and ``grey`` into grey, so that all colours left are the palette's.
    ``tint`` keeps its own colours. ``grey`` and ``tint`` have a trace of the palette even where the amount is zero.

    Args:
        image: uint8 (h, w, 3).
        values: float (h, w), raw.
        shown: range of the colours.
        preset: palette, blend and opacity.
    """
    unit = shown.unit(values)
    colours = palette(preset.palette)(unit).astype(np.float32)
    base = image.astype(np.float32)
    if preset.blend == "none":
        return colours.astype(np.uint8)
    amount = np.abs(2.0 * unit - 1.0) if preset.scaling == "signed" else unit
    opacity = np.sqrt(amount)[..., None]
    if preset.blend != "tint":
        base = base.mean(axis=2, keepdims=True)
    if preset.blend == "fade":
        base = 255.0 - (255.0 - base) * 0.5
    else:
        opacity = 0.25 + 0.75 * opacity
    opacity = opacity * preset.opacity
    mixed = base * (1.0 - opacity) + colours * opacity
    return np.asarray(np.rint(np.clip(mixed, 0.0, 255.0)), dtype=np.uint8)
