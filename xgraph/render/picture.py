"""One row of an attribution as a panel: which drawing fits is read off the shape of its array.

A map (h, w) or (C, h, w) is heat, over the picture where there is one; a vector (F,) is bars; values per
token are coloured words. More axes are summed away from the front until a map is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xgraph.errors import InputError, nearest
from xgraph.render.overlay import fit, heat, overlay, panel_size
from xgraph.render.palette import palette
from xgraph.render.panel import Panel
from xgraph.render.presets import Preset, kind, preset, title
from xgraph.render.scale import find_range, reduce_channels
from xgraph.render.table import bar_picture
from xgraph.render.text import number
from xgraph.render.tokens import token_picture
from xgraph.result import Attribution

Array = NDArray[Any]


def entry(attribution: Attribution, row: int, name: str | None) -> Array:
    """Returns one row of one entry of ``values``, the first where ``name`` is None.

    Raises:
        InputError: no such row or name.
    """
    if not -len(attribution) <= row < len(attribution):
        raise InputError(f"row {row} does not exist; the attribution has {len(attribution)} rows")
    if name is None:
        name = next(iter(attribution.values))
    if name not in attribution.values:
        known = list(attribution.values)
        raise InputError(f"no values of '{name}'; there are {', '.join(known)}{nearest(name, known)}")
    return np.asarray(attribution.values[name][row])


def tokens_of(attribution: Attribution, row: int, values: Array) -> Sequence[str] | None:
    """Returns the row's tokens where ``details`` has them and they are what ``values`` is about."""
    listed = attribution.details.get("tokens")
    if listed is None or not isinstance(listed[row], Sequence | np.ndarray):
        return None
    tokens = [str(token) for token in listed[row]]
    return tokens if values.ndim in (1, 2) and len(tokens) == values.shape[0] else None


def token_values(values: Array) -> Array:
    """Returns (T,) for (T,) or (T, d): embeddings are summed, which keeps their total."""
    return values if values.ndim == 1 else np.asarray(values.sum(axis=1, dtype=np.float32))


def caption(attribution: Attribution, row: int) -> tuple[str, str]:
    """Returns what was explained, in two parts: ``tabby``, `` (logit 12.3)``."""
    target = attribution.target
    return target.labels[row], f" ({target.of} {number(float(attribution.scores[row]), 4)})"


def image_panel(image: Array, size: tuple[int, int] | None = None, heading: str = "Input") -> Panel:
    """Returns the bare picture as a panel."""
    picture = check_image(image)
    return Panel(Image.fromarray(fit(picture, size or panel_size(*picture.shape[:2]))), heading)


def check_image(image: Array) -> Array:
    """Returns uint8 (h, w, 3), or raises InputError; greyscale (h, w) is accepted."""
    picture = np.asarray(image)
    if picture.dtype == np.uint8 and picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise InputError(f"image must be uint8 (h, w, 3), not {picture.dtype} {picture.shape}")
    return picture


def panel(
    attribution: Attribution, row: int, image: Array | None, name: str | None, style: Preset | None = None
) -> Panel:
    """Returns the drawing of one row, headed by the method's title.

    Raises:
        InputError: no such row or name, or an image of another shape or dtype.
    """
    values = entry(attribution, row, name)
    heading = title(attribution.method)
    tokens = tokens_of(attribution, row, values)
    if tokens is not None:
        words, meaning = token_picture(tokens, token_values(values))
        return Panel(words, heading, bar=meaning)
    if values.ndim < 2:
        values = np.atleast_1d(values)
        return Panel(bar_picture(values, _feature_names(attribution, len(values))), heading)
    style = style or preset(kind(attribution.method))
    flat = to_map(values, style)
    shown = find_range(flat, style.scaling, style.percentile)
    colours = palette(style.palette)
    if image is None or style.blend == "none":
        size = panel_size(*(flat.shape if image is None else check_image(image).shape[:2]))
        return Panel(Image.fromarray(heat(fit(flat, size), shown, colours)), heading, bar=(colours, shown))
    picture = check_image(image)
    size = panel_size(*picture.shape[:2])
    large = fit(flat, size, smooth=flat.shape != picture.shape[:2])
    mixed = overlay(fit(picture, size), large, shown, style)
    return Panel(Image.fromarray(mixed), heading, bar=(colours, shown))


def to_map(values: Array, style: Preset) -> Array:
    """Returns float32 (h, w) for (h, w), (C, h, w), (h, w, C), or more axes in front."""
    while values.ndim > 3:
        values = values.sum(axis=0, dtype=np.float32)
    if values.ndim == 2:
        return np.abs(values) if style.scaling == "positive" else values
    # Channels come first unless only the last axis can be channels.
    if values.shape[2] <= 4 < values.shape[0]:
        values = values.transpose(2, 0, 1)
    return reduce_channels(values, style.reduction)


def _feature_names(attribution: Attribution, count: int) -> list[str]:
    shared = attribution.details.get("shared")
    listed = shared.get("features") if isinstance(shared, Mapping) else None
    if listed is not None and len(listed) == count:
        return [str(name) for name in listed]
    return [f"#{i}" for i in range(count)]
