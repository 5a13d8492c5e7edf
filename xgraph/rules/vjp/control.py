"""If, Loop and Scan: what arrives at their outputs is pulled back through their bodies, in bodies of the same kind.

A body that is walked backwards computes its forward values again. If asks the branch that is taken; Loop and Scan are
walked back step by step (see ``iteration``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xgraph.graph.body import Body, is_random, is_tensor, scalar, stack_of, stand_in
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import Dim, dims, is_float
from xgraph.graph.site import Site
from xgraph.graph.walk import pull
from xgraph.rules.derived import seeds
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.iteration import Steps, again, answers, captured, walk_back
from xgraph.rules.vjp.shaping import zeros_like

_RANDOM = "a body without random numbers, which would be others when it is computed again"


def _if_lack(s: Site) -> str | None:
    return _RANDOM if any(is_random(s.attr(name)) for name in ("then_branch", "else_branch")) else None


@vjp("If", needs=_if_lack)
def if_(b: Emit, s: Site, *g: Value | None) -> Sequence[Value | None]:
    """One If under the same condition, whose branches give the cotangents of what either of them captures."""
    wanted = captured(s)
    branches = []
    for name in ("then_branch", "else_branch"):
        body = Body(b)
        outputs = body.replay(s.attr(name), [])
        nodes = list(body.graph)
        arriving = [None if share is None else _shaped(body.b, share, y) for share, y in zip(g, outputs, strict=True)]
        branches.append((name, body, pull(body.b, nodes, vjp.lookup, seeds(body.b, outputs, arriving), wanted)))
    reached = [i for i in range(len(wanted)) if any(shares[i] is not None for _, _, shares in branches)]
    if not reached:
        return [None] * len(s.x)
    for _, body, shares in branches:
        for i in reached:
            share = shares[i]
            body.result(zeros_like(body.b, wanted[i]) if share is None else share)
        body.prune()
    likes = [wanted[i] for i in reached]
    bodies = {name: body.graph for name, body, _ in branches}
    results = b.op("If", [s.input(0)], bodies, outputs=len(likes), like=likes)
    return answers(s, {}, dict(zip(likes, results, strict=True)))


def _shaped(b: Emit, g: Value, y: Value) -> Value:
    """Returns ``g`` with the shape that one branch knows its output to have; of both together it may be less."""
    if dims(g) == dims(y):
        return g
    known = b.Identity(g)
    known.shape = y.shape
    return known


def _loop_lack(s: Site) -> str | None:
    steps = Steps.of_loop(s)
    for first, entering, leaving in zip(steps.first, steps.entering, steps.outputs, strict=False):
        if not is_tensor(entering):
            return f"the state '{entering.name}' to be a tensor"
        if is_float(entering) and (_changes(first, entering) or _changes(entering, leaving)):
            return f"the state '{entering.name}' to have the same shape in every iteration"
    return _RANDOM if is_random(steps.body) else None


def _scan_lack(s: Site) -> str | None:
    return _RANDOM if is_random(s.attr("body")) else None


def _changes(before: Value, after: Value) -> bool:
    """Tells whether a state is known to change its shape; where that is open, running it will tell."""

    def changes(x: Dim, y: Dim) -> bool:
        if isinstance(x, int) and isinstance(y, int):
            return x != y
        # One row broadcasts to any size, and a size like "n + 1" grows.
        return x == 1 or (x != y and isinstance(x, str) and isinstance(y, str) and x in y)

    a, z = dims(before), dims(after)
    return a is None or z is None or len(a) != len(z) or any(changes(x, y) for x, y in zip(a, z, strict=True))


@vjp("Loop", needs=_loop_lack)
def loop(b: Emit, s: Site, *g: Value | None) -> Sequence[Value | None]:
    """One Loop more keeps the states, another walks back: a Scan would need an iteration, and there may be none."""
    steps, body = Steps.of_loop(s), Body(b)
    turn, going = body.parameter(scalar(b, np.int64)), body.parameter(scalar(b, np.bool_))
    body.result(going)
    # Counted from the end: the number of iterations need not be known.
    at = body.b.Sub(body.b.Neg(turn), 1)
    still = b.constant(np.asarray(True))
    kept = {i: stack_of(b, value) for i, value in enumerate(steps.body.inputs) if i != 1}
    received = [still if i == 1 else body.b.Gather(kept[i], at, axis=0) for i in range(len(steps.body.inputs))]
    arriving = [
        None if share is None else _shaped(body.b, body.b.Gather(share, at, axis=0), y)
        for share, y in zip(g[steps.states :], steps.outputs[steps.states :], strict=True)
    ]
    back = walk_back(b, body, steps, g, received, arriving)
    if not back.start:
        return [None] * len(s.x)
    # The numbers of the iterations are kept in any case: they tell how many there were.
    read = [i for i, stack in kept.items() if i == 0 or stack.uses()]
    stacks = again(b, steps, read)
    for i, stack in zip(read, stacks, strict=True):
        kept[i].replace_all_uses_with(stack)
    count = b.Squeeze(b.Shape(stacks[0], start=0, end=1), [0])
    inputs = [count, still, *back.start]
    return back.answers(b.op("Loop", inputs, {"body": body.graph}, outputs=len(back.start), like=back.start))


@vjp("Scan", needs=_scan_lack)
def scan(b: Emit, s: Site, *g: Value | None) -> Sequence[Value | None]:
    """One Scan more keeps the states, another walks back over all slices in the opposite direction."""
    steps, body = Steps.of_scan(s), Body(b)
    n = steps.states
    received = [stand_in(b, value) for value in steps.body.inputs]
    arriving = [None if share is None else stand_in(b, y) for share, y in zip(g[n:], steps.outputs[n:], strict=True)]
    back = walk_back(b, body, steps, g, received, arriving)
    if not back.start and not back.sliced:
        return [None] * len(s.x)
    sources = [s.input(i) for i in range(n, len(received))]
    places = _places(s, "input", len(sources))
    scanned = list(zip(received[n:], sources, places, strict=True))
    pairs = zip(arriving, g[n:], _places(s, "output", len(arriving)), strict=True)
    scanned += [(slot, share, place) for slot, share, place in pairs if slot is not None and share is not None]
    # One of them tells the number of iterations, be it read or not.
    scanned = [item for item in scanned if item[0].uses()] or scanned[:1]
    read = [i for i in range(n) if received[i].uses()]
    if read:
        stacks = again(b, steps, read)
        scanned += [(received[i], stack, (0, 1)) for i, stack in zip(read, stacks, strict=True)]
    body.parameters([slot for slot, _, _ in scanned])
    given = [places[i] for i in back.sliced]
    results = b.op(
        "Scan",
        [*back.start, *(source for _, source, _ in scanned)],
        {
            "body": body.graph,
            "num_scan_inputs": len(scanned),
            "scan_input_axes": [axis for _, _, (axis, _) in scanned],
            "scan_input_directions": [direction for _, _, (_, direction) in scanned],
            "scan_output_axes": [axis for axis, _ in given] or None,
            "scan_output_directions": [direction for _, direction in given] or None,
        },
        outputs=len(back.start) + len(given),
        like=[*back.start, *(sources[i] for i in back.sliced)],
    )
    return back.answers(results)


def _places(s: Site, which: str, count: int) -> list[tuple[int, int]]:
    """Returns the axis of each scanned input or output, and the direction opposite to the forward one."""
    axes = s.ints(f"scan_{which}_axes", [0] * count)
    directions = s.ints(f"scan_{which}_directions", [0] * count)
    return [(axis, 1 - direction) for axis, direction in zip(axes, directions, strict=True)]
