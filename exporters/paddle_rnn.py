"""Writes recurrent layers anew: the converter ignores lengths, loses states and has no plain recurrence.

Paddle's one operator ``rnn`` is a stack of layers, forward or in both directions, over ``[time, batch, size]``
with optional lengths per row. It returns the top layer's outputs, zero behind a row's end, and the last
states of *all* layers. Each layer becomes one ONNX ``LSTM``, ``GRU`` or ``RNN``, whose ``sequence_lens`` mean
the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from xgraph.errors import ExportError
from xgraph.exporters.paddle_nodes import constant, needed_nodes, node, producers, replace_nodes, value_names
from xgraph.exporters.paddle_program import Op, Program

KINDS = {"LSTM": "LSTM", "GRU": "GRU", "RNN_TANH": "RNN", "RNN_RELU": "RNN"}
GATES = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
"""Paddle's gates in the order of ONNX: input, output, forget, cell; update, reset, hidden."""
ACTIVATION = {"RNN_TANH": "Tanh", "RNN_RELU": "Relu"}


def repair_rnn(program: Program, converted: Path) -> None:
    """Rewrites the file ``converted`` in place where the program has recurrent layers.

    Raises:
        ExportError: A weight of such a layer is computed, not stored.
    """
    stacks = [op for op in program.ops if op.kind == "rnn"]
    if not stacks:
        return
    model = onnx.load(str(converted), load_external_data=False)
    names, maker = value_names(program), {op.outputs[0]: op for op in program.ops if op.outputs}
    nodes = list(model.graph.node)
    for op in stacks:
        made = list(_read(op, names, maker, producers(nodes)).nodes())
        outputs = set(producers(made))
        nodes = [other for other in nodes if not outputs.intersection(other.output)]
        needed = {value for new in made for value in new.input} - outputs
        first = max((k + 1 for k, other in enumerate(nodes) if needed.intersection(other.output)), default=0)
        nodes[first:first] = made
    replace_nodes(model, needed_nodes(nodes, [output.name for output in model.graph.output]))
    converted.write_bytes(model.SerializeToString())


@dataclass(frozen=True, slots=True)
class _Stack:
    """One ``rnn`` operator."""

    mode: str
    directions: int
    layers: int
    hidden: int
    x: str
    lengths: str
    states: tuple[str, ...]
    """Initial hidden state, and cell state of an LSTM: ``[layers * directions, batch, hidden]``."""
    weights: tuple[np.ndarray, ...]
    """Per layer and direction an input and a recurrent matrix; after all of these, their biases alike."""
    output: str
    last: str
    """The last states' name, without their number."""

    def nodes(self) -> Iterator[onnx.NodeProto]:
        """Yields the nodes of all layers and of what they return."""
        prefix = f"{self.last}.layer"
        lengths = ""
        if self.lengths:
            lengths = f"{prefix}.lengths"
            yield node("Cast", [self.lengths], [lengths], to=int(TensorProto.INT32))
        yield constant(f"{prefix}.merged", np.array([0, 0, self.directions * self.hidden]))
        x = self.x
        for layer in range(self.layers):
            name = f"{prefix}{layer}"
            own = slice(layer * self.directions, (layer + 1) * self.directions)
            yield from self._weights(name, own)
            yield constant(f"{name}.first", np.array([own.start]))
            yield constant(f"{name}.end", np.array([own.stop]))
            for k, state in enumerate(self.states):
                yield node("Slice", [state, f"{name}.first", f"{name}.end"], [f"{name}.start{k}"])
            starts = [f"{name}.start{k}" for k in range(len(self.states))]
            results = [f"{name}.steps", *(f"{name}.last{k}" for k in range(len(self.states)))]
            inputs = [x, f"{name}.W", f"{name}.R", f"{name}.B", lengths, *starts]
            direction = "bidirectional" if self.directions == 2 else "forward"
            cell = node(KINDS[self.mode], inputs, results, direction=direction, hidden_size=self.hidden)
            self._complete(cell)
            yield cell
            yield node("Transpose", [f"{name}.steps"], [f"{name}.apart"], perm=[0, 2, 1, 3])
            x = self.output if layer + 1 == self.layers else f"{name}.output"
            yield node("Reshape", [f"{name}.apart", f"{prefix}.merged"], [x])
        for k in range(len(self.states)):
            parts = [f"{prefix}{layer}.last{k}" for layer in range(self.layers)]
            yield node("Concat", parts, [f"{self.last}_{k}"], axis=0)

    def _complete(self, cell: onnx.NodeProto) -> None:
        if self.mode == "GRU":  # Paddle resets what comes out of the recurrent product, not what goes in
            cell.attribute.add(name="linear_before_reset", type=onnx.AttributeProto.INT, i=1)
        if self.mode in ACTIVATION:
            named = [ACTIVATION[self.mode].encode()] * self.directions
            cell.attribute.add(name="activations", type=onnx.AttributeProto.STRINGS, strings=named)

    def _weights(self, name: str, own: slice) -> Iterator[onnx.NodeProto]:
        half = len(self.weights) // 2
        for offset, suffix in ((0, "W"), (1, "R")):
            matrices = self.weights[offset:half:2][own]
            yield constant(f"{name}.{suffix}", np.stack([self._gates(each) for each in matrices]))
        biases = (self.weights[half + offset :: 2][own] for offset in (0, 1))
        both = [np.concatenate([self._gates(bias) for bias in pair]) for pair in zip(*biases, strict=True)]
        yield constant(f"{name}.B", np.stack(both))

    def _gates(self, weight: np.ndarray) -> np.ndarray:
        order = GATES[KINDS[self.mode]]
        return np.concatenate([np.split(weight, len(order))[gate] for gate in order])


def _read(op: Op, names: Mapping[int, str], maker: Mapping[int, Op], made_by: Mapping[str, onnx.NodeProto]) -> _Stack:
    x, states, weights, *rest = op.inputs
    layers, directions = int(op.attributes["num_layers"]), 1 + int(op.attributes["is_bidirec"])
    stored = tuple(_stored(value, made_by, op) for value in _parts(weights, names, maker))
    if len(stored) != 4 * layers * directions:
        raise ExportError(f"the recurrent layer '{op.name}' has {len(stored)} weights, not 4 per layer and direction")
    return _Stack(
        mode=str(op.attributes["mode"]),
        directions=directions,
        layers=layers,
        hidden=int(op.attributes["hidden_size"]),
        x=names[x],
        lengths=names.get(rest[0], "") if rest else "",
        states=tuple(_parts(states, names, maker)),
        weights=stored,
        output=names[op.outputs[0]],
        last=f"p2o.{op.name}.2",
    )


def _parts(value: int, names: Mapping[int, str], maker: Mapping[int, Op]) -> Sequence[str]:
    """Returns the ONNX names of a list's values."""
    return [f"{names[value]}_{k}" for k in range(len(maker[value].inputs))]


def _stored(value: str, made_by: Mapping[str, onnx.NodeProto], op: Op) -> np.ndarray:
    found = made_by.get(value)
    while found is not None and found.op_type == "Identity":
        found = made_by.get(found.input[0])
    if found is None or found.op_type != "Constant":
        raise ExportError(f"the recurrent layer '{op.name}' computes its weights; only stored ones can be read")
    return numpy_helper.to_array(found.attribute[0].t)
