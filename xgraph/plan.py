"""What a method asks for, as plain data: recipes (what a graph computes) and plans (how it is driven).

Nothing here holds a class, an input or a graph, so recipes are hashable and a compiled graph serves every class.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from xgraph.errors import LayerError
from xgraph.of import Of

Seed: TypeAlias = Literal["index", "given"]
Perturbation: TypeAlias = Literal["noise", "relative_noise", "mean_noise", "path"]
Feeds: TypeAlias = Mapping[str, np.ndarray]
Shapes: TypeAlias = Sequence[tuple[int, ...]]
ALPHA = "xg_alpha"
"""Graph input: the position on the path, one number per row."""


@dataclass(frozen=True, slots=True)
class Wrt:
    """With respect to what: an input, a layer's activation, or the embedding of a token input."""

    kind: Literal["input", "layer", "embedding", "attention"]
    name: str

    @classmethod
    def parse(cls, text: str) -> Wrt:
        """Reads ``"input:image"``, ``"layer:NAME"``, ``"embedding:ids"`` or ``"attention:K"``.

        Raises:
            LayerError: The text has none of these forms.
        """
        kind, _, name = text.partition(":")
        if kind not in ("input", "layer", "embedding", "attention") or not name:
            raise LayerError(
                f"wrt='{text}' is not understood; write 'input:NAME', 'layer:NAME', 'embedding:INPUT' or 'attention:K'"
            )
        return cls(kind, name)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one explanation graph computes."""

    output: str
    """The explained model output."""
    book: str | None = None
    """The rule book that pulls back; None: a forward graph."""
    of: Of = "logit"
    seed: Seed = "index"
    """``index``: the graph has the input ``xg_target``; ``given``: it has ``xg_seed``."""
    targets: int = 1
    """How many targets one run explains; they share the forward pass."""
    wrt: tuple[Wrt, ...] = ()
    readout: str = "cotangent"
    """What becomes of activation and cotangent: a name in ``xgraph.rules.readout``."""
    options: tuple[tuple[str, Any], ...] = ()
    """Options of the readout."""
    reduce: Literal["sum"] | None = None
    """``sum``: the last axis of the result is added up, which makes one number of a token's embedding."""
    perturb: tuple[Perturbation, ...] = ()
    """How the values ``at`` are perturbed before anything is computed from them, in this order."""
    at: tuple[Wrt, ...] = ()
    difference: Literal["path", "sample"] | None = None
    """The readout is multiplied by what the path covers, or by the sample (without its noise) minus the baseline."""
    taps: tuple[str, ...] = ()
    """Forward values that are outputs too."""

    def key(self) -> str:
        """Returns a short digest that is the same in every process."""
        return sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Returns the recipe as JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Recipe:
        """Returns the recipe that ``to_json`` wrote."""
        fields = dict(data)
        fields["wrt"] = tuple(Wrt(**wrt) for wrt in fields["wrt"])
        fields["at"] = tuple(Wrt(**wrt) for wrt in fields["at"])
        fields["perturb"] = tuple(fields["perturb"])
        fields["options"] = tuple((name, value) for name, value in fields["options"])
        fields["taps"] = tuple(fields["taps"])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Batch:
    """Model feeds for some (sample row, draw) pairs. First axis of every feed: the pairs."""

    rows: np.ndarray
    """Which sample each pair belongs to: int64[pairs]."""
    draws: np.ndarray
    """Which draw of that sample it is: int64[pairs]."""
    feeds: Feeds
    weights: np.ndarray
    """float64[pairs], what a weighted reducer multiplies with."""


class Steps(Protocol):
    """Draws that are the same for every sample, so that one graph can hold them and loop over them."""

    @property
    def positions(self) -> np.ndarray:
        """The position of every draw on the path, float32."""

    @property
    def draw_weights(self) -> np.ndarray:
        """The weight of every draw; they sum to 1."""

    def fixed_baselines(self, shape: Sequence[int | str | None]) -> np.ndarray:
        """Returns the baseline of every draw as ``(draws, 1, ...)``, for values of ``shape`` with the batch axis."""


class Sampler(Protocol):
    """Where model inputs come from. A draw depends on (seed, row number, draw) and on nothing else."""

    @property
    def draws(self) -> int:
        """Draws per sample row."""

    @property
    def in_graph(self) -> Steps | None:
        """What one graph loops over to draw the same; None: what is drawn comes from outside, or there is no loop."""

    def batch(
        self, inputs: Feeds, shapes: Shapes, rows: np.ndarray, draws: np.ndarray, seed: int, first_row: int = 0
    ) -> Batch:
        """Returns the feeds of the pairs ``zip(rows, draws)``.

        Args:
            inputs: the samples, by input name.
            shapes: of the perturbed values (the recipe's ``at``), without the batch axis.
            rows: sample row of each pair, in rising order.
            draws: draw of each pair.
            seed: of random draws.
            first_row: number of row 0 among all rows that share the seed; draws go by number.
        """


def feed_name(kind: Literal["noise", "baseline"], part: int, parts: int) -> str:
    """Returns the graph input that perturbs value number ``part`` of ``parts``."""
    return f"xg_{kind}" if parts == 1 else f"xg_{kind}_{part}"


class Reducer(Protocol):
    """Folds program outputs into one result per sample row, in memory that does not grow with draws."""

    def start(self, rows: int) -> Any:
        """Returns an empty state for so many samples."""

    def update(self, state: Any, outputs: Mapping[str, np.ndarray], batch: Batch) -> bool:
        """Adds a batch; True says that no more draws are needed."""

    def finish(self, state: Any) -> dict[str, np.ndarray]:
        """Returns the arrays by output name, first axis = sample rows."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One graph, what is fed to it, and what becomes of what it returns."""

    recipe: Recipe
    sampler: Sampler
    reducer: Reducer


@dataclass(frozen=True, slots=True)
class Plan:
    """A method for one model: stages in the order they run; the last one gives the attribution."""

    stages: tuple[Stage, ...]
    names: tuple[str, ...]
    """What is explained, in the order of the last recipe's ``wrt``: the keys of ``Attribution.values``."""
    ends: Stage | None = None
    """Gives the explained output at the baselines; with it the completeness gap is computed."""
    refinements: tuple[Stage, ...] = ()
    """Each halves the distance between the nodes so far: the result is the mean of the old one and its own."""
    tolerance: float | None = None
    """Rows whose completeness gap is below this share of the difference need no (further) refinement; None: no row."""

    @property
    def recipes(self) -> Sequence[Recipe]:
        """The recipes of all stages."""
        return [stage.recipe for stage in self.stages]
