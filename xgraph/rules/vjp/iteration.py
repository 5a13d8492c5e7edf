"""What Loop and Scan have in common when they are walked back.

With states ``h' = f(h, x, c)`` and outputs ``y = k(h, x, c)`` of every iteration, slices ``x`` and captured values
``c``, the iterations are undone from the last to the first: ``dh = J_hᵀ (dh', dy)``, ``dx = J_xᵀ (dh', dy)``,
``dc += J_cᵀ (dh', dy)``. Each needs the state that it started from, so the iterations run once more and keep them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xgraph.graph.body import Body, Graph, stack_of
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import is_float
from xgraph.graph.site import Site
from xgraph.graph.walk import ancestors, find_path, pull
from xgraph.rules.derived import seeds
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.shaping import zeros_like


@dataclass(frozen=True, slots=True)
class Steps:
    """A Loop or Scan, whose parts stand in the same order: what leads, the states, and what comes in slices."""

    site: Site
    lead: int
    """How many inputs come before the states: in a Loop, those that say how often."""
    states: int

    @classmethod
    def of_loop(cls, s: Site) -> Steps:
        """Returns the steps of a Loop."""
        return cls(s, 2, len(s.node.inputs) - 2)

    @classmethod
    def of_scan(cls, s: Site) -> Steps:
        """Returns the steps of a Scan."""
        return cls(s, 0, len(s.node.inputs) - s.attr("num_scan_inputs"))

    @property
    def body(self) -> Graph:
        """What happens in one step."""
        return self.site.attr("body")  # type: ignore[no-any-return]

    @property
    def first(self) -> list[Value]:
        """The states before the first step."""
        return [self.site.input(self.lead + i) for i in range(self.states)]

    @property
    def entering(self) -> list[Value]:
        """The states as the body receives them."""
        return list(self.body.inputs[self.lead : self.lead + self.states])

    @property
    def outputs(self) -> list[Value]:
        """The states as the body leaves them, then what it gives in every step; without a Loop's condition."""
        return list(self.body.outputs[1 if self.lead else 0 :])


@dataclass(frozen=True, slots=True)
class Backwards:
    """What a body that walks back starts from and gives."""

    steps: Steps
    states: Sequence[int]
    """The states that carry a cotangent."""
    captured: Sequence[Value]
    """The captured values that get one."""
    sliced: Sequence[int]
    """The sliced inputs that get one."""
    start: Sequence[Value]
    """What arrives at the last states, and zeros to add up the shares of captured values."""

    def answers(self, results: Sequence[Value]) -> list[Value | None]:
        """Puts what the node that walks back returns into the order of ``Site.x``."""
        s, n, lead = self.steps.site, len(self.states), self.steps.lead
        places = [lead + i for i in self.states]
        of_inputs = dict(zip(places, results[:n], strict=True))
        rest = results[len(self.start) :]
        of_inputs.update(zip([lead + self.steps.states + i for i in self.sliced], rest, strict=True))
        return answers(s, of_inputs, dict(zip(self.captured, results[n : len(self.start)], strict=True)))


def captured(s: Site) -> list[Value]:
    """Returns the captured values that are wanted."""
    pairs = list(zip(s.x, s.wants, strict=True))[len(s.node.inputs) :]
    return [x for x, wanted in pairs if wanted and x is not None]


def answers(s: Site, of_inputs: Mapping[int, Value], of_captured: Mapping[Value, Value]) -> list[Value | None]:
    """Puts cotangents of inputs, by number, and of captured values into the order of ``Site.x``."""
    count = len(s.node.inputs)
    behind = [None if x is None else of_captured.get(x) for x in s.x[count:]]
    return [*(of_inputs.get(i) if s.wants[i] else None for i in range(count)), *behind]


def walk_back(
    b: Emit,
    body: Body,
    steps: Steps,
    g: Sequence[Value | None],
    received: Sequence[Value],
    arriving: Sequence[Value | None],
) -> Backwards:
    """Writes one step backwards into ``body``: states first, then sums for captured values, then slices.

    Args:
        b: the graph around the body.
        body: gets the cotangents of states and the sums as its next inputs.
        steps: what is walked back.
        g: what arrives at the outputs of the node.
        received: what the forward body receives in the step, one value per input.
        arriving: what arrives at what the forward body gives in the step, apart from states.
    """
    s, inner = steps.site, body.b
    carried = _carried(steps, g)
    cotangents = {i: body.parameter(steps.entering[i]) for i in carried}
    before = len(body.graph)
    outputs = body.replay(steps.body, received)[-len(g) :]
    nodes = list(body.graph)[before:]
    sliced = [i for i in range(len(received) - steps.lead - steps.states) if s.wants[steps.lead + steps.states + i]]
    states = [received[steps.lead + i] for i in carried]
    slices = [received[steps.lead + steps.states + i] for i in sliced]
    incoming = [*(cotangents.get(i) for i in range(steps.states)), *arriving]
    wanted = [*states, *captured(s), *slices]
    found = dict(zip(wanted, pull(inner, nodes, vjp.lookup, seeds(inner, outputs, incoming), wanted), strict=True))
    for state, cotangent in zip(states, cotangents.values(), strict=True):
        body.result(found[state] or zeros_like(inner, cotangent))
    reached = [c for c in captured(s) if found[c] is not None]
    for c in reached:
        body.result(inner.Add(body.parameter(c), found[c]))
    sliced = [i for i, value in zip(sliced, slices, strict=True) if found[value] is not None]
    for i in sliced:
        share = found[received[steps.lead + steps.states + i]]
        assert share is not None
        body.result(share)
    body.prune()
    last = [g[i] or zeros_like(b, steps.first[i]) for i in carried]
    return Backwards(steps, carried, reached, sliced, [*last, *(zeros_like(b, c) for c in reached)])


def again(b: Emit, steps: Steps, read: Sequence[int]) -> list[Value]:
    """Emits the node once more, and returns what its body receives at the inputs ``read``, stacked along axis 0."""
    s, body = steps.site, Body(b)
    received = [body.parameter(value) for value in steps.body.inputs]
    outputs = body.replay(steps.body, received)
    for value in outputs[: len(outputs) - len(s.y) + steps.states]:
        body.result(value)
    for i in read:
        body.result(received[i])
    body.prune()
    likes = [*steps.first, *(stack_of(b, received[i]) for i in read)]
    kept = ("num_scan_inputs", "scan_input_axes", "scan_input_directions")
    attributes = {name: s.attr(name) for name in kept} | {"body": body.graph}
    return list(b.op(s.op, s.node.inputs, attributes, outputs=len(likes), like=likes)[steps.states :])


def _carried(steps: Steps, g: Sequence[Value | None]) -> list[int]:
    """Returns the states that carry cotangents: they depend on what is wanted, and what arrives depends on them."""
    s, entering, outputs = steps.site, steps.entering, steps.outputs
    nodes = list(steps.body)
    floats = [i for i in range(steps.states) if is_float(entering[i])]
    asked = {y for y, share in zip(outputs, g, strict=True) if share is not None}
    while more := {outputs[i] for i in floats if entering[i] in ancestors(nodes, asked)} - asked:
        asked |= more
    active = {x for x, wanted in zip(steps.body.inputs, s.wants, strict=False) if wanted} | set(captured(s))
    while True:
        path = find_path(nodes, vjp.lookup, asked, active)
        reached = active | {y for node, _, wants in path if any(wants) for y in node.outputs}
        more = {entering[i] for i in floats if outputs[i] in reached & asked} - active
        if not more:
            return [i for i in floats if entering[i] in active and outputs[i] in asked]
        active |= more
