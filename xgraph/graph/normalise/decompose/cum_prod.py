"""CumProd (opset 26) as products of shifted copies, whose gradient needs no division and so is right at zeros.

``y <- y * (y shifted by 1), by 2, by 4 ..`` (Hillis and Steele 1986); where the length is not known, the product along
the rows of a table that holds x up to the diagonal and 1 beyond.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xgraph.graph.arithmetic import positions
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dims, rank
from xgraph.graph.site import Site


def cum_prod(b: Emit, s: Site) -> Sequence[Value]:
    """Returns the products of input 0 up to each place along the axis that input 1 tells."""
    x, given = s.input(0), s.const(1)
    if given is None:
        return [_along_computed_axis(b, s)]
    axis = int(given.reshape(())) % rank(x)
    size = (dims(x) or ())[axis]
    if not isinstance(size, int):
        return [_table(b, s, x, axis)]
    product, step = x, 1
    while step < size:
        product = b.Mul(product, _shifted(b, s, product, axis, step))
        step *= 2
    # An own node, because the value may be an input of the graph.
    return [_shifted(b, s, product, axis, 1) if s.attr("exclusive", 0) and size else b.Identity(product)]


def _shifted(b: Emit, s: Site, x: Value, axis: int, step: int) -> Value:
    """Moves ``x`` towards where the products grow, and fills up with ones."""
    one = b.scalar(1, x)
    if s.attr("reverse", 0):
        return b.Pad(b.Slice(x, [step], [np.iinfo(np.int64).max], [axis]), [0, step], one, [axis])
    return b.Pad(b.Slice(x, [0], [-step], [axis]), [step, 0], one, [axis])


def _table(b: Emit, s: Site, x: Value, axis: int) -> Value:
    factor = positions(b, x, axis)
    place = b.Unsqueeze(factor, [1])
    if s.attr("reverse", 0):
        place, factor = b.Neg(place), b.Neg(factor)
    compare = b.Less if s.attr("exclusive", 0) else b.LessOrEqual
    behind = list(range(2, rank(x) - axis + 1))
    taken = compare(factor, place)
    taken = b.Unsqueeze(taken, behind) if behind else taken
    return b.ReduceProd(b.Where(taken, b.Unsqueeze(x, [axis]), b.scalar(1, x)), [axis + 1], keepdims=0)


def _along_computed_axis(b: Emit, s: Site) -> Value:
    """Views x as (what is ahead of the axis, the axis, what is behind it)."""
    x = s.input(0)
    shape = b.Shape(x)
    axis = b.Mod(b.Reshape(b.Cast(s.input(1), to=7), [1]), rank(x))
    ahead = b.ReduceProd(b.Slice(shape, [0], axis, [0]), keepdims=1)
    size = b.Gather(shape, axis)
    flat = b.Reshape(x, b.Concat(ahead, size, [-1], axis=0))
    return b.Reshape(_table(b, s, flat, 1), shape)
