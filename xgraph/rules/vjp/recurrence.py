"""RNN, GRU and LSTM written as a Scan, with everything that the standard lets them have.

What a layer computes of its input is one product for all steps; a step does the rest. Beyond the length of a row its
states stay and its output is zero, in either direction, so that a row that is walked from the end begins at its length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from xgraph.graph.arithmetic import positions, size_of
from xgraph.graph.body import Body, slice_of
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import need_static
from xgraph.graph.site import Site

ACTIVATIONS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
"""The default activations of one direction."""
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_NUMBERS = {
    "Affine": 2, "ScaledTanh": 2, "HardSigmoid": 2, "LeakyRelu": 1, "ThresholdedRelu": 1, "Elu": 1,
    "Relu": 0, "Tanh": 0, "Sigmoid": 0, "Softsign": 0, "Softplus": 0,
}  # fmt: skip
"""The activations, and how many of alpha and beta they have."""
_BY_LOWER_CASE = {name.lower(): name for name in _NUMBERS}

_Activation = Callable[[Emit, Value], Value]


def recurrence_lack(s: Site) -> str | None:
    """Returns what a node lacks to be written as a Scan."""
    unknown = [name for name in s.attr("activations", []) if name.lower() not in _BY_LOWER_CASE]
    return f"activations of the standard instead of {unknown}" if unknown else None


@dataclass(frozen=True, slots=True)
class _Layer:
    """One direction."""

    op: str
    hidden: int
    recurrence: Value
    """``Rᵀ``, ``[H, gates H]``."""
    bias: Value | None
    """``b_R``."""
    peepholes: Sequence[Value]
    """Those of an LSTM's gates i, o and f, or nothing."""
    activations: Sequence[_Activation]
    clip: float | None
    after: bool
    """``linear_before_reset`` of a GRU."""
    coupled: bool
    """``input_forget`` of an LSTM."""

    def bounded(self, b: Emit, gate: Value, activation: _Activation) -> Value:
        """Emits an activation of a gate's clipped input."""
        if self.clip is not None:
            gate = b.Clip(gate, b.scalar(-self.clip, gate), b.scalar(self.clip, gate))
        return activation(b, gate)

    def product(self, b: Emit, h: Value) -> Value:
        """Emits ``h Rᵀ + b_R``."""
        product = b.MatMul(h, self.recurrence)
        return product if self.bias is None else b.Add(product, self.bias)

    def peeped(self, b: Emit, gate: Value, which: int, cell: Value) -> Value:
        """Adds a peephole at the cell to a gate, if there is one."""
        return b.Add(gate, b.Mul(self.peepholes[which], cell)) if self.peepholes else gate

    def split(self, b: Emit, gates: Value) -> Sequence[Value]:
        """Emits the gates apart."""
        return b.many("Split", _GATES[self.op], gates, [self.hidden] * _GATES[self.op], axis=-1)


def recurrence(b: Emit, s: Site) -> Sequence[Value | None]:
    """Emits what the node computes: all states, the last ones, and the last cells of an LSTM."""
    batch_first = bool(s.attr("layout", 0))

    def moved(value: Value, perm: Sequence[int]) -> Value:
        return b.Transpose(value, perm=perm) if batch_first else value

    x = moved(s.input(0), [1, 0, 2])
    first = [moved(s.input(i), [1, 0, 2]) if s.has(i) else None for i in ((5, 6) if s.op == "LSTM" else (5,))]
    running = _running(b, x, s.input(4)) if s.has(4) else None
    directions = {"forward": [0], "reverse": [1], "bidirectional": [0, 1]}[s.attr("direction", "forward")]
    found = []
    for index, backwards in enumerate(directions):
        starts = [_zeros(b, s, x) if value is None else _part(b, value, index) for value in first]
        found.append(_direction(b, s, x, index, starts, running, backwards))
    *last, states = zip(*found, strict=True)
    return [
        moved(_together(b, states, 1), [2, 0, 1, 3]),
        *(moved(_together(b, parts, 0), [1, 0, 2]) for parts in last),
    ][: len(s.y)]


def _direction(
    b: Emit, s: Site, x: Value, index: int, starts: Sequence[Value], running: Value | None, backwards: int
) -> tuple[Value, ...]:
    """Emits one direction, and returns its last states and then its state after each step."""
    layer, of_x = _layer(b, s, index), _part(b, s.input(1), index)
    gates = b.MatMul(x, b.Transpose(of_x, perm=[1, 0]))
    if s.has(3):
        gates = b.Add(gates, _halves(b, s, index)[0])
    body = Body(b)
    states = [body.parameter(start) for start in starts]
    scanned = [gates] if running is None else [gates, running]
    slices = [slice_of(b, value) for value in scanned]
    body.parameters(slices)
    after = list(_STEPS[s.op](body.b, layer, slices[0], *states))
    given = after[0]
    if running is not None:
        after = [body.b.Where(slices[1], new, old) for new, old in zip(after, states, strict=True)]
        given = body.b.Where(slices[1], given, body.b.scalar(0.0, given))
    for value in (*after, given):
        body.result(value)
    attributes = {
        "body": body.graph,
        "num_scan_inputs": len(scanned),
        "scan_input_directions": [backwards] * len(scanned),
        "scan_output_directions": [backwards],
    }
    return b.op("Scan", [*starts, *scanned], attributes, outputs=len(starts) + 1)


