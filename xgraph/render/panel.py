"""A panel: one picture with a heading, a line below it and a colour bar; and sheets of panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from xgraph.render.palette import Palette
from xgraph.render.scale import Range
from xgraph.render.text import GREY, INK, PAPER, RULE, font, number, shorten

Array = NDArray[Any]

MARGIN, GAP = 16, 20
_TITLE, _HEADING, _LINE, _TICK = 18, 16, 13, 12
_BAR, _BAR_GAP, _TICK_GAP = 12, 10, 6
_WIDEST_TEXT, _WIDEST_TITLE = 320, 640
"""Texts up to so many pixels widen their panel or sheet; longer ones are shortened."""


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """What is put on a sheet."""

    picture: Image.Image
    """RGB."""
    heading: str = ""
    line: str = ""
    """Below the picture; cut where it is too long."""
    tail: str = ""
    """The end of ``line``, which is never cut."""
    bar: tuple[Palette, Range] | None = None
    """The colours of the picture and the raw values that they stand for."""
    scale: float = 1.0
    """How much larger than usual texts are, so that they are as readable as a large picture."""

    def under(self, line: str, tail: str = "") -> Panel:
        """Returns the panel with another line below it."""
        return replace(self, line=line, tail=tail)


@dataclass(frozen=True, slots=True)
class _Pen:
    """Draws panels at one scale."""

    scale: float

    def px(self, size: float) -> int:
        return round(size * self.scale)

    def width(self, panel: Panel) -> int:
        """Returns the room that a panel needs: its picture and colour bar, or its texts where they are wider."""
        heading = font(self.px(_HEADING), panel.heading, bold=True).getlength(panel.heading)
        text = panel.line + panel.tail
        line = font(self.px(_LINE), text).getlength(text)
        most = float(self.px(_WIDEST_TEXT))
        return max(panel.picture.width + self.bar_width(panel), int(np.ceil(min(max(heading, line), most))))

    def bar_width(self, panel: Panel) -> int:
        if panel.bar is None:
            return 0
        face = font(self.px(_TICK))
        lines = panel.picture.height / self.px(_TICK)
        ticks = max(face.getlength(text) for _, text in _ticks(panel.bar[1], lines))
        return self.px(_BAR_GAP + _BAR + _TICK_GAP) + int(np.ceil(ticks))

    def draw(self, paper: Image.Image, panel: Panel, left: int, top: int, above: int) -> None:
        pen, room = ImageDraw.Draw(paper), self.width(panel)
        if panel.heading:
            face = font(self.px(_HEADING), panel.heading, bold=True)
            place = (left, top + self.px(_HEADING - 2))  # by the baseline, so that headings of any letters stand level
            pen.text(place, shorten(panel.heading, face, room), fill=INK, font=face, anchor="ls")
        paper.paste(panel.picture, (left, top + above))
        if panel.bar is not None:
            self._bar(paper, left + panel.picture.width + self.px(_BAR_GAP), top + above, panel)
        if panel.line or panel.tail:
            face = font(self.px(_LINE), panel.line)
            place = (left, top + above + panel.picture.height + self.px(8 + _LINE - 2))
            pen.text(place, shorten(panel.line, face, room, panel.tail), fill=GREY, font=face, anchor="ls")

    def _bar(self, paper: Image.Image, left: int, top: int, panel: Panel) -> None:
        assert panel.bar is not None
        (colours, shown), height, width = panel.bar, panel.picture.height, self.px(_BAR)
        ramp = colours(np.linspace(1.0, 0.0, height, dtype=np.float32))
        paper.paste(Image.fromarray(np.repeat(ramp[:, None], width, axis=1)), (left, top))
        pen = ImageDraw.Draw(paper)
        pen.rectangle((left, top, left + width - 1, top + height - 1), outline=RULE)
        face = font(self.px(_TICK))
        for share, text in _ticks(shown, height / self.px(_TICK)):
            anchor = {0.0: "ls", 0.5: "lm", 1.0: "lt"}[share]
            place = (left + width + self.px(_TICK_GAP), top + (1.0 - share) * (height - 1))
            pen.text(place, text, fill=GREY, font=face, anchor=anchor)


def _ticks(shown: Range, lines: float) -> list[tuple[float, str]]:
    """Returns the labelled places of a colour bar that is so many lines high: share from the bottom, and text."""
    if lines < 2.5:
        return [(0.5, f"{number(shown.low)} … {number(shown.high)}")]
    middle = 0.0 if shown.low == -shown.high else (shown.low + shown.high) / 2.0
    ticks = [(0.0, number(shown.low)), (0.5, number(middle)), (1.0, number(shown.high))]
    return ticks if lines >= 4.0 else [ticks[0], ticks[2]]


def sheet(
    panels: Sequence[Panel], *, heading: str = "", tail: str = "", columns: int = 5, margin: int = MARGIN
) -> Image.Image:
    """Returns panels side by side, in rows of ``columns``, aligned at the top, with one heading over all.

    Args:
        panels: at least one.
        heading: over all panels; cut where it is too long.
        tail: its end, which is never cut.
        columns: panels per row.
        margin: around all.

    Raises:
        ValueError: there is no panel.
    """
    pen = _Pen(max(panel.scale for panel in panels))
    margin, gap = pen.px(margin), pen.px(GAP)
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    widths = [max(pen.width(row[j]) for row in rows if j < len(row)) for j in range(len(rows[0]))]
    above = pen.px(_HEADING + 10) if any(panel.heading for panel in panels) else 0
    below = pen.px(_LINE + 10) if any(panel.line or panel.tail for panel in panels) else 0
    heights = [above + max(panel.picture.height for panel in row) + below for row in rows]
    face = font(pen.px(_TITLE), heading, bold=True)
    titled = int(np.ceil(min(face.getlength(heading + tail), pen.px(_WIDEST_TITLE))))
    width = max(sum(widths) + gap * (len(widths) - 1), titled)
    top = margin + (pen.px(_HEADING + 6) + gap if heading or tail else 0)
    paper = Image.new("RGB", (width + 2 * margin, top + sum(heights) + gap * (len(rows) - 1) + margin), PAPER)
    if heading or tail:
        text = shorten(heading, face, width, tail)
        ImageDraw.Draw(paper).text((margin, margin + pen.px(_HEADING)), text, fill=INK, font=face, anchor="ls")
    for row, height in zip(rows, heights, strict=True):
        left = margin
        for panel, room in zip(row, widths, strict=False):
            pen.draw(paper, panel, left, top, above)
            left += room + gap
        top += height + gap
    return paper
