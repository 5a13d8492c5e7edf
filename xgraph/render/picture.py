"""One row of an attribution as a panel: which drawing fits is read off the shape of its array.

A map (h, w) or (C, h, w) is heat, over the picture where there is one; a vector (F,) is bars; values per token are
coloured words. More axes in front are channels too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xgraph.errors import InputError, nearest
from xgraph.render.overlay import LARGEST, OF_MANY, fit, heat, overlay, panel_size
from xgraph.render.palette import palette
from xgraph.render.panel import Panel
from xgraph.render.presets import PRESETS, Preset, title
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


def tokens_of(attribution: Attribution, row: int, values: Array) -> tuple[list[str], Array] | None:
    """Returns the row's tokens and a number for each, where ``details`` has tokens and ``values`` is about them.

    Without ``tokens``, their numbers in ``token_ids`` are their texts. Of embeddings (T, d), attributions are summed,
    which keeps their total; of a sensitivity, whose signs do not add up to anything, it is the Euclidean norm.
    """
    listed = attribution.details.get("tokens", attribution.details.get("token_ids"))
    if not isinstance(listed, tuple | np.ndarray) or values.ndim not in (1, 2) or np.ndim(listed[row]) != 1:
        return None
    tokens = [str(token) for token in listed[row]]
    if len(tokens) != values.shape[0]:
        return None
    if values.ndim == 1:
        return tokens, values
    if attribution.kind == "sensitivity":
        return tokens, np.asarray(np.linalg.norm(values, axis=1))
    return tokens, np.asarray(values.sum(axis=1, dtype=np.float32))


def features_of(attribution: Attribution, values: Array) -> tuple[list[str], Array] | None:
    """Returns the names of features and a number for each, where ``values`` is a vector (or one number)."""
    if values.ndim > 1:
        return None
    values = np.atleast_1d(values)
    shared = attribution.details.get("shared")
    listed = shared.get("features") if isinstance(shared, Mapping) else None
    if listed is not None and len(listed) == len(values):
        return [str(name) for name in listed], values
    return [f"#{i}" for i in range(len(values))], values


def headline(attribution: Attribution) -> str:
    """Returns the method's name for readers, with that of the method it wraps: ``SmoothGrad of Grad-CAM``."""
    base = attribution.parameters.get("base")
    # The plain gradient is what is wrapped unless something else is said.
    wrapped = f" of {title(base)}" if isinstance(base, str) and base != "gradient" else ""
    return title(attribution.method) + wrapped


def caption(attribution: Attribution, row: int) -> tuple[str, str]:
    """Returns what was explained, in two parts: ``tabby``, `` (logit 12.3, probability 0.97)``."""
    target = attribution.target
    facts = [f"{target.of} {number(float(attribution.scores[row]), 4)}"]
    known = attribution.details.get("probability")
    if isinstance(known, np.ndarray) and known.ndim == 1 and target.of != "probability":
        facts.append(f"probability {number(float(known[row]))}")
    return target.labels[row], f" ({', '.join(facts)})"


def image_panel(image: Array, heading: str = "Input", largest: int = LARGEST) -> Panel:
    """Returns the bare picture as a panel."""
    picture = check_image(image)
    size = panel_size(picture.shape[0], picture.shape[1], largest)
    return Panel(Image.fromarray(fit(picture, size)), heading, scale=_scale(size))


def check_image(image: Array) -> Array:
    """Returns uint8 (h, w, 3), or raises InputError; greyscale (h, w) is accepted."""
    picture = np.asarray(image)
    if picture.dtype == np.uint8 and picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise InputError(f"image must be uint8 (h, w, 3), not {picture.dtype} {picture.shape}")
    return picture


def panel(
    attribution: Attribution,
    row: int,
    image: Array | None,
    name: str | None,
    style: Preset | None = None,
    largest: int = LARGEST,
) -> Panel:
    """Returns the drawing of one row, headed by the method's title.

    Raises:
        InputError: no such row or name, or an image of another shape or dtype.
    """
    values = entry(attribution, row, name)
    heading = headline(attribution)
    if (words := tokens_of(attribution, row, values)) is not None:
        drawn, meaning = token_picture(*words)
        return Panel(drawn, heading, bar=meaning)
    if (features := features_of(attribution, values)) is not None:
        return Panel(bar_picture(features[1], features[0]), heading)
    style = style or PRESETS[attribution.kind]
    picture = None if image is None else check_image(image)
    if picture is not None and attribution.kind != "cam":
        values = patches(values, picture.shape[0], picture.shape[1])
    flat = to_map(values, style)
    shown, colours = find_range(flat, style.scaling, style.percentile), palette(style.palette)
    if picture is None:
        size = panel_size(flat.shape[0], flat.shape[1], largest)
        pixels = heat(fit(flat, size), shown, colours)
    else:
        size = panel_size(picture.shape[0], picture.shape[1], largest)
        # A coarse map has no pixels of the picture that could be told apart, so it becomes a smooth one.
        large = fit(flat, size, smooth=flat.shape != picture.shape[:2])
        pixels = overlay(fit(picture, size), large, shown, style)
    return Panel(Image.fromarray(pixels), heading, bar=(colours, shown), scale=_scale(size))


def to_map(values: Array, style: Preset) -> Array:
    """Returns float32 (h, w) for (h, w), (C, h, w), (h, w, C), or more axes in front."""
    if values.ndim == 2:
        return np.abs(values) if style.scaling == "positive" else values
    # Channels come first unless the last axis is grey, RGB or RGBA, and no other can be.
    if values.ndim == 3 and values.shape[2] in (1, 3, 4) and min(values.shape[:2]) > 4:
        values = values.transpose(2, 0, 1)
    return reduce_channels(values, style.reduction)


def patches(values: Array, height: int, width: int) -> Array:
    """Returns (d, gh, gw) for (T, d), values at the patches of a vision transformer; else the values as they are.

    Patches are T or, after a class token, T - 1, and their grid has the ratio of the picture.
    """
    if values.ndim != 2 or values.shape == (height, width):
        return values
    for count in (len(values), len(values) - 1):
        rows = round((count * height / width) ** 0.5)
        columns = count // max(rows, 1)
        if rows > 1 and rows * columns == count and abs(columns * height - rows * width) < 0.1 * rows * width:
            return np.asarray(values[len(values) - count :].T.reshape(-1, rows, columns))
    return values


def _scale(size: tuple[int, int]) -> float:
    return max(max(size) / OF_MANY, 1.0)
