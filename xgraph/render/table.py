"""Bars for values without a picture: the features that count most, positive to the right."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from xgraph.render.text import AGAINST, FOR, GREY, INK, PAPER, RULE, font, number, shorten, visible

Array = NDArray[Any]

_ROW, _THICK, _SIZE = 24, 14, 13
_NAMES, _BARS, _GAP = 180, 320, 7


def largest(values: Array, most: int) -> tuple[Array, Array]:
    """Returns the places of the ``most`` values of largest magnitude, ties in their given order, and of the rest."""
    order = np.argsort(-np.abs(values), kind="stable")
    return order[:most], order[most:]


def bar_picture(values: Array, names: Sequence[str], most: int = 20) -> Image.Image:
    """Returns a bar chart of the ``most`` values of largest magnitude.

    Args:
        values: float (F,), raw.
        names: F texts.
        most: how many bars; the rest is summed up in a last line.
    """
    shown, rest = largest(values, most)
    labels = [visible(names[i]) for i in shown]
    numbers = [number(float(values[i])) for i in shown]
    faces, small = [font(_SIZE, label) for label in labels], font(_SIZE - 1)
    longest = max((face.getlength(label) for face, label in zip(faces, labels, strict=True)), default=0.0)
    start = int(min(longest, _NAMES)) + 12
    low, high = float(values[shown].min(initial=0.0)), float(values[shown].max(initial=0.0))
    span = (high - low) or 1.0
    zero = start + round(-low / span * _BARS)
    ends = [zero + round(float(values[i]) / span * _BARS) for i in shown]
    more = f"{len(rest)} more, together {number(float(values[rest].sum(dtype=np.float64)))}" if len(rest) else ""
    # Numbers stand right of their bars, so the picture ends where the last of them does.
    written = [max(zero, end) + _GAP + small.getlength(text) for end, text in zip(ends, numbers, strict=True)]
    width = int(np.ceil(max([start + _BARS, start + small.getlength(more), *written]))) + 1
    picture = Image.new("RGB", (width, max(len(shown) + bool(more), 1) * _ROW), PAPER)
    pen = ImageDraw.Draw(picture)
    for row, (i, label, face, text, end) in enumerate(zip(shown, labels, faces, numbers, ends, strict=True)):
        middle = row * _ROW + _ROW // 2
        box = (min(zero, end), middle - _THICK // 2, max(zero, end), middle + _THICK // 2)
        pen.rectangle(box, fill=FOR if values[i] >= 0.0 else AGAINST)
        pen.text((start - 12, middle), shorten(label, face, _NAMES), fill=INK, font=face, anchor="rm")
        pen.text((max(zero, end) + _GAP, middle), text, fill=GREY, font=small, anchor="lm")
    pen.line((zero, 0, zero, len(shown) * _ROW), fill=RULE if low == 0.0 else INK)
    if more:
        pen.text((start, len(shown) * _ROW + _ROW // 2), more, fill=GREY, font=small, anchor="lm")
    return picture


def bar_html(values: Array, names: Sequence[str], most: int = 20) -> str:
    """Returns the bar chart as an HTML table, whose names and numbers can be copied."""
    shown, rest = largest(values, most)
    low, high = float(values[shown].min(initial=0.0)), float(values[shown].max(initial=0.0))
    span = (high - low) or 1.0
    rows = []
    for i in shown:
        value = float(values[i])
        left, width = (min(value, 0.0) - low) / span * 100.0, abs(value) / span * 100.0
        bar = (
            f'<div style="margin-left:{left:.2f}%;width:{width:.2f}%;min-width:1px;height:12px;'
            f'background:{FOR if value >= 0.0 else AGAINST}"></div>'
        )
        rows.append(
            '<tr><td dir="auto" style="text-align:right;padding:1px 8px;max-width:16em;overflow-wrap:anywhere">'
            f'{escape(visible(names[i]))}</td><td style="width:280px;padding:1px 0">{bar}</td>'
            f'<td style="text-align:right;padding:1px 8px">{number(value)}</td></tr>'
        )
    if len(rest):
        total = number(float(values[rest].sum(dtype=np.float64)))
        rows.append(f'<tr><td></td><td colspan="2">{len(rest)} more, together {total}</td></tr>')
    return f'<table style="border-collapse:collapse">{"".join(rows)}</table>'
