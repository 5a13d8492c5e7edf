"""Model: a loaded graph and what it offers to explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xgraph.errors import InputError, LayerError, TargetError, nearest
from xgraph.graph.aside import left_aside
from xgraph.graph.incremental import Windows, plan_windows
from xgraph.graph.layers import Layer, resolve, target_layer
from xgraph.graph.patterns import Head, find_pooled_maps
from xgraph.graph.ports import Port
from xgraph.graph.reach import carriers, first_float
from xgraph.graph.shapes import dims
from xgraph.graph.splice import values_by_name
from xgraph.graph.types import Graph
from xgraph.plan import Wrt
from xgraph.preprocess import Preprocess
from xgraph.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Place:
    """A value that can be explained: how it was asked for, and what its values are called in a result."""

    wrt: Wrt
    label: str


@dataclass(frozen=True, slots=True)
class Compiled:
    """A graph of a bundle that is ready to run."""

    recipe: str
    """``Recipe.key`` of what it computes."""
    profile: str
    file: Path
    method: str = ""
    precision: str = "fp32"
    """What it was compiled to be run at."""
    digest: str = ""
    """SHA-256 of the file, where the bundle says it."""


@dataclass(frozen=True, eq=False)
class Model:
    """An exported model, normalised. Immutable; explanation graphs are made from copies.

    Load one with ``xgraph.load``.
    """

    graph: Graph = field(repr=False)
    """The normalised graph; belongs to the graph room."""
    digest: str
    """SHA-256 of the source files."""
    source: str
    """``"onnx"``, ``"paddle"`` or ``"paddle-legacy"``."""
    path: Path
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    layers: tuple[Layer, ...] = field(repr=False)
    attention: tuple[Layer, ...] = field(repr=False)
    """The layers that return attention probabilities (N, heads, queries, keys), in graph order."""
    heads: Mapping[str, Head] = field(repr=False)
    """Output name -> where its logits and probabilities are."""
    embeddings: Mapping[str, str] = field(repr=False)
    """Integer input -> the value that holds the embeddings it looks up."""
    opset: int
    batch: int | None = None
    """The batch size baked into the model, or None where it is free."""
    preprocess: Preprocess | None = None
    preprocess_problem: str = field(default="", repr=False)
    """Why the preprocessing spec beside the model cannot be used, if that is so."""
    vocabulary: Vocabulary | None = field(default=None, repr=False)
    """What the token numbers stand for, where the model's vocabulary lies beside it."""
    compiled: tuple[Compiled, ...] = field(default=(), repr=False)
    """Graphs that came with a bundle."""
    versions: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def aside(self) -> tuple[str, ...]:
        """What of the file is no tensor of numbers and was left aside, in words."""
        return left_aside(self.graph)

    def output(self, name: str | None = None) -> Port:
        """Returns the float output ``name``, by default the first one.

        Raises:
            TargetError: There is no such output.
        """
        if name is None:
            floats = [port for port in self.outputs if port.is_float]
            if not floats:
                raise TargetError("the model has no float output, so there is nothing to differentiate")
            return floats[0]
        for port in self.outputs:
            if port.name == name and port.is_float:
                return port
            if port.name == name:
                raise TargetError(f"the output '{name}' is {port.dtype}; only float outputs can be explained")
        names = [port.name for port in self.outputs]
        raise TargetError(f"the model has no output '{name}'{nearest(name, names) or _listed(names)}")

    def resolve_wrt(self, wrt: str | None, output: str | None = None) -> list[Place]:
        """Returns what ``wrt`` names; where it is None, what the default is.

        The default is the first of these that is not empty: the image inputs; the embeddings of the token inputs; the
        float inputs that are not masks. Inputs from which no path of floats leads to the explained output are left
        out of each. Everything else (sizes, scales, masks) is explained where ``wrt`` names it.

        Args:
            wrt: ``"input:NAME"``, ``"layer:NAME"``, ``"embedding:INPUT"``, ``"attention:K"`` or None.
            output: the explained output; None: the first one.

        Raises:
            LayerError: It does not exist, or cannot carry a gradient; or there is no default.
        """
        if wrt is not None:
            return [self._place(Wrt.parse(wrt))]
        groups = [
            [Wrt("input", port.name) for port in self.inputs if port.is_float and port.role == "image"],
            [Wrt("embedding", port.name) for port in self.inputs if port.role == "tokens"],
            [Wrt("input", port.name) for port in self.inputs if port.is_float and port.role not in ("image", "mask")],
        ]
        offered = [one for group in groups for one in group]
        if not offered:
            raise LayerError(
                "the model has no float input (but for masks) and no token embedding was found; "
                f"name a layer with {self._first_layer()}"
            )
        if len(offered) == 1:
            return [self._place(offered[0])]
        reached = carriers(self.graph, self.output(output).name)
        for group in groups:
            found = [self._place(one) for one in group if self.value_of(one) in reached]
            if found:
                return found
        listed = ", ".join(map(str, offered))
        raise LayerError(f"no input influences the output '{self.output(output).name}' ({listed}): every gradient is 0")

    def resolve_layer(self, name: str | None, output: str | None = None) -> Place:
        """Returns the layer ``name``; by default the last one with spatial axes on the way to an output.

        Raises:
            LayerError: There is none.
        """
        if name is not None:
            return self._place(Wrt("layer", name.removeprefix("layer:")))
        layer = target_layer(self.layers, carriers(self.graph, self.output(output).name))
        if layer is not None:
            return self._place(Wrt("layer", layer.name))
        raise LayerError(
            "the model has no layer with spatial axes; name one with layer='NAME' (`xgraph inspect --layers`)"
        )

    def pooled_maps(self, output: str | None = None) -> Place | None:
        """Returns the feature maps that the head of an output pools before one linear layer; None for other heads."""
        maps = find_pooled_maps(self.heads[self.output(output).name].logits)
        if maps is None or maps.name is None:
            return None
        named = next((layer.name for layer in self.layers if layer.value == maps.name), maps.name)
        return self._place(Wrt("layer", named))

    def value_of(self, wrt: Wrt) -> str:
        """Returns the name of the graph value behind ``wrt``.

        Raises:
            LayerError: It does not exist, or cannot carry a gradient.
        """
        names = [port.name for port in self.inputs]
        if wrt.kind == "layer":
            if wrt.name in names and all(layer.name != wrt.name for layer in self.layers):
                raise LayerError(f"'{wrt.name}' is an input, not a layer; {self._instead_of_layer(wrt.name)}")
            return resolve(self.graph, self.layers, wrt.name)
        if wrt.kind == "attention":
            if not wrt.name.isdigit() or int(wrt.name) >= len(self.attention):
                raise LayerError(
                    f"there is no attention map '{wrt.name}': the model has {len(self.attention)}, counted from 0"
                )
            return self.attention[int(wrt.name)].value
        if wrt.name not in names:
            raise LayerError(f"the model has no input '{wrt.name}'{nearest(wrt.name, names) or _listed(names)}")
        if wrt.kind == "input":
            port = self.inputs[names.index(wrt.name)]
            if not port.is_float:
                raise LayerError(
                    f"input '{wrt.name}' is {port.dtype}, which has no gradient; {self._instead_of_integers(wrt.name)}"
                )
            return wrt.name
        if wrt.name not in self.embeddings:
            raise LayerError(
                f"no embedding was found that input '{wrt.name}' looks up; name a layer with wrt='layer:NAME'"
            )
        return self.embeddings[wrt.name]

    def check_maps(self, place: Place, method: str) -> None:
        """Makes sure that a layer has maps (N, channels, height, width).

        Raises:
            LayerError: It has another number of axes.
        """
        shape = dims(values_by_name(self.graph)[self.value_of(place.wrt)]) or ()
        if len(shape) != 4:
            raise LayerError(
                f"{method}: the layer '{place.label}' has the shape {list(shape)}, not (N, channels, height, width); "
                "name another with layer='NAME'"
            )

    def masked_value(self, wrt: Wrt) -> str:
        """Returns the name of the graph value behind ``wrt`` that masks lie on; token numbers can be masked too.

        Raises:
            LayerError: It does not exist.
        """
        if wrt.kind == "input" and any(port.name == wrt.name for port in self.inputs):
            return wrt.name
        return self.value_of(wrt)

    def resolve_masked(self, wrt: str | None, output: str | None = None) -> list[Place]:
        """Returns what is masked: as ``resolve_wrt``, but of token inputs the token numbers, not their embeddings.

        Raises:
            LayerError: It does not exist, or there is no default.
        """
        if wrt is None:
            # Pictures of whole numbers have no gradient, but can be masked.
            pictures = [Place(Wrt("input", port.name), port.name) for port in self.inputs if port.role == "image"]
            whole = pictures and not any(port.is_float for port in self.inputs if port.role == "image")
            found = pictures if whole else self.resolve_wrt(None, output)
        else:
            asked = Wrt.parse(wrt)
            found = [Place(asked, asked.name)] if asked.kind == "input" else [self._place(asked)]
            self.check_input(asked.name) if asked.kind == "input" else None
        return [
            Place(Wrt("input", place.wrt.name), place.label) if place.wrt.kind == "embedding" else place
            for place in found
        ]

    def plan_windows(
        self, image: str, window: tuple[int, int], starts: tuple[Sequence[int], Sequence[int]]
    ) -> Windows | str:
        """Returns how windows over an image reuse clean activations, or why they do not; see ``graph.incremental``."""
        return plan_windows(self.graph, image, window, starts)

    def check_input(self, name: str) -> Port:
        """Returns the input port ``name``.

        Raises:
            InputError: There is no such input.
        """
        for port in self.inputs:
            if port.name == name:
                return port
        names = [port.name for port in self.inputs]
        raise InputError(f"the model has no input '{name}'{nearest(name, names) or _listed(names)}")

    def _place(self, wrt: Wrt) -> Place:
        self.value_of(wrt)
        return Place(wrt, str(wrt) if wrt.kind == "attention" else wrt.name)

    def _instead_of_layer(self, name: str) -> str:
        port = self.check_input(name)
        return f"use wrt='input:{name}'" if port.is_float else self._instead_of_integers(name)

    def _instead_of_integers(self, name: str) -> str:
        if name in self.embeddings:
            return f"use wrt='embedding:{name}'"
        return f"name the first float layer behind it, {self._first_layer(name)}"

    def _first_layer(self, name: str | None = None) -> str:
        """Returns ``wrt='layer:..'`` with the first float value computed from an input (None: from any)."""
        value = first_float(self.graph, [port.name for port in self.inputs if name in (None, port.name)])
        if value is None:
            return "wrt='layer:NAME'"
        return f"wrt='layer:{next((layer.name for layer in self.layers if layer.value == value), value)}'"


def _listed(names: Sequence[str]) -> str:
    return f"; it has {', '.join(names)}"
