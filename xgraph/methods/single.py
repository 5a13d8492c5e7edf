"""The plan of methods that are one backward pass over each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from xgraph.plan import Plan, Recipe, Stage
from xgraph.reducing import Take
from xgraph.sampling import Once

if TYPE_CHECKING:
    from xgraph.model import Model, Place
    from xgraph.target import Target


def pullback(
    model: Model,
    target: Target,
    places: Sequence[Place],
    readout: str,
    *,
    reduce: Literal["sum"] | None = None,
    **options: Any,
) -> Plan:
    """Returns the plan that pulls the target back to ``places`` and applies a readout there."""
    recipe = Recipe(
        output=model.output(target.output).name,
        book="vjp",
        of=target.of,
        seed=target.seed,
        wrt=tuple(place.wrt for place in places),
        readout=readout,
        options=tuple(sorted((name, value) for name, value in options.items() if value is not None)),
        reduce=reduce,
    )
    return Plan((Stage(recipe, Once(), Take()),), tuple(place.label for place in places))
