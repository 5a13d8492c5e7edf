"""One sheet for one input: the picture, then methods side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from xgraph.errors import InputError
from xgraph.render.overlay import OF_MANY
from xgraph.render.panel import sheet
from xgraph.render.picture import caption, image_panel, panel
from xgraph.result import Attribution

Array = NDArray[Any]

_ROW, _COLUMNS = 5, 4
"""So many panels still fit in one row; more are spread over rows of fewer."""


def gallery(
    attributions: Sequence[Attribution],
    row: int = 0,
    image: Array | None = None,
    title: str | None = None,
    *,
    columns: int | None = None,
) -> Image.Image:
    """Returns a figure with the input and one panel per attribution.

    Where all explain the same target, it is said once, above; else under each panel.

    Args:
        attributions: what to show, in this order.
        row: which row of each.
        image: uint8 (h, w, 3), the picture that the model saw.
        title: heading, instead of the common target.
        columns: panels per row; default: up to four methods and the input in one row, more in rows of equal length.

    Raises:
        InputError: nothing to show, no such row, or an image of another shape or dtype.
    """
    if not attributions:
        raise InputError("a gallery needs at least one attribution")
    drawn = [panel(attribution, row, image, None, largest=OF_MANY) for attribution in attributions]
    captions = [caption(attribution, row) for attribution in attributions]
    common = len(set(captions)) == 1
    if not common:
        drawn = [part.under(*text) for part, text in zip(drawn, captions, strict=True)]
    if image is not None:
        drawn.insert(0, image_panel(image, largest=OF_MANY))
    heading, tail = (title, "") if title is not None else captions[0] if common else ("", "")
    return sheet(drawn, heading=heading, tail=tail, columns=columns or _columns(len(drawn)))


def _columns(panels: int) -> int:
    if panels <= _ROW:
        return panels
    rows = -(-panels // _COLUMNS)
    return -(-panels // rows)
