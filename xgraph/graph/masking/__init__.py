"""Masks inside the graph: x' = m ⊙ x + (1 - m) ⊙ b, with m made from a small code of each mask.

The samples go in once, with their label maps and baselines; every run names its sample (``xg_row``) and brings the
code of its mask: some bits, the corner of a window, a coarse grid, the number of an activation map. Nothing of the size
(masks x sample) exists outside the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from xgraph.graph.emit import Emit
from xgraph.graph.masking.blend import blend
from xgraph.graph.masking.grid import grid
from xgraph.graph.masking.maps import given, maps
from xgraph.graph.masking.rows import gather, repeat_rows
from xgraph.graph.masking.segments import segments
from xgraph.graph.masking.window import window

_MASKS: Mapping[str, Callable[..., ir.Value]] = {
    "segments": segments,
    "window": window,
    "grid": grid,
    "maps": maps,
    "given": given,
}


def mask(
    b: Emit,
    values: Sequence[ir.Value],
    kind: str,
    baselines: Sequence[str],
    labels: Sequence[str],
    options: Mapping[str, Any],
) -> ir.Value:
    """Masks ``values`` for all their users and returns ``xg_row``.

    Args:
        b: emits into the graph.
        values: what is masked: inputs, or one layer.
        kind: ``segments``, ``window``, ``grid``, ``maps`` or ``given``.
        baselines: name of the input that shows where each value is masked.
        labels: name of the input that numbers the features of each value, for ``segments``.
        options: of the kind of mask.
    """
    row, values = repeat_rows(b, values)
    for value, baseline, label in zip(values, baselines, labels, strict=True):
        users = [(use.node, use.idx) for use in value.uses()]
        made = _MASKS[kind](b, value, row, label=label, **options)
        blended = blend(b, value, made, row, baseline)
        for node, index in users:
            node.replace_input_with(index, blended)
    b.graph.sort()
    return row


__all__ = ["gather", "mask"]
