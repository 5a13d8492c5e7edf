"""Pictures and HTML of attributions: the only room that imports matplotlib, and draws with Pillow."""

from __future__ import annotations

import os
from base64 import b64encode
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from xgraph.errors import InputError
from xgraph.files import atomic_write
from xgraph.render.gallery import gallery
from xgraph.render.panel import sheet
from xgraph.render.picture import caption, entry, image_panel, panel, token_values, tokens_of
from xgraph.render.presets import PRESETS, Preset, kind, preset, title
from xgraph.render.text import number
from xgraph.render.tokens import token_html
from xgraph.result import Attribution

__all__ = ["PRESETS", "Preset", "draw", "gallery", "html", "kind", "preset", "save_png", "title"]

Array = NDArray[Any]

_HTML_ROWS = 8


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
        style: a preset or its name; by default the one of the method's kind.
        beside: show the bare picture on the left; by default only where the style does not draw over it.

    Raises:
        InputError: no such row, name or style, or an image of another shape or dtype.
    """
    chosen = preset(style) if isinstance(style, str) else style or preset(kind(attribution.method))
    drawn = panel(attribution, row, image, name, chosen).under(*caption(attribution, row))
    if beside is None:
        beside = chosen.blend == "none"
    if image is None or not beside:
        return sheet([drawn])
    return sheet([image_panel(image), drawn])


def html(attribution: Attribution) -> str:
    """Returns an HTML fragment: picture or coloured tokens, and checks, of the first eight rows."""
    blocks = []
    for row in range(min(len(attribution), _HTML_ROWS)):
        values = entry(attribution, row, None)
        tokens = tokens_of(attribution, row, values)
        if tokens is not None:
            body = token_html(tokens, token_values(values))
        else:
            picture = _png_text(panel(attribution, row, None, None).picture)
            body = f'<img alt="" src="data:image/png;base64,{picture}">'
        checks = [
            f"{name.replace('_', ' ')} {number(float(v[row]))}" for name, v in attribution.checks.items()
        ]
        line = " · ".join(["".join(caption(attribution, row)), *checks])
        blocks.append(f'<div style="margin:0 16px 12px 0"><div>{escape(line)}</div>{body}</div>')
    more = len(attribution) - len(blocks)
    tail = f"<div>{more} more rows</div>" if more > 0 else ""
    return (
        f"<div><strong>{escape(title(attribution.method))}</strong>"
        f'<div style="display:flex;flex-wrap:wrap">{"".join(blocks)}</div>{tail}</div>'
    )


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


def _png_text(image: Image.Image) -> str:
    buffer = BytesIO()
    image.save(buffer, format="PNG")
    return b64encode(buffer.getvalue()).decode("ascii")
