"""Words on coloured ground: red speaks for the target, blue against it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from xgraph.errors import InputError
from xgraph.render.palette import Palette, palette
from xgraph.render.scale import Range, find_range
from xgraph.render.text import PAPER, font

Array = NDArray[Any]

_PALETTE = "bwr"  # its ends are pure red and blue, on which black or white letters stay readable
_SIZE, _PAD, _LINE_GAP, _WIDTH = 17, 4, 8, 640


def _colours(tokens: Sequence[str], values: Array) -> tuple[Array, Palette, Range]:
    if values.shape != (len(tokens),):
        raise InputError(
            f"{len(tokens)} tokens but values of shape {values.shape}; give one number per token"
        )
    colours, shown = palette(_PALETTE), find_range(values, "signed", percentile=100.0)
    return colours(shown.unit(values)), colours, shown


def _ink(ground: Array) -> str:
    """Black or white, whichever is readable on a colour."""
    return "#000000" if float(ground @ np.array([0.299, 0.587, 0.114])) > 110.0 else "#ffffff"


def token_html(tokens: Sequence[str], values: Array) -> str:
    """Returns an HTML fragment of coloured tokens; hovering shows the number.

    Args:
        tokens: T texts, escaped here.
        values: float (T,), raw.

    Raises:
        InputError: as many values as tokens are needed.
    """
    grounds, _, _ = _colours(tokens, values)
    spans = [
        f'<span title="{value:.4g}" style="background:rgb({r},{g},{b});color:{_ink(np.array([r, g, b]))};'
        f'padding:1px 3px;border-radius:3px">{escape(token)}</span>'
        for token, value, (r, g, b) in zip(tokens, values.tolist(), grounds.tolist(), strict=True)
    ]
    return f'<div style="line-height:1.9;font-family:sans-serif">{" ".join(spans)}</div>'


def token_picture(tokens: Sequence[str], values: Array) -> tuple[Image.Image, tuple[Palette, Range]]:
    """Returns the tokens as a picture, wrapped into lines, and what its colours mean.

    Raises:
        InputError: as many values as tokens are needed.
    """
    grounds, colours, shown = _colours(tokens, values)
    face = font(_SIZE, "".join(tokens))
    height = _SIZE + 2 * _PAD
    places: list[tuple[int, int, int]] = []
    left = top = 0
    for token in tokens:
        width = int(np.ceil(face.getlength(token))) + 2 * _PAD
        if left and left + width > _WIDTH:
            left, top = 0, top + height + _LINE_GAP
        places.append((left, top, width))
        left += width + 3
    right = max((x + width for x, _, width in places), default=1)
    picture = Image.new("RGB", (max(right, 240), max(top + height, 60)), PAPER)
    pen = ImageDraw.Draw(picture)
    for token, ground, (x, y, width) in zip(tokens, grounds, places, strict=True):
        pen.rounded_rectangle((x, y, x + width - 1, y + height - 1), 4, fill=tuple(ground.tolist()))
        pen.text((x + _PAD, y + height / 2), token, fill=_ink(ground), font=face, anchor="lm")
    return picture, (colours, shown)
