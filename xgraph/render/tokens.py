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
from xgraph.render.text import PAPER, font, number, right_to_left, visible

Array = NDArray[Any]

_PALETTE = "bwr"  # its ends are pure red and blue, on which black or white letters stay readable
_SIZE, _PAD, _SPACE, _LINE_GAP, _WIDTH = 17, 4, 3, 8, 640


def token_colours(tokens: Sequence[str], values: Array) -> tuple[Array, Palette, Range]:
    """Returns uint8 (T, 3), the ground of each token, and what these colours mean.

    Raises:
        InputError: as many values as tokens are needed.
    """
    if np.shape(values) != (len(tokens),):
        raise InputError(f"{len(tokens)} tokens but values of shape {np.shape(values)}; give one number per token")
    colours, shown = palette(_PALETTE), find_range(values, "signed", percentile=100.0)
    return colours(shown.unit(values)), colours, shown


def light(ground: Array) -> bool:
    """Whether black letters contrast more with a colour than white ones (WCAG 2 relative luminance)."""
    share = ground / 255.0
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722])) > 0.179


def token_html(tokens: Sequence[str], values: Array) -> str:
    """Returns an HTML fragment of coloured tokens and what the colours mean; hovering shows the number.

    Args:
        tokens: T texts, escaped here.
        values: float (T,), raw.

    Raises:
        InputError: as many values as tokens are needed.
    """
    values = np.asarray(values)
    grounds, colours, shown = token_colours(tokens, values)
    # Only the outer block has dir: a token with its own would not be asked for the direction of the whole.
    spans = [
        f'<span title="{value:.4g}" style="background:rgb({r},{g},{b});color:{_ink(np.array([r, g, b]))};'
        "display:inline-block;max-width:100%;padding:0 4px;border-radius:3px;white-space:pre-wrap;"
        f'overflow-wrap:anywhere;unicode-bidi:plaintext">{escape(visible(token))}</span>'
        for token, value, (r, g, b) in zip(tokens, values.tolist(), grounds.tolist(), strict=True)
    ]
    ends = ",".join(f"rgb({r},{g},{b})" for r, g, b in colours(np.array([0.0, 0.5, 1.0])).tolist())
    legend = (
        '<div style="font-size:80%;margin-top:4px">'
        f'{number(shown.low)} <span style="display:inline-block;width:96px;height:9px;border:1px solid #d0d0d0;'
        f'background:linear-gradient(to right,{ends})"></span> {number(shown.high)}</div>'
    )
    words = f'<div dir="auto" style="line-height:1.9;font-family:sans-serif">{" ".join(spans)}</div>'
    return f"<div>{words}{legend}</div>"


def token_picture(tokens: Sequence[str], values: Array) -> tuple[Image.Image, tuple[Palette, Range]]:
    """Returns the tokens as a picture, wrapped into lines, and what its colours mean.

    Raises:
        InputError: as many values as tokens are needed.
    """
    grounds, colours, shown = token_colours(tokens, values)
    backwards = right_to_left("".join(tokens))
    tokens = [visible(token) for token in tokens]
    height = _SIZE + 2 * _PAD
    places: list[tuple[int, int, int]] = []
    left = top = 0
    for token in tokens:
        width = int(np.ceil(font(_SIZE, token).getlength(token))) + 2 * _PAD
        if left and left + width > _WIDTH:
            left, top = 0, top + height + _LINE_GAP
        places.append((left, top, width))
        left += width + _SPACE
    right = max(max((x + width for x, _, width in places), default=1), 240)
    picture = Image.new("RGB", (right, max(top + height, 60)), PAPER)
    pen = ImageDraw.Draw(picture)
    for token, ground, (start, y, width) in zip(tokens, grounds, places, strict=True):
        x = right - start - width if backwards else start
        pen.rounded_rectangle((x, y, x + width - 1, y + height - 1), 4, fill=tuple(ground.tolist()))
        face = font(_SIZE, token)
        pen.text((x + _PAD, y + height / 2), token, fill=_ink(ground), font=face, anchor="lm")
    return picture, (colours, shown)


def _ink(ground: Array) -> str:
    return "#000000" if light(ground) else "#ffffff"
