"""Recurrent layers, unrolled backwards over a static number of steps; what is unusual goes by ``recurrence``.

The forward output holds every state, so the gates of all steps are recomputed at once, in a few matrix products;
only what passes from step to step is unrolled: one product with R per step (and, for LSTM, the cell's sum).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import need_static, not_fixed
from xgraph.graph.site import Site
from xgraph.graph.walk import Rule
from xgraph.rules.derived import pulled_through
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.recurrence import ACTIVATIONS, recurrence, recurrence_lack
from xgraph.rules.vjp.shaping import like, zeros_like


@dataclass(frozen=True, slots=True)
class _Direction:
    """One direction of a layer. Values with a time axis are ``[T, N, ..]`` in the order of the input."""

    index: int
    order: Sequence[int]
    """The steps as they are computed."""
    inputs: Value
    """``x Wᵀ + b_W``."""
    previous: Value
    """The state before each step."""
    weight: Value
    recurrence: Value
    bias: Value | None
    """``b_R``, to be added to ``h Rᵀ``."""
    cell: Value | None
    """The first cell state of an LSTM, ``[1, N, H]``."""

    def recurred(self, b: Emit) -> Value:
        """Emits ``h Rᵀ + b_R`` with the state before each step."""
        product = b.MatMul(self.previous, b.Transpose(self.recurrence, perm=[1, 0]))
        return product if self.bias is None else b.Add(product, self.bias)


@dataclass(slots=True)
class _Arriving:
    """What arrives at one direction: per step (None where nothing does), and at the last state and cell."""

    steps: Sequence[Value | None]
    state: Value | None
    cell: Value | None


_Answer = tuple[Value, Value, "Value | None"]
"""The gradients of ``x Wᵀ + b_W``, of the first state and of the first cell."""
_Back = Callable[[_Direction, _Arriving], _Answer]


def _is_plain(s: Site) -> bool:
    """Tells whether a node can be unrolled: its weights are constant, its length is, and it has nothing unusual."""
    defaults = ACTIVATIONS[s.op]
    given = s.attr("activations", [])
    unusual = (
        s.has(7) or s.has(4) or s.attr("input_forget", 0) or s.attr("layout", 0) or s.attr("clip") is not None
        or (given and given != defaults * (len(given) // len(defaults)))
    )  # fmt: skip
    return not unusual and not any(s.wants[1:4]) and not_fixed(s.input(0), [0]) is None


def _unrolled(op: str) -> Callable[[Rule], Rule]:
    """Registers a rule for plain layers of one kind; the others are written as a Scan."""
    by_steps = pulled_through(vjp, recurrence)

    def register(plain: Rule) -> Rule:
        @vjp(op, needs=recurrence_lack)
        def rule(b: Emit, s: Site, *g: Value | None) -> Sequence[Value | None]:
            return plain(b, s, *g) if _is_plain(s) else by_steps(b, s, *g)

        return rule

    return register


@_unrolled("RNN")
def rnn(b: Emit, s: Site, *g: Value | None) -> Sequence[Value | None]:
    """With h' = tanh(a): da = g (1 - h'²), dh = da R."""

    def back(d: _Direction, arriving: _Arriving) -> _Answer:
        states = b.Tanh(b.Add(d.inputs, d.recurred(b)))
        slopes = _split(b, _tanh_slope(b, states), len(d.order))
        gates: list[Value | None] = [None] * len(d.order)
        carry = arriving.state
        for t in reversed(d.order):
            gate = b.Mul(_sum(b, slopes[t], arriving.steps[t], carry), slopes[t])
            gates[t], carry = gate, b.MatMul(gate, d.recurrence)
        assert carry is not None
        return _join(b, gates), carry, None

    return _layer(b, s, g, back)


@_unrolled("GRU")
def gru(b: Emit, s: Site, *g: Value | None) -> Sequence[Value | None]:
    """With h' = (1 - z) n + z h: dz = g (h - n), dn = g (1 - z), dh = g z and what z, r and n pass on."""
    after = s.attr("linear_before_reset", 0)
    hidden = s.attr("hidden_size")

    def back(d: _Direction, arriving: _Arriving) -> _Answer:
        steps = len(d.order)
        x_z, x_r, x_n = b.many("Split", 3, d.inputs, [hidden] * 3, axis=-1)
        h_z, h_r, h_n = b.many("Split", 3, d.recurred(b), [hidden] * 3, axis=-1)
        _, _, to_n = b.many("Split", 3, d.recurrence, [hidden] * 3, axis=0)
        z, r = b.Sigmoid(b.Add(x_z, h_z)), b.Sigmoid(b.Add(x_r, h_r))
        if not after:
            h_n = b.MatMul(b.Mul(r, d.previous), b.Transpose(to_n, perm=[1, 0]))
            if d.bias is not None:
                h_n = b.Add(h_n, b.many("Split", 3, d.bias, [hidden] * 3, axis=-1)[2])
        n = b.Tanh(b.Add(x_n, b.Mul(r, h_n) if after else h_n))
        rest = b.Sub(b.scalar(1.0, z), z)
        by_z = _split(b, b.Mul(b.Sub(d.previous, n), b.Mul(z, rest)), steps)
        by_n = _split(b, b.Mul(rest, _tanh_slope(b, n)), steps)
        by_r = _split(b, b.Mul(h_n if after else d.previous, _sigmoid_slope(b, r)), steps)
        zs, rs = _split(b, z, steps), _split(b, r, steps)
        gates: list[Value | None] = [None] * steps
        carry = arriving.state
        for t in reversed(d.order):
            share = _sum(b, zs[t], arriving.steps[t], carry)
            d_z, d_n, kept = b.Mul(share, by_z[t]), b.Mul(share, by_n[t]), b.Mul(share, zs[t])
            if after:
                d_r = b.Mul(d_n, by_r[t])
                # h reaches n through r (h R + b): there dn counts r times.
                passed = b.MatMul(b.Concat(d_z, d_r, b.Mul(d_n, rs[t]), axis=-1), d.recurrence)
            else:
                inner = b.MatMul(d_n, to_n)
                d_r = b.Mul(inner, by_r[t])
                to_gates = b.Slice(d.recurrence, [0], [2 * hidden], [0])
                passed = b.Add(b.MatMul(b.Concat(d_z, d_r, axis=-1), to_gates), b.Mul(inner, rs[t]))
            gates[t], carry = b.Concat(d_z, d_r, d_n, axis=-1), b.Add(kept, passed)
        assert carry is not None
        return _join(b, gates), carry, None

    return _layer(b, s, g, back)


