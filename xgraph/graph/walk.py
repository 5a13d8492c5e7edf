"""The reverse walker: one for every rule book.

Given cotangents (or relevance) at some values, it visits the nodes between them and the values asked for in
reverse order, asks a book for each node's rule, and adds up what arrives. What is common to all rules is done
here and nowhere else: reachability, accumulation, un-broadcasting, arity, provenance, missing rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import onnx_ir as ir

from xgraph.errors import GraphError, ShapeUnknownError, UnsupportedOpError
from xgraph.graph.emit import Emit
from xgraph.graph.operands import operands
from xgraph.graph.shapes import dims, is_float, named_dims, rank
from xgraph.graph.site import Site

Rule: TypeAlias = Callable[..., Sequence["ir.Value | None"]]
Needs: TypeAlias = Callable[[Site], "str | None"]
"""What a node lacks for its rule to work, in words that follow "needs"; None: nothing."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a book says about one node: a rule, or the reason why it is a constant."""

    rule: Rule | None = None
    constant: str | None = None
    broadcasts: bool = False
    """The rule answers in the shape of the output; the walker sums to each input's shape."""
    needs: Needs | None = None
    """Tells what the rule asks of a node beyond its operator, such as a fixed axis."""
    integers: bool = False
    """The rule passes cotangents, which are floats, through integers that stand for quantised numbers."""

    def lack(self, site: Site) -> str | None:
        """Returns what the node lacks for the rule to work, such as ``"a fixed 'sequence' axis"``, or None."""
        return None if self.needs is None else self.needs(site)

    def describe(self, site: Site) -> str:
        """Returns ``rule``, ``rule, needs WHAT`` or ``constant: REASON``."""
        if self.rule is None:
            return f"constant: {self.constant}"
        lack = self.lack(site)
        return "rule" if lack is None else f"rule, needs {lack}"


Lookup: TypeAlias = Callable[[Site], "Entry | None"]


def pull(
    b: Emit,
    nodes: Sequence[ir.Node],
    lookup: Lookup,
    seeds: Mapping[ir.Value, ir.Value],
    wrt: Sequence[ir.Value],
) -> list[ir.Value | None]:
    """Pulls ``seeds`` (value -> what arrives there) back to the values ``wrt``.

    Args:
        b: where the derived nodes go.
        nodes: the forward nodes in topological order.
        lookup: the book.
        seeds: the explained values and their cotangents, of the same shape.
        wrt: the values asked for; they need not be graph inputs.

    Returns:
        One value per entry of ``wrt``, None where it is zero by mathematics.

    Raises:
        UnsupportedOpError: Nodes on the path have no rule (all of them are named), or one lacks what its rule needs.
        ShapeUnknownError: A rule needs a size that the graph does not tell.
    """
    path = find_path(nodes, lookup, seeds, wrt)
    arrived: dict[ir.Value, list[ir.Value]] = {value: [seed] for value, seed in seeds.items()}
    results: dict[ir.Value, ir.Value | None] = dict.fromkeys(wrt)
    for node, entry, wants in reversed(path):
        incoming = [_total(b, arrived.pop(value, [])) for value in node.outputs]
        results.update((value, g) for value, g in zip(node.outputs, incoming, strict=True) if value in results)
        if all(total is None for total in incoming) or not any(wants):
            continue
        site = Site(node, wants)
        with b.derived_from(node):
            outgoing = _apply(b, entry, site, incoming)
        for value, share in zip(operands(node), outgoing, strict=True):
            if value is not None and share is not None:
                arrived.setdefault(value, []).append(share)
    for value in wrt:
        if value in arrived:
            results[value] = _total(b, arrived[value])
    return [results[value] for value in wrt]


def find_path(
    nodes: Sequence[ir.Node],
    lookup: Lookup,
    seeds: Iterable[ir.Value],
    wrt: Iterable[ir.Value],
) -> list[tuple[ir.Node, Entry, list[bool]]]:
    """Returns the nodes between ``wrt`` and ``seeds`` with their entries and which inputs matter.

    Nodes that only produce a value of ``wrt`` (and depend on no other) are included with no input that
    matters, so that the walk passes their outputs.

    Raises:
        UnsupportedOpError: Some of them have no entry.
    """
    needed = ancestors(nodes, seeds)
    active = set(wrt)
    path = []
    missing: list[Site] = []
    for node in nodes:
        if not any(value in needed for value in node.outputs):
            continue
        wants = [value is not None and value in active for value in operands(node)]
        site = Site(node, wants)
        if not any(wants):
            if any(value in active for value in node.outputs):
                path.append((node, Entry(), wants))
            continue
        entry = lookup(site)
        if entry is None or (entry.rule is not None and not entry.integers and _reads_integers(site)):
            missing.append(site)
        elif entry.rule is not None:
            path.append((node, entry, wants))
        if entry is None or entry.rule is not None:
            integers = entry is not None and entry.integers
            active.update(value for value in node.outputs if integers or is_float(value))
    if missing:
        raise UnsupportedOpError(_missing_message(missing, lookup))
    return path


def ancestors(nodes: Sequence[ir.Node], seeds: Iterable[ir.Value]) -> set[ir.Value]:
    """Returns ``seeds`` and the values that they are computed from."""
    needed = set(seeds)
    for node in reversed(nodes):
        if any(value in needed for value in node.outputs):
            needed.update(value for value in operands(node) if value is not None)
    return needed


def _reads_integers(site: Site) -> bool:
    pairs = zip(site.x, site.wants, strict=True)
    return any(wanted and value is not None and not is_float(value) for value, wanted in pairs)


