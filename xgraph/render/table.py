"""Bars for values without a picture: the features that count most, positive to the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from xgraph.render.text import GREY, INK, PAPER, RULE, font, number, shorten

Array = NDArray[Any]

_FOR, _AGAINST = "#c8322d", "#2f62b5"
_ROW, _THICK, _SIZE = 24, 14, 13
_NAMES, _BARS, _NUMBERS = 180, 320, 70


def bar_picture(values: Array, names: Sequence[str], most: int = 20) -> Image.Image:
    """Returns a bar chart of the ``most`` values of largest magnitude, ties in their given order.

    Args:
        values: float (F,), raw.
        names: F texts.
        most: how many bars; the rest is summed up in a last line.
    """
    order = np.argsort(-np.abs(values), kind="stable")
    shown, rest = order[:most], order[most:]
    face = font(_SIZE, "".join(names[i] for i in shown))
    named = min(max((face.getlength(names[i]) for i in shown), default=0.0), _NAMES)
    low, high = float(values[shown].min(initial=0.0)), float(values[shown].max(initial=0.0))
    span = (high - low) or 1.0
    start = int(named) + 12
    zero = start + round(-low / span * _BARS)
    rows = len(shown) + bool(len(rest))
    picture = Image.new("RGB", (start + _BARS + _NUMBERS, max(rows, 1) * _ROW), PAPER)
    pen = ImageDraw.Draw(picture)
    for row, i in enumerate(shown):
        value, middle = float(values[i]), row * _ROW + _ROW // 2
        end = zero + round(value / span * _BARS)
        box = (min(zero, end), middle - _THICK // 2, max(zero, end), middle + _THICK // 2)
        pen.rectangle(box, fill=_FOR if value >= 0.0 else _AGAINST)
        name = shorten(names[i], face, _NAMES)
        pen.text((start - 12, middle), name, fill=INK, font=face, anchor="rm")
        pen.text((max(zero, end) + 7, middle), number(value), fill=GREY, font=font(_SIZE - 1), anchor="lm")
    pen.line((zero, 0, zero, len(shown) * _ROW), fill=RULE if low == 0.0 else INK)
    if len(rest):
        text = f"{len(rest)} more, together {number(float(values[rest].sum(dtype=np.float64)))}"
        pen.text((start, len(shown) * _ROW + _ROW // 2), text, fill=GREY, font=font(_SIZE - 1), anchor="lm")
    return picture
