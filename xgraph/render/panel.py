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
_HEADING, _LINE, _TICK = 16, 13, 12
_BAR, _BAR_GAP, _TICK_GAP = 12, 10, 6


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

    def under(self, line: str, tail: str = "") -> Panel:
        """Returns the panel with another line below it."""
        return replace(self, line=line, tail=tail)

    @property
    def width(self) -> int:
        """Pixels, colour bar included."""
        return self.picture.width + self._bar_width

    @property
    def _bar_width(self) -> int:
        if self.bar is None:
            return 0
        face = font(_TICK)
        ticks = max(face.getlength(text) for _, text in _ticks(self.bar[1]))
        return _BAR_GAP + _BAR + _TICK_GAP + int(np.ceil(ticks))


def _ticks(shown: Range) -> list[tuple[float, str]]:
    """Returns the labelled places of a colour bar: share from the bottom, and text."""
    middle = 0.0 if shown.low == -shown.high else (shown.low + shown.high) / 2.0
    return [(0.0, number(shown.low)), (0.5, number(middle)), (1.0, number(shown.high))]


def _draw_bar(sheet: Image.Image, left: int, top: int, height: int, bar: tuple[Palette, Range]) -> None:
    colours, shown = bar
    ramp = colours(np.linspace(1.0, 0.0, height, dtype=np.float32))
    sheet.paste(Image.fromarray(np.repeat(ramp[:, None], _BAR, axis=1)), (left, top))
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((left, top, left + _BAR - 1, top + height - 1), outline=RULE)
    face = font(_TICK)
    for share, text in _ticks(shown):
        anchor = {0.0: "ls", 0.5: "lm", 1.0: "lt"}[share]
        place = (left + _BAR + _TICK_GAP, top + (1.0 - share) * (height - 1))
        pen.text(place, text, fill=GREY, font=face, anchor=anchor)


def sheet(panels: Sequence[Panel], *, heading: str = "", tail: str = "", columns: int = 5) -> Image.Image:
    """Returns panels side by side, in rows of ``columns``, aligned at the top, with one heading over all.

    Raises:
        ValueError: there is no panel.
    """
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    widths = [max(row[j].width for row in rows if j < len(row)) for j in range(len(rows[0]))]
    above = _HEADING + 10 if any(panel.heading for panel in panels) else 0
    below = _LINE + 10 if any(panel.line for panel in panels) else 0
    heights = [above + max(panel.picture.height for panel in row) + below for row in rows]
    top = MARGIN + (_HEADING + 6 + GAP if heading else 0)
    width = 2 * MARGIN + sum(widths) + GAP * (len(widths) - 1)
    paper = Image.new("RGB", (width, top + sum(heights) + GAP * (len(rows) - 1) + MARGIN), PAPER)
    pen = ImageDraw.Draw(paper)
    if heading:
        face = font(_HEADING + 2, heading, bold=True)
        text = shorten(heading, face, width - 2 * MARGIN, tail)
        pen.text((MARGIN, MARGIN + _HEADING), text, fill=INK, font=face, anchor="ls")
    for row, height in zip(rows, heights, strict=True):
        left = MARGIN
        for panel, room in zip(row, widths, strict=False):
            _draw_panel(paper, pen, panel, left, top, above)
            left += room + GAP
        top += height + GAP
    return paper


def _draw_panel(
    paper: Image.Image, pen: ImageDraw.ImageDraw, panel: Panel, left: int, top: int, above: int
) -> None:
    if panel.heading:
        face = font(_HEADING, panel.heading, bold=True)
        place = (left, top + _HEADING - 2)  # by the baseline, so that headings of any letters stand level
        pen.text(place, shorten(panel.heading, face, panel.width), fill=INK, font=face, anchor="ls")
    paper.paste(panel.picture, (left, top + above))
    if panel.bar is not None:
        _draw_bar(paper, left + panel.picture.width + _BAR_GAP, top + above, panel.picture.height, panel.bar)
    if panel.line:
        face = font(_LINE, panel.line)
        place = (left, top + above + panel.picture.height + 8 + _LINE - 2)
        pen.text(place, shorten(panel.line, face, panel.width, panel.tail), fill=GREY, font=face, anchor="ls")
