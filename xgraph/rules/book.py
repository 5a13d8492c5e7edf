"""A book of rules: operator -> rule or the reason why nothing flows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from xgraph.graph.site import Site
from xgraph.graph.walk import Entry, Needs, Rule


@dataclass(slots=True)
class Book:
    """Rules and constants by operator name; filled while its modules are imported, then only read."""

    name: str
    entries: dict[str, Entry] = field(default_factory=dict)

    def __call__(
        self, *ops: str, broadcasts: bool = False, needs: Needs | None = None, integers: bool = False
    ) -> Callable[[Rule], Rule]:
        """Registers a rule for ``ops``.

        Args:
            ops: operator names; those outside the default domain as ``"domain::Op"``.
            broadcasts: the rule answers in the shape of the output and the walker un-broadcasts.
            needs: tells what a node lacks for the rule to work, or None.
            integers: the rule passes cotangents through integers that stand for quantised numbers.
        """

        def register(rule: Rule) -> Rule:
            for op in ops:
                self._add(op, Entry(rule=rule, broadcasts=broadcasts, needs=needs, integers=integers))
            return rule

        return register

    def constant(self, reason: str, *ops: str) -> None:
        """Registers operators through which nothing flows, with the mathematical reason."""
        for op in ops:
            self._add(op, Entry(constant=reason))

    def lookup(self, site: Site) -> Entry | None:
        """Returns the entry for a node, or None where the book is silent."""
        return self.entries.get(site.op)

    def _add(self, op: str, entry: Entry) -> None:
        if op in self.entries:
            known = self.entries[op].rule
            place = f"{known.__module__}.{known.__name__}" if known else "the constants"
            raise ValueError(f"{op} is in the book '{self.name}' already, by {place}")
        self.entries[op] = entry
