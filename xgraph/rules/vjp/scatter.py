"""Scattering: what was written is read back from where it went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xgraph.graph.emit import Emit, Value
from xgraph.graph.site import Site
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.shaping import cast_like, like, zeros_like


@dataclass(frozen=True, slots=True)
class _Places:
    """Where a scatter writes: the places of ScatterElements along ``axis``, or those of ScatterND."""

    b: Emit
    index: Value
    updates: Value
    axis: int | None

    def read(self, x: Value) -> Value:
        """Returns what ``x`` has at the places, in the shape of the updates."""
        if self.axis is None:
            return like(self.b.GatherND(x, self.index), self.updates)
        return self.b.GatherElements(x, self.index, axis=self.axis)

    def write(self, x: Value, updates: Value, reduction: str = "none") -> Value:
        """Returns ``x`` with ``updates`` at the places."""
        if self.axis is None:
            return self.b.ScatterND(x, self.index, updates, reduction=reduction)
        return self.b.ScatterElements(x, self.index, updates, axis=self.axis, reduction=reduction)


@vjp("ScatterElements", "ScatterND")
def scatter(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dupdates`` = g where they went; ddata = g, without what was overwritten; or as the reduction says."""
    places = _Places(b, s.input(1), s.input(2), s.attr("axis", 0) if s.op == "ScatterElements" else None)
    reduction = s.attr("reduction", "none")
    if reduction == "mul":
        return _of_product(b, s, g, places)
    if reduction in ("max", "min"):
        return _of_extremum(b, s, g, places)
    data = updates = None
    if s.wants[0]:
        data = g if reduction == "add" else places.write(g, zeros_like(b, s.input(2), g))
    if s.wants[2]:
        updates = places.read(g)
    return [data, None, updates]


def _of_product(b: Emit, s: Site, g: Value, places: _Places) -> list[Value | None]:
    """With y = data Π u: ddata = g Π u, du = g data (product of the other u at the same place)."""
    data, u = s.input(0), s.input(2)
    ones = b.Add(zeros_like(b, data), 1.0)
    d_data = b.Mul(g, places.write(ones, u, "mul")) if s.wants[0] else None
    if not s.wants[2]:
        return [d_data, None, None]
    zero, one = b.scalar(0.0, u), b.scalar(1.0, u)
    is_zero = b.Equal(u, zero)
    safe = b.Where(is_zero, one, u)
    zeros = places.read(places.write(zeros_like(b, data), b.Where(is_zero, one, zero), "add"))
    product = b.Div(places.read(places.write(ones, safe, "mul")), safe)
    # A factor counts where no other is zero: without zeros, or where it is the only one.
    alone = b.Equal(zeros, b.Where(is_zero, one, zero))
    return [d_data, None, b.Mul(places.read(b.Mul(g, data)), b.Where(alone, product, zero))]


def _of_extremum(b: Emit, s: Site, g: Value, places: _Places) -> list[Value | None]:
    """As the elementwise Max or Min of data and updates: those that are equal to y share g equally."""
    kept = cast_like(b, b.Equal(s.input(0), s.y[0]), g)
    hit = cast_like(b, b.Equal(s.input(2), places.read(s.y[0])), g)
    share = b.Div(g, places.write(kept, hit, "add"))
    return [b.Mul(kept, share), None, b.Mul(hit, places.read(share))]