@_unrolled("LSTM")
def lstm(b: Emit, s: Site, *g: Value | None) -> Sequence[Value | None]:
    """With c' = f c + i n, h' = o tanh c': dc' = g o (1 - tanh² c') and what the next step passes on."""
    hidden = s.attr("hidden_size")

    def back(d: _Direction, arriving: _Arriving) -> _Answer:
        steps = len(d.order)
        i, o, f, n = b.many("Split", 4, b.Add(d.inputs, d.recurred(b)), [hidden] * 4, axis=-1)
        i, o, f, n = b.Sigmoid(i), b.Sigmoid(o), b.Sigmoid(f), b.Tanh(n)
        fs, added = _split(b, f, steps), _split(b, b.Mul(i, n), steps)
        before: list[Value | None] = [None] * steps
        after: list[Value | None] = [None] * steps
        cell = zeros_like(b, fs[0]) if d.cell is None else d.cell
        for t in d.order:
            before[t] = cell
            cell = after[t] = b.Add(b.Mul(fs[t], cell), added[t])
        squashed = b.Tanh(_join(b, after))
        to_cell = _split(b, b.Mul(o, _tanh_slope(b, squashed)), steps)
        by_i = _split(b, b.Mul(n, _sigmoid_slope(b, i)), steps)
        by_o = _split(b, b.Mul(squashed, _sigmoid_slope(b, o)), steps)
        by_f = _split(b, b.Mul(_join(b, before), _sigmoid_slope(b, f)), steps)
        by_n = _split(b, b.Mul(i, _tanh_slope(b, n)), steps)
        gates: list[Value | None] = [None] * steps
        carry, carried = arriving.state, arriving.cell
        for t in reversed(d.order):
            share = _sum(b, fs[t], arriving.steps[t], carry)
            inner = _sum(b, fs[t], b.Mul(share, to_cell[t]), carried)
            gates[t] = b.Concat(
                b.Mul(inner, by_i[t]), b.Mul(share, by_o[t]), b.Mul(inner, by_f[t]), b.Mul(inner, by_n[t]), axis=-1
            )
            carry, carried = b.MatMul(gates[t], d.recurrence), b.Mul(inner, fs[t])
        assert carry is not None
        return _join(b, gates), carry, carried

    return _layer(b, s, g, back)


