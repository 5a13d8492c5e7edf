"""What a method asks for, as plain data: recipes (what a graph computes) and plans (how it is driven).

Nothing here holds a class, an input or a graph, so recipes are hashable and a compiled graph serves every class.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from xgraph.errors import LayerError
from xgraph.of import Of

Seed: TypeAlias = Literal["index", "given"]
Perturbation: TypeAlias = Literal["noise", "relative_noise", "mean_noise", "path"]
Mask: TypeAlias = Literal["segments", "window", "grid", "maps", "given", "reuse"]
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
    """What becomes of activation and cotangent: a name in ``xgraph.rules.readout``. Of a forward graph ``score``: one
    number per row and target, ``xg_score``, is all that it returns; ``clean``: the clean activations that windows
    reuse."""
    options: tuple[tuple[str, Any], ...] = ()
    """Options of the readout, or of the mask."""
    mask: Mask | None = None
    """How the values ``at`` are masked: the samples go in once, and a small code of each mask. ``reuse``: windows, of
    which only what they reach is computed anew."""
    reduce: Literal["sum"] | None = None
    """``sum``: the last axis of the result is added up, which makes one number of a token's embedding."""
    perturb: tuple[Perturbation, ...] = ()
    """How the values ``at`` are perturbed before anything is computed from them, in this order."""
    at: tuple[Wrt, ...] = ()
    difference: Literal["path", "sample"] | None = None
    """The readout is multiplied by what the path covers, or by the sample (without its noise) minus the baseline."""
    taps: tuple[str, ...] = ()
    """Forward values that are outputs too."""

    @property
    def ahead(self) -> bool:
        """Whether the graph runs at other inputs than the samples, whose class is therefore looked up before."""
        return bool(self.perturb) or self.readout == "score"

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
        fields["options"] = tuple((name, _frozen(value)) for name, value in fields["options"])
        fields["taps"] = tuple(fields["taps"])
        return cls(**fields)


def _frozen(value: Any) -> Any:
    """Returns what was a tuple before it was JSON as a tuple again."""
    return tuple(_frozen(entry) for entry in value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Samples:
    """What one call explains."""

    inputs: Feeds
    """By input name, first axis = sample rows."""
    shapes: Shapes = ()
    """Of the perturbed values (the recipe's ``at``), without the batch axis."""
    seed: int = 0
    """Of random draws."""
    first_row: int = 0
    """Number of row 0 among all rows that share the seed; draws go by number."""
    classes: np.ndarray | None = None
    """int64 (rows, targets), the explained classes; None where the target is no class."""
    explained: np.ndarray | None = None
    """float64 (rows, classes), what the target picks from, at the samples themselves."""
    scores: np.ndarray | None = None
    """float64 (rows, targets), the explained numbers of the samples themselves."""
    pictures: Callable[[str], np.ndarray] | None = None
    """Returns an image input as uint8 (rows, height, width, 3), the way a person sees it."""
    feed: Callable[[str, np.ndarray], np.ndarray] | None = None
    """Returns what the model is fed for such pictures."""
    earlier: Feeds = field(default_factory=dict)
    """What the stages before this one returned."""
    offset: int = 0
    """Number of row 0 among the rows of the call, where this is a part of them."""
    whole: int | None = None
    """How many rows the call has; None: these are all."""

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(next(iter(self.inputs.values())))

    def row(self, number: int) -> Samples:
        """Returns one of them alone."""
        one = slice(number, number + 1)
        pictures = self.pictures
        return replace(
            self,
            inputs={name: array[one] for name, array in self.inputs.items()},
            first_row=self.first_row + number,
            classes=None if self.classes is None else self.classes[one],
            explained=None if self.explained is None else self.explained[one],
            scores=None if self.scores is None else self.scores[one],
            pictures=None if pictures is None else lambda name: pictures(name)[one],
            offset=number,
            whole=self.rows,
        )

    def own(self, given: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """Returns these rows' part of an array of ``(all rows of the call, *shape)``; any other array as it is."""
        if self.whole is None or given.shape != (self.whole, *shape):
            return given
        return given[self.offset : self.offset + self.rows]


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
    sources: np.ndarray | None = None
    """int64[sources]: the sample rows that ``shared`` holds, and that the pairs point into (``xg_row``); None: there is
    nothing shared."""
    shared: Feeds = field(default_factory=dict)
    """Feeds that the graph itself repeats for its pairs; first axis: the sources, or nothing that has to do with
    rows."""
    features: np.ndarray | None = None
    """float64 (pairs, features), what a surrogate takes the pairs for, where that is not the bits of a mask."""


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


class Draws(Protocol):
    """The draws of one call. A draw depends on (seed, row number, draw) and on nothing else."""

    @property
    def counts(self) -> np.ndarray:
        """int64[rows], the draws of each sample row."""

    def batch(self, rows: np.ndarray, draws: np.ndarray) -> Batch:
        """Returns the feeds of the pairs ``zip(rows, draws)``, rows in rising order."""


class Sampler(Protocol):
    """Where model inputs come from."""

    @property
    def draws(self) -> int:
        """Draws per sample row; 0 where that depends on the sample."""

    @property
    def in_graph(self) -> Steps | None:
        """What one graph loops over to draw the same; None: what is drawn comes from outside, or there is no loop."""

    def open(self, samples: Samples) -> Draws:
        """Returns the draws of these samples."""


def feed_name(kind: Literal["noise", "baseline", "labels"], part: int, parts: int) -> str:
    """Returns the graph input that perturbs value number ``part`` of ``parts``."""
    return f"xg_{kind}" if parts == 1 else f"xg_{kind}_{part}"


class Reducer(Protocol):
    """Folds program outputs into one result per sample row, in memory that does not grow with draws."""

    def start(self, draws: Draws) -> Any:
        """Returns an empty state for the rows of ``draws``."""

    def update(self, state: Any, outputs: Mapping[str, np.ndarray], batch: Batch) -> Sequence[int] | np.ndarray | None:
        """Adds a batch; returns the rows that need no more draws, if any."""

    def finish(self, state: Any) -> Mapping[str, Any]:
        """Returns by output name an array, first axis = sample rows; of ``xg_score`` a ``Finding``."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the scores of perturbed samples say about the samples; the first axis of everything is their rows."""

    values: tuple[np.ndarray, ...]
    """One array per perturbed value."""
    checks: Feeds = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def joined(cls, findings: Sequence[Finding]) -> Finding:
        """Returns the finding of all rows of several ones."""

        def together(entries: Sequence[Any]) -> Any:
            first = entries[0]
            if isinstance(first, np.ndarray):
                return np.concatenate(entries)
            return tuple(x for entry in entries for x in entry) if isinstance(first, tuple) else first

        if len(findings) == 1:
            return findings[0]
        first = findings[0]
        return cls(
            tuple(np.concatenate(parts) for parts in zip(*(one.values for one in findings), strict=True)),
            {name: np.concatenate([one.checks[name] for one in findings]) for name in first.checks},
            {name: together([one.details[name] for one in findings]) for name in first.details},
        )


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
    by_row: bool = False
    """Stages run sample by sample, because what one returns for the next is large."""
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
