"""Fourier transforms: linear maps, whose adjoint is the transform of the other sign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from xgraph.graph.arithmetic import count, joined, numbers, positions, size_of
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dims, rank
from xgraph.graph.site import Site
from xgraph.rules.derived import through
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.shaping import along, cast_like, const_ints, like, positive

_AXIS_IS_AN_INPUT = 20
"""From this opset on; before, the axis of DFT is an attribute."""


Axis: TypeAlias = "int | Value"
Length: TypeAlias = "int | Value"
"""What is computed is an int64 vector of length 1."""


@vjp("DFT")
def dft(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dx`` = N IDFT(g) for the transform, DFT(g) / N for the inverse, cut or padded to the length of x.

    Of a one-sided spectrum the missing half gets nothing; to a one-sided input the bins that stand for two get twice.
    """
    x, axis = s.input(0), _axis(b, s)
    inverse, onesided = bool(s.attr("inverse", 0)), bool(s.attr("onesided", 0))
    length = _length(b, s, axis)
    if inverse:
        dx = b.Div(_transform(b, g, axis, onesided=onesided), _number(b, length, g))
        if onesided:
            dx = b.Mul(dx, _multiplicity(b, dx, axis, length))
    else:
        full = _fit(b, g, axis, length) if onesided else g
        dx = b.Mul(_transform(b, full, axis, inverse=True), _number(b, length, g))
    if s.has(1) or onesided:
        dx = _fit(b, dx, axis, _size(b, x, axis))
    real = (dims(x) or ())[-1] == 1
    return [like(b.Slice(dx, [0], [1], [-1]) if real else dx, x), *[None] * (len(s.x) - 1)]


@through(vjp, "STFT")
def stft(b: Emit, s: Site) -> Sequence[Value | None]:
    """The DFT of ``window`` times the frames, which are read from the signal at ``i step + 0, 1, .., L - 1``."""
    signal = s.input(0) if rank(s.input(0)) == 3 else b.Unsqueeze(s.input(0), [2])
    starts = b.Mul(positions(b, s.y[0], 1), b.Cast(s.input(1), to=7))
    inside = positions(b, s.input(2), 0) if s.has(2) else _range(b, s)
    frames = b.Gather(signal, b.Add(b.Unsqueeze(starts, [1]), b.Unsqueeze(inside, [0])), axis=1)
    if s.has(2):
        frames = b.Mul(frames, b.Unsqueeze(s.input(2), [1]))
    return [_transform(b, frames, 2, onesided=bool(s.attr("onesided", 1)))]


def _transform(b: Emit, x: Value, axis: Axis, *, inverse: bool = False, onesided: bool = False) -> Value:
    kind = {"inverse": int(inverse), "onesided": int(onesided)}
    if b.opset < _AXIS_IS_AN_INPUT:
        assert isinstance(axis, int)
        return b.DFT(x, None, axis=axis, **kind)
    return b.DFT(x, None, np.asarray(axis, np.int64) if isinstance(axis, int) else b.Squeeze(axis, [0]), **kind)


def _axis(b: Emit, s: Site) -> Axis:
    if b.opset < _AXIS_IS_AN_INPUT:
        return positive(s.attr("axis", 1), s.input(0))
    if s.has(2) and s.const(2) is None:
        return b.Reshape(s.input(2), [1])
    return positive((const_ints(s, 2) or [-2])[0], s.input(0))


def _length(b: Emit, s: Site, axis: Axis) -> Length:
    """Returns N, the number of points of the transform."""
    given = const_ints(s, 1)
    if given:
        return given[0]
    if s.has(1):
        return b.Reshape(b.Cast(s.input(1), to=7), [1])
    size = _size(b, s.input(0), axis)
    if not (s.attr("inverse", 0) and s.attr("onesided", 0)):
        return size
    return 2 * (size - 1) if isinstance(size, int) else b.Mul(b.Sub(size, 1), 2)


def _size(b: Emit, x: Value, axis: Axis) -> Length:
    if not isinstance(axis, int):
        return b.Gather(b.Shape(x), axis)
    size = (dims(x) or ())[axis]
    return size if isinstance(size, int) else size_of(b, x, axis)


def _number(b: Emit, length: Length, like: Value) -> Value:
    """Returns the length in the dtype of ``like``."""
    return b.scalar(float(length), like) if isinstance(length, int) else cast_like(b, length, like)


def _multiplicity(b: Emit, spectrum: Value, axis: Axis, length: Length) -> Value:
    """Returns for how many bins of the full spectrum each of a one-sided one stands: 2, but 1 where k = -k mod N."""
    if isinstance(axis, int):
        bins = along(b, positions(b, spectrum, axis), axis, spectrum)
    else:
        shape = b.ScatterElements([1] * rank(spectrum), axis, [-1])
        bins = b.Reshape(count(b, joined(b, [_size(b, spectrum, axis)])), shape)
    own = b.Equal(b.Mod(b.Mul(bins, 2), joined(b, [length])), 0)
    return b.Where(own, b.scalar(1.0, spectrum), b.scalar(2.0, spectrum))


def _fit(b: Emit, x: Value, axis: Axis, wanted: Length) -> Value:
    """Cuts ``x`` along ``axis``, or pads it with zeros behind."""
    have, axes = _size(b, x, axis), joined(b, [axis])
    if isinstance(have, int) and isinstance(wanted, int):
        if have >= wanted:
            return b.Slice(x, [0], [wanted], axes) if have > wanted else x
        return b.Pad(x, [0, wanted - have], None, axes)
    missing = b.Max(b.Sub(joined(b, [wanted]), joined(b, [have])), 0)
    return b.Slice(b.Pad(x, b.Concat([0], missing, axis=0), None, axes), [0], joined(b, [wanted]), axes)


def _range(b: Emit, s: Site) -> Value:
    return numbers(b, b.Cast(s.input(3), to=7))
