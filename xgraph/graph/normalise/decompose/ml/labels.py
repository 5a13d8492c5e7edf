"""The class that a classifier names beside its scores."""

from __future__ import annotations

import numpy as np

from xgraph.graph.emit import Emit, Value
from xgraph.graph.site import Site


def names_inside(s: Site) -> bool:
    """Tells whether the model itself reads the class as a string: the operator must stay what it is then."""
    return bool(s.attr("classlabels_strings")) and _is_read(s)


def label(b: Emit, s: Site, number: Value) -> Value | None:
    """Returns the labels of class numbers; None where nobody reads them."""
    if not _is_read(s):
        return None
    return b.Gather(b.constant(np.asarray(s.ints("classlabels_ints", ()), np.int64)), number, axis=0)


def _is_read(s: Site) -> bool:
    return bool(s.y[0].uses()) or s.y[0].is_graph_output()
