"""Tokens and bars for a terminal: ANSI colours where they are welcome, numbers where they are not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xgraph.render.table import largest
from xgraph.render.text import AGAINST, FOR, cells, number, visible
from xgraph.render.tokens import light, token_colours

Array = NDArray[Any]
Colour = Literal["none", "256", "full"]

_CUBE = np.array([0, 95, 135, 175, 215, 255])
"""The levels of red, green and blue among the 256 colours."""
_EIGHTHS = " ▏▎▍▌▋▊▉"
_NAMES, _BARS, _LEAST = 32, 60, 12


def welcome() -> Colour:
    """Returns which colours the environment asks for: none where NO_COLOR is set (no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return "none"
    return "full" if os.environ.get("COLORTERM") in ("truecolor", "24bit") else "256"


def tokens_ansi(tokens: Sequence[str], values: Array, *, width: int | None = None, colour: Colour | None = None) -> str:
    """Returns tokens on coloured ground for a terminal, wrapped into lines.

    Args:
        tokens: T texts; control characters in them are made visible.
        values: float (T,), raw.
        width: columns; default: the terminal's.
        colour: ``full`` (24 bits), ``256``, or ``none``: then each token is followed by its number. Default: what
            the environment asks for.

    Raises:
        InputError: as many values as tokens are needed.
    """
    values = np.asarray(values)
    grounds, _, _ = token_colours(tokens, values)
    colour = colour or welcome()
    words = []
    for token, value, ground in zip(tokens, values.tolist(), grounds, strict=True):
        text = visible(token) if colour != "none" else f"{visible(token)}({number(value, 2)})"
        words.append((_paint(text, ground, colour, ground=True), cells(text)))
    return "\n".join(_wrap(words, width or shutil.get_terminal_size().columns))


def bars_ansi(
    names: Sequence[str],
    values: Array,
    *,
    most: int = 20,
    width: int | None = None,
    colour: Colour | None = None,
) -> str:
    """Returns a bar chart of the ``most`` values of largest magnitude for a terminal.

    Args:
        names: F texts.
        values: float (F,), raw.
        most: how many bars; the rest is summed up in a last line.
        width: columns; default: the terminal's.
        colour: as in ``tokens_ansi``; without colours, the side of the bar and the sign tell.
    """
    colour = colour or welcome()
    shown, rest = largest(values, most)
    labels = [_cut(visible(names[i]), _NAMES) for i in shown]
    named = max((cells(label) for label in labels), default=0)
    numbers = [number(float(values[i])) for i in shown]
    room = (width or shutil.get_terminal_size().columns) - named - max(map(len, numbers), default=0) - 4
    room = min(max(room, _LEAST), _BARS)
    low, high = float(values[shown].min(initial=0.0)), float(values[shown].max(initial=0.0))
    unit = room / ((high - low) or 1.0)
    before = round(-low * unit)
    lines = []
    for label, i, text in zip(labels, shown, numbers, strict=True):
        value = float(values[i])
        bar = _bar(abs(value) * unit, whole=value < 0.0)
        ink = FOR if value >= 0.0 else AGAINST
        start = before if value >= 0.0 else max(before - len(bar), 0)
        painted = _paint(bar, _rgb(ink), colour, ground=False)
        behind = " " * (before - start - len(bar)) if value < 0.0 else ""
        lines.append(f"{' ' * (named - cells(label))}{label}  {' ' * start}{painted}{behind} {text}")
    if len(rest):
        total = number(float(values[rest].sum(dtype=np.float64)))
        lines.append(f"{' ' * named}  {len(rest)} more, together {total}")
    return "\n".join(lines)


def _bar(length: float, *, whole: bool) -> str:
    """Returns a bar of so many columns. One to the left of zero has no eighths: there are no such letters."""
    if whole:
        return "█" * (round(length) or (1 if length else 0))
    eighths = round(length * 8) or (1 if length else 0)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _paint(text: str, colour: Array, depth: Colour, *, ground: bool) -> str:
    """Returns a text on coloured ground, in black or white letters, or the text itself coloured."""
    if depth == "none" or not text:
        return text
    code = _code(colour, depth)
    if not ground:
        return f"\x1b[38;{code}m{text}\x1b[0m"
    ink = _code(np.zeros(3) if light(colour) else np.full(3, 255), depth)
    return f"\x1b[48;{code};38;{ink}m{text}\x1b[0m"


def _code(colour: Array, depth: Colour) -> str:
    if depth == "full":
        return "2;" + ";".join(str(int(part)) for part in colour)
    red, green, blue = (int(np.abs(_CUBE - float(part)).argmin()) for part in colour)
    return f"5;{16 + 36 * red + 6 * green + blue}"


def _rgb(colour: str) -> Array:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


def _wrap(words: Iterable[tuple[str, int]], width: int) -> list[str]:
    """Returns lines of words with a blank between; a word's length is given, as escape codes take no column."""
    lines: list[list[str]] = [[]]
    used = 0
    for word, length in words:
        if lines[-1] and used + 1 + length > width:
            lines.append([])
            used = 0
        used += length + bool(lines[-1])
        lines[-1].append(word)
    return [" ".join(line) for line in lines]


def _cut(text: str, most: int) -> str:
    if cells(text) <= most:
        return text
    while cells(text) > most - 1:
        text = text[:-1]
    return text.rstrip() + "…"
