"""Rules that follow from writing an operator out in others, which have rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from xgraph.graph.emit import Emit, Value
from xgraph.graph.site import Site
from xgraph.graph.walk import Needs, Rule, nodes_between, pull
from xgraph.rules.book import Book

Spelling: TypeAlias = Callable[[Emit, Site], Sequence["Value | None"]]
"""Emits what a node computes in other operators; one value per output, None for outputs without a gradient."""


def through(book: Book, *ops: str, needs: Needs | None = None) -> Callable[[Spelling], Spelling]:
    """Registers, for ``ops``, the rule that pulls cotangents through what a spelling emits.

    The node itself stays as it is: only those values of the spelling are computed that its rules read.
    """

    def register(spelling: Spelling) -> Spelling:
        book(*ops, needs=needs)(pulled_through(book, spelling))
        return spelling

    return register


def pulled_through(book: Book, spelling: Spelling) -> Rule:
    """Returns the rule that pulls cotangents through what ``spelling`` emits."""

    def rule(b: Emit, s: Site, *incoming: Value | None) -> Sequence[Value | None]:
        arrived = seeds(b, spelling(b, s), incoming)
        # What is read twice gets its whole gradient once.
        wanted = list(dict.fromkeys(x for x, wanted in zip(s.x, s.wants, strict=True) if x is not None and wanted))
        # What computes the node's operands is walked by whoever walks the node.
        spelled = nodes_between([x for x in s.x if x is not None], list(arrived))
        found = dict(zip(wanted, pull(b, spelled, book.lookup, arrived, wanted), strict=True))
        return [None if x is None or not wants else found.pop(x, None) for x, wants in zip(s.x, s.wants, strict=True)]

    return rule


def seeds(b: Emit, values: Sequence[Value | None], incoming: Sequence[Value | None]) -> dict[Value, Value]:
    """Returns what arrives at each of ``values``; one that stands at several places gets the sum."""
    arrived: dict[Value, Value] = {}
    for value, g in zip(values, incoming, strict=True):
        if value is not None and g is not None:
            # A spelling may know more of a shape than inference knows of the node's output.
            g.shape = value.shape if g.shape is None else g.shape
            arrived[value] = b.Add(arrived[value], g) if value in arrived else g
    return arrived
