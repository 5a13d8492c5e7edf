"""Attributions as HTML, for notebooks: self-contained, nothing is loaded from elsewhere."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from io import BytesIO
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from xgraph.errors import InputError
from xgraph.render.overlay import OF_MANY
from xgraph.render.panel import Panel, sheet
from xgraph.render.picture import caption, entry, features_of, headline, image_panel, panel, tokens_of
from xgraph.render.presets import PRESETS
from xgraph.render.table import bar_html
from xgraph.render.text import number
from xgraph.render.tokens import token_html
from xgraph.result import Attribution

Array = NDArray[Any]

_ROWS = 8


def html(attribution: Attribution, images: Sequence[Array] | None = None) -> str:
    """Returns an HTML fragment: pictures, coloured tokens or bars, and checks, of the first eight rows.

    Args:
        attribution: what to show.
        images: uint8 (h, w, 3), the picture that the model saw, of each row.

    Raises:
        InputError: not one image per row, or an image of another shape or dtype.
    """
    if images is not None and len(images) != len(attribution):
        raise InputError(f"{len(images)} images for {len(attribution)} rows; give one for each")
    blocks = []
    for row in range(min(len(attribution), _ROWS)):
        label, tail = caption(attribution, row)
        checks = [f"{name.replace('_', ' ')} {number(float(v[row]))}" for name, v in attribution.checks.items()]
        line = " · ".join([f"<bdi><b>{escape(label)}</b></bdi>{escape(tail)}", *map(escape, checks)])
        body = _body(attribution, row, None if images is None else images[row])
        blocks.append(f'<div style="margin:0 20px 14px 0"><div style="margin:4px 0">{line}</div>{body}</div>')
    more = len(attribution) - len(blocks)
    tail = f"<div>{more} more row{'s' * (more > 1)}</div>" if more > 0 else ""
    return (
        f"<div><strong>{escape(headline(attribution))}</strong>"
        f'<div style="display:flex;flex-wrap:wrap">{"".join(blocks)}</div>{tail}</div>'
    )


def _body(attribution: Attribution, row: int, image: Array | None) -> str:
    """Returns all that was explained, each under its name where it is more than one thing."""
    parts = []
    for name in attribution.values:
        values = entry(attribution, row, name)
        if (words := tokens_of(attribution, row, values)) is not None:
            part = token_html(*words)
        elif (features := features_of(attribution, values)) is not None:
            part = bar_html(features[1], features[0])
        else:
            drawn = [replace(panel(attribution, row, image, name, largest=OF_MANY), heading="")]
            if image is not None and PRESETS[attribution.kind].blend == "none":
                drawn.insert(0, image_panel(image, "", largest=OF_MANY))
            part = _img(drawn, f"{headline(attribution)}: {attribution.target.labels[row]}")
        several = len(attribution.values) > 1
        parts.append(f"<div>{escape(name)}</div>{part}" if several else part)
    return "".join(parts)


def _img(panels: Sequence[Panel], says: str) -> str:
    buffer = BytesIO()
    picture: Image.Image = sheet(panels, margin=4)
    picture.save(buffer, format="PNG")
    data = b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="{escape(says)}" style="max-width:100%" src="data:image/png;base64,{data}">'
