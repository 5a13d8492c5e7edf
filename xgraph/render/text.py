"""Fonts and short texts. matplotlib ships DejaVu Sans, so every machine draws the same letters."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from PIL import ImageFont

Font: TypeAlias = ImageFont.FreeTypeFont

INK, GREY, PAPER, RULE = "#1a1a1a", "#666666", "#ffffff", "#d0d0d0"

_WIDE = 0x2E80
"""From this code point on come the East Asian scripts, which DejaVu lacks."""
_EAST_ASIAN = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"),
    *("Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB", "Arial Unicode MS"),
)


def font(size: int, text: str = "", *, bold: bool = False) -> Font:
    """Returns a font of ``size`` pixels with the letters of ``text``, if the machine has one."""
    return _wide_font(size) if any(ord(letter) >= _WIDE for letter in text) else _font(size, bold)


@lru_cache(maxsize=16)
def _font(size: int, bold: bool) -> Font:
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


@lru_cache(maxsize=16)
def _wide_font(size: int) -> Font:
    from matplotlib.font_manager import fontManager

    files = {entry.name: entry.fname for entry in fontManager.ttflist}
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