def _layer(b: Emit, s: Site, g: Sequence[Value | None], back: _Back) -> list[Value | None]:
    """Takes the directions apart, runs ``back`` on each, and adds up what they say about x."""
    x = s.input(0)
    (steps,) = need_static(x, slice(0, 1))
    names = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    d_x: Value | None = None
    d_first: dict[int, list[Value]] = {5: [], 6: []}
    for index, reverse in enumerate(names[s.attr("direction", "forward")]):
        direction = _direction(b, s, index, steps, reverse)
        gates, state, cell = back(direction, _arriving(b, g, index, steps))
        share = like(b.MatMul(gates, direction.weight), x)
        d_x = share if d_x is None else b.Add(d_x, share)
        d_first[5].append(state)
        d_first[6] += [cell] if cell is not None else []
    answers: list[Value | None] = [d_x, *[None] * (len(s.x) - 1)]
    for i, parts in d_first.items():
        if s.has(i) and s.wants[i]:
            answers[i] = b.Concat(*parts, axis=0) if len(parts) > 1 else parts[0]
    return answers


def _direction(b: Emit, s: Site, index: int, steps: int, reverse: bool) -> _Direction:
    hidden = s.attr("hidden_size")
    weight, recurrence = (b.Squeeze(_part(b, s.input(i), index, 0), [0]) for i in (1, 2))
    inputs, bias = b.MatMul(s.input(0), b.Transpose(weight, perm=[1, 0])), None
    if s.has(3):
        both = b.Squeeze(_part(b, s.input(3), index, 0), [0])
        gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[s.op] * hidden
        of_inputs, bias = b.many("Split", 2, both, [gates, gates], axis=0)
        inputs = b.Add(inputs, of_inputs)
    states = b.Squeeze(_part(b, _states(b, s), index, 1), [1])
    first, cell = (_part(b, s.input(i), index, 0) if s.has(i) else None for i in (5, 6))
    if first is None:
        first = zeros_like(b, b.Slice(states, [0], [1], [0]))
    if reverse:
        previous = b.Concat(b.Slice(states, [1], [steps], [0]), first, axis=0) if steps > 1 else first
    else:
        previous = b.Concat(first, b.Slice(states, [0], [steps - 1], [0]), axis=0) if steps > 1 else first
    order = range(steps - 1, -1, -1) if reverse else range(steps)
    return _Direction(index, order, inputs, previous, weight, recurrence, bias, cell)


def _states(b: Emit, s: Site) -> Value:
    """Returns the output with every state; computed again where the forward node leaves it out."""
    if s.y[0].name:
        return s.y[0]
    states = b.op(s.op, s.x, s.attributes(), outputs=len(s.y))
    return states[0]


def _arriving(b: Emit, g: Sequence[Value | None], index: int, steps: int) -> _Arriving:
    given = [*g, None, None, None][:3]
    every: list[Value | None] = [None] * steps
    if given[0] is not None:
        every = [*_split(b, b.Squeeze(_part(b, given[0], index, 1), [1]), steps)]
    state, cell = (None if value is None else _part(b, value, index, 0) for value in given[1:])
    return _Arriving(every, state, cell)


def _part(b: Emit, value: Value, index: int, axis: int) -> Value:
    return b.Slice(value, [index], [index + 1], [axis])


def _split(b: Emit, value: Value, steps: int) -> list[Value]:
    """Takes the steps apart; each keeps a time axis of size 1."""
    return [value] if steps == 1 else list(b.many("Split", steps, value, [1] * steps, axis=0))


def _join(b: Emit, steps: Sequence[Value | None]) -> Value:
    there = [step for step in steps if step is not None]
    return b.Concat(*there, axis=0) if len(there) > 1 else there[0]


def _sum(b: Emit, model: Value, *shares: Value | None) -> Value:
    """Adds what is there; zeros like ``model`` where nothing is."""
    there = [share for share in shares if share is not None]
    if not there:
        return zeros_like(b, model)
    total = there[0]
    for share in there[1:]:
        total = b.Add(total, share)
    return total


def _tanh_slope(b: Emit, y: Value) -> Value:
    return b.Sub(b.scalar(1.0, y), b.Mul(y, y))


def _sigmoid_slope(b: Emit, y: Value) -> Value:
    return b.Sub(y, b.Mul(y, y))