def _missing_message(missing: Sequence[Site], lookup: Lookup) -> str:
    by_op: dict[str, list[str]] = {}
    for site in missing:
        # What has a rule is here for the numbers that it reads.
        kind = site.op if lookup(site) is None else f"{site.op} that reads quantised integers"
        by_op.setdefault(kind, []).append(_name(site))
    listing = ", ".join(
        f"{op} ({len(names)} node{'s' if len(names) > 1 else ''}, first '{names[0]}')" for op, names in by_op.items()
    )
    return (
        f"no rule for {listing}; `xgraph inspect --coverage` lists every node; "
        "explain a layer after them (wrt='layer:NAME') or use a method that needs no gradient"
    )


def _apply(b: Emit, entry: Entry, site: Site, incoming: Sequence[ir.Value | None]) -> list[ir.Value | None]:
    assert entry.rule is not None
    lack = entry.lack(site)
    if lack is not None:
        raise UnsupportedOpError(
            f"no gradient for {site.op} '{_name(site)}': it needs {lack}; export the model so, explain a layer after "
            "it (wrt='layer:NAME') or use a method that needs no gradient"
        )
    try:
        outgoing = list(entry.rule(b, site, *incoming))
    except ShapeUnknownError as error:
        raise ShapeUnknownError(f"no gradient for {site.op} '{_name(site)}': {error}") from error
    except (IndexError, TypeError) as error:
        raise GraphError(
            f"no gradient for {site.op} '{_name(site)}': its operands are not what its rule expects ({error}); please "
            "report this model"
        ) from error
    if len(outgoing) != len(site.x):
        raise GraphError(f"the rule of {site.op} gave {len(outgoing)} answers for {len(site.x)} inputs")
    kept: list[ir.Value | None] = []
    for i, (share, wanted) in enumerate(zip(outgoing, site.wants, strict=True)):
        if share is None or not wanted:
            kept.append(None)
        elif entry.broadcasts:
            kept.append(unbroadcast(b, share, site.input(i), _beside(site, i)))
        else:
            kept.append(share)
    return kept


def _name(site: Site) -> str:
    return site.node.name or site.y[0].name or "?"


def _total(b: Emit, shares: Sequence[ir.Value]) -> ir.Value | None:
    if not shares:
        return None
    total = shares[0]
    for share in shares[1:]:
        total = b.Add(total, share)
    return total


_OWN_AXES = frozenset({"MatMul", "Einsum", "Expand"})
"""Operators that broadcast, but whose operands' last axes do not face one another."""


def _beside(site: Site, i: int) -> list[ir.Value]:
    """Returns the operands that input ``i`` was broadcast with."""
    if site.op in _OWN_AXES:
        return []
    return [x for j, x in enumerate(site.x) if x is not None and j != i]


def unbroadcast(b: Emit, g: ir.Value, x: ir.Value, beside: Sequence[ir.Value] = ()) -> ir.Value:
    """Sums ``g`` over the axes along which ``x`` was broadcast to the shape of ``g``.

    Of two sizes with different names either may be 1, whatever inference calls the result: where ``beside`` holds
    what ``x`` was broadcast with, that is decided when it runs.
    """
    have, want = dims(g), dims(x)
    if have is None or want is None:
        unknown = g if have is None else x
        raise ShapeUnknownError(f"the rank of '{unknown.name}' is not known, so its broadcast cannot be undone")
    lead = len(have) - len(want)
    if lead < 0:
        raise GraphError(f"'{g.name}' {named_dims(g)} cannot be the gradient of '{x.name}' {named_dims(x)}")
    if lead:
        g = b.ReduceSum(g, list(range(lead)), keepdims=0)
    have = have[lead:]
    pairs = list(zip(have, want, strict=True))
    summed = [axis for axis, (h, w) in enumerate(pairs) if w == 1 and h != 1]
    facing = [(dims(other) or ())[::-1] for other in beside]
    rivals = [{known[k] for known in facing if k < len(known)} for k in reversed(range(len(want)))]
    undecided = any(
        not isinstance(w, int) and (h != w or w is None or any(isinstance(r, str) and r != w for r in rival))
        for (h, w), rival in zip(pairs, rivals, strict=True)
    )
    if undecided:
        return _unbroadcast_at_run_time(b, g, x)
    return b.ReduceSum(g, summed, keepdims=1) if summed else g


def _unbroadcast_at_run_time(b: Emit, g: ir.Value, x: ir.Value) -> ir.Value:
    """Decides in the graph which axes of ``x`` have size 1 where ``g`` has more."""
    stretched = b.And(b.Equal(b.Shape(x), [1]), b.Not(b.Equal(b.Shape(g), [1])))
    axes = b.Squeeze(b.NonZero(stretched), [0])
    total = b.ReduceSum(g, axes, keepdims=1, noop_with_empty_axes=1)
    # The rank is kept and the sizes are those of x, which inference cannot see through computed axes.
    total.shape, total.type = x.shape, x.type
    assert rank(total) == rank(g)
    return total


def nodes_between(wrt: Sequence[ir.Value | None], results: Sequence[ir.Value]) -> list[ir.Node]:
    """Returns the nodes that compute ``results``, from ``wrt`` on, in topological order."""
    stop = set(wrt)
    found: dict[ir.Node, None] = {}
    stack = [(value.producer(), False) for value in reversed(results) if value not in stop]
    while stack:
        node, seen = stack.pop()
        if node is None or node in found:
            continue
        if seen:
            found[node] = None
            continue
        stack.append((node, True))
        stack.extend((v.producer(), False) for v in operands(node) if v is not None and v not in stop)
    return list(found)


__all__ = ["Entry", "Lookup", "Needs", "Rule", "ancestors", "find_path", "nodes_between", "pull", "unbroadcast"]