def _rnn(b: Emit, layer: _Layer, x: Value, h: Value) -> tuple[Value, ...]:
    """``h' = f(x Wᵀ + h Rᵀ + b)``."""
    (f,) = layer.activations
    return (layer.bounded(b, b.Add(x, layer.product(b, h)), f),)


def _gru(b: Emit, layer: _Layer, x: Value, h: Value) -> tuple[Value, ...]:
    """``h' = (1 - z) n + z h`` with ``n = g(x + r (h R))``, or ``g(x + (r h) R)``."""
    f, g = layer.activations
    x_z, x_r, x_n = layer.split(b, x)
    h_z, h_r, h_n = layer.split(b, layer.product(b, h))
    z, r = layer.bounded(b, b.Add(x_z, h_z), f), layer.bounded(b, b.Add(x_r, h_r), f)
    inner = b.Mul(r, h_n) if layer.after else layer.split(b, layer.product(b, b.Mul(r, h)))[2]
    n = layer.bounded(b, b.Add(x_n, inner), g)
    return (b.Add(b.Mul(b.Sub(b.scalar(1.0, z), z), n), b.Mul(z, h)),)


def _lstm(b: Emit, layer: _Layer, x: Value, h: Value, c: Value) -> tuple[Value, ...]:
    """``c' = f c + i n``, ``h' = o k(c')``; peepholes add multiples of the cell to the gates."""
    f, g, k = layer.activations
    gate_i, gate_o, gate_f, gate_n = layer.split(b, b.Add(x, layer.product(b, h)))
    i = layer.bounded(b, layer.peeped(b, gate_i, 0, c), f)
    kept = b.Sub(b.scalar(1.0, i), i) if layer.coupled else layer.bounded(b, layer.peeped(b, gate_f, 2, c), f)
    cell = b.Add(b.Mul(kept, c), b.Mul(i, layer.bounded(b, gate_n, g)))
    o = layer.bounded(b, layer.peeped(b, gate_o, 1, cell), f)
    return b.Mul(o, k(b, cell)), cell


_STEPS: Mapping[str, Callable[..., tuple[Value, ...]]] = {"RNN": _rnn, "GRU": _gru, "LSTM": _lstm}


def _layer(b: Emit, s: Site, index: int) -> _Layer:
    per_direction = len(ACTIVATIONS[s.op])
    hidden = need_static(s.input(2))[2]
    return _Layer(
        op=s.op,
        hidden=hidden,
        recurrence=b.Transpose(_part(b, s.input(2), index), perm=[1, 0]),
        bias=_halves(b, s, index)[1] if s.has(3) else None,
        peepholes=b.many("Split", 3, _part(b, s.input(7), index), [hidden] * 3, axis=0) if s.has(7) else (),
        activations=_activations(s)[index * per_direction :][:per_direction],
        clip=s.attr("clip"),
        after=bool(s.attr("linear_before_reset", 0)),
        coupled=bool(s.attr("input_forget", 0)),
    )


def _activations(s: Site) -> list[_Activation]:
    """Returns the activations of all directions; alpha and beta are those of the ones that have them, in order."""
    alphas, betas = iter(s.attr("activation_alpha", [])), iter(s.attr("activation_beta", []))
    names = s.attr("activations", ACTIVATIONS[s.op] * 2)
    found: list[_Activation] = []
    for name in (_BY_LOWER_CASE[name.lower()] for name in names):
        alpha = next(alphas, None) if _NUMBERS[name] else None
        beta = next(betas, None) if _NUMBERS[name] > 1 else None
        found.append(partial(_activated, name, alpha, beta))
    return found


def _activated(name: str, alpha: float | None, beta: float | None, b: Emit, x: Value) -> Value:
    if name == "Affine":
        return b.Add(b.Mul(x, 1.0 if alpha is None else alpha), beta or 0.0)
    if name == "ScaledTanh":
        return b.Mul(b.Tanh(b.Mul(x, 1.0 if beta is None else beta)), 1.0 if alpha is None else alpha)
    numbers = {key: number for key, number in (("alpha", alpha), ("beta", beta)) if number is not None}
    emitted: Value = getattr(b, name)(x, **numbers)
    return emitted


def _running(b: Emit, x: Value, lengths: Value) -> Value:
    """Emits whether a row goes on at a step, ``[T, N, 1]``."""
    steps = b.Unsqueeze(positions(b, x, 0), [1, 2])
    return b.Less(steps, b.Unsqueeze(b.cast(lengths, np.dtype(np.int64)), [0, 2]))


def _zeros(b: Emit, s: Site, x: Value) -> Value:
    """Emits the first state where none is given."""
    hidden = need_static(s.input(2))[2]
    size = b.Concat(size_of(b, x, 1), b.constant(np.asarray([hidden], np.int64)), axis=0)
    return b.Expand(b.scalar(0.0, x), size)


def _halves(b: Emit, s: Site, index: int) -> Sequence[Value]:
    """Emits the biases of the input and of the state apart."""
    both = _part(b, s.input(3), index)
    return b.many("Split", 2, both, [_GATES[s.op] * need_static(s.input(2))[2]] * 2, axis=0)


def _part(b: Emit, value: Value, index: int) -> Value:
    """Emits what belongs to one direction."""
    return b.Squeeze(b.Slice(value, [index], [index + 1], [0]), [0])


def _together(b: Emit, parts: Sequence[Value], axis: int) -> Value:
    """Puts the directions side by side along a new axis."""
    apart = [b.Unsqueeze(part, [axis]) for part in parts]
    return b.Concat(*apart, axis=axis) if len(apart) > 1 else apart[0]
