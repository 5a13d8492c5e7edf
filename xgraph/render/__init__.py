"""Pictures, HTML and terminal text of attributions: the only room that imports matplotlib, and draws with Pillow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from xgraph.errors import InputError
from xgraph.files import atomic_write
from xgraph.render.gallery import gallery
from xgraph.render.page import html
from xgraph.render.panel import sheet
from xgraph.render.picture import caption, entry, features_of, image_panel, panel, tokens_of
from xgraph.render.presets import PRESETS, Preset, preset, title
from xgraph.render.terminal import bars_ansi, tokens_ansi
from xgraph.result import Attribution

__all__ = [
    "PRESETS",
    "Preset",
    "bars_ansi",
    "draw",
    "gallery",
    "html",
    "preset",
    "save_png",
    "terminal",
    "title",
    "tokens_ansi",
]

Array = NDArray[Any]


def draw(
    attribution: Attribution,
    row: int = 0,
    image: Array | None = None,
    name: str | None = None,
    *,
    style: Preset | str | None = None,
    beside: bool | None = None,
) -> Image.Image:
    """Returns one row of an attribution as a figure with heading, target and colour bar.

    Args:
        attribution: what to draw; its values stay as they are.
        row: which row.
        image: uint8 (h, w, 3), the picture that the model saw (``Preprocess.view``). Without one the map
            stands alone.
        name: which entry of ``values``; by default the first.
        style: a preset or its name; by default the one of the attribution's kind.
        beside: show the bare picture on the left; by default only where the style does not draw over it.

    Raises:
        InputError: no such row, name or style, or an image of another shape or dtype.
    """
    chosen = preset(style) if isinstance(style, str) else style or PRESETS[attribution.kind]
    drawn = panel(attribution, row, image, name, chosen).under(*caption(attribution, row))
    if beside is None:
        beside = chosen.blend == "none"
    if image is None or not beside:
        return sheet([drawn])
    return sheet([image_panel(image), drawn])


def terminal(attribution: Attribution, row: int = 0, name: str | None = None) -> str:
    """Returns one row as text for a terminal: coloured tokens or bars. Empty for a map, which has no words.

    Raises:
        InputError: no such row or name.
    """
    values = entry(attribution, row, name)
    if (words := tokens_of(attribution, row, values)) is not None:
        return tokens_ansi(*words)
    features = features_of(attribution, values)
    return bars_ansi(*features) if features is not None else ""


def save_png(image: Image.Image, path: str | os.PathLike[str]) -> Path:
    """Writes a picture as PNG, whole or not at all, and returns the path.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        with atomic_write(path) as file:
            image.save(file, format="PNG", optimize=True)
    except OSError as error:
        raise InputError(f"{path}: cannot write it ({error.strerror or error})") from error
    return Path(path)
