"""Fonts and short texts. matplotlib ships DejaVu Sans, so every machine draws the same letters."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from PIL import ImageFont

Font: TypeAlias = ImageFont.FreeTypeFont

INK, GREY, PAPER, RULE = "#1a1a1a", "#666666", "#ffffff", "#d0d0d0"
FOR, AGAINST = "#c8322d", "#2f62b5"
"""Bars that speak for the target, and against it."""

_WIDE = 0x2E80
"""From this code point on come the East Asian scripts, which DejaVu lacks."""
_ARABIC_FORMS = range(0xFB00, 0xFF00)
"""Further letters of right-to-left scripts, which DejaVu has."""
_EAST_ASIAN = (
    *("NotoSansCJK-Regular", "NotoSansCJKsc-Regular", "NotoSansSC-Regular", "SourceHanSans-Regular", "wqy-zenhei"),
    *("wqy-microhei", "msyh", "simhei", "PingFang", "Hiragino Sans GB", "Arial Unicode"),
)
"""File names of fonts, as the usual systems have them."""
_SIGNS = {"\n": "⏎", "\r": "⏎", "\t": "⇥", "\u200b": "∅"}
_OVERRIDES = {*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}


def font(size: int, text: str = "", *, bold: bool = False) -> Font:
    """Returns a font of ``size`` pixels with the letters of ``text``, if the machine has one."""
    wide = any(ord(letter) >= _WIDE and ord(letter) not in _ARABIC_FORMS for letter in text)
    return _wide_font(size) if wide else _font(size, bold)


@lru_cache(maxsize=32)
def _font(size: int, bold: bool) -> Font:
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


@lru_cache(maxsize=32)
def _wide_font(size: int) -> Font:
    # Not matplotlib's own list of fonts: it is of the day that matplotlib first ran on the machine.
    from matplotlib.font_manager import findSystemFonts

    files = {Path(file).stem: file for file in findSystemFonts()}
    found = next((files[name] for name in _EAST_ASIAN if name in files), None)
    return ImageFont.truetype(found, size) if found else _font(size, False)


def shorten(text: str, face: Font, width: float, tail: str = "") -> str:
    """Returns ``text + tail`` on one line of ``width`` pixels; where needed ``text`` ends in an ellipsis."""
    text = " ".join(text.split())
    if face.getlength(text + tail) <= width:
        return text + tail
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if face.getlength(text[:middle].rstrip() + "…" + tail) <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…" + tail


def number(value: float, digits: int = 3) -> str:
    """Returns a number with so many significant digits, a true minus sign, and no trailing zeros."""
    text = f"{value:.{digits}g}" if value else "0"
    mantissa, _, exponent = text.partition("e")
    text = f"{mantissa}e{int(exponent)}" if exponent else mantissa
    return text.replace("-", "−")


def visible(token: str) -> str:
    """Returns a token in which blanks and control characters can be seen, and can do nothing.

    An escape sequence in a token would act on the terminal, and a direction override on the words around it.
    """
    if not token:
        return "∅"
    if token.isspace() and not any(letter in _SIGNS for letter in token):
        return "␣" * len(token)
    return "".join(_visible_letter(letter) for letter in token)


def _visible_letter(letter: str) -> str:
    if letter in _SIGNS:
        return _SIGNS[letter]
    controls = unicodedata.category(letter) in ("Cc", "Cs") or letter in _OVERRIDES
    return "\ufffd" if controls else letter


def right_to_left(text: str) -> bool:
    """Whether the first letter that has a direction is read from right to left, as HTML's ``dir="auto"`` decides."""
    for letter in text:
        direction = unicodedata.bidirectional(letter)
        if direction in ("L", "R", "AL"):
            return direction != "L"
    return False


def cells(text: str) -> int:
    """Returns how many columns of a terminal a text takes: East Asian letters two, combining marks none."""
    count = 0
    for letter in text:
        if unicodedata.combining(letter) or unicodedata.category(letter) in ("Mn", "Me", "Cf"):
            continue
        count += 2 if unicodedata.east_asian_width(letter) in ("W", "F") else 1
    return count
