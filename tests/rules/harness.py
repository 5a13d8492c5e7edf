"""The harness of the rule books: one-node models, their gradient graphs, and what they are compared with.

A case describes one node. From it come a float64 model for the reference evaluator, whose directional derivative
is compared with central differences of the forward model, and a float32 model for ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from zlib import crc32

import numpy as np
import onnx
import onnx_ir as ir
import onnx_shape_inference as inference
import onnxruntime
from onnx.reference import ReferenceEvaluator
from rules.literal import LITERAL

from xgraph.graph.emit import Emit
from xgraph.graph.lower import lower
from xgraph.graph.walk import pull
from xgraph.rules.vjp import vjp

N = "N"
"""The batch in the shapes of a case: 2 in the static model, a named dimension in the dynamic one."""
OTHER = 4
"""The size that other named dimensions get."""
IR_VERSION = 9


@dataclass(frozen=True)
class Draw:
    """A float input with distinct values spread over ``low .. high`` in random order."""

    shape: tuple[int | str, ...]
    low: float = -2.0
    high: float = 2.0
    wrt: bool = True

    def sample(self, rng: np.random.Generator, batch: int) -> np.ndarray:
        shape = tuple(batch if d == N else OTHER if isinstance(d, str) else d for d in self.shape)
        size = int(np.prod(shape))
        steps = (rng.permutation(size) + rng.uniform(0.3, 0.7, size)) / max(size, 1)
        return (self.low + (self.high - self.low) * steps).reshape(shape)


@dataclass(frozen=True)
class Fed:
    """An input that is fed but not explained: indices, computed axes, a float that has no gradient."""

    make: Callable[[int], Any]
    shape: tuple[int | str, ...]

    def array(self, batch: int) -> np.ndarray:
        return np.asarray(self.make(batch))


@dataclass(frozen=True)
class Const:
    """An initializer."""

    value: Any

    def array(self) -> np.ndarray:
        return np.asarray(self.value)


Input = Draw | Fed | Const | str | None
"""A string names another input that is used again."""


@dataclass(frozen=True)
class Case:
    """One node."""

    op: str
    inputs: tuple[Input, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1
    opset: int = 18
    label: str = ""
    ranks: tuple[int, ...] = ()
    """The ranks of the outputs, where inference does not tell."""
    omitted: tuple[int, ...] = ()
    """Optional outputs that the node leaves out."""
    ort: bool = True
    """False where ONNX Runtime's CPU provider lacks the operator or a type of it."""

    @property
    def name(self) -> str:
        return f"{self.op}-{self.label}" if self.label else self.op

    @property
    def dynamic(self) -> bool:
        return any(N in x.shape for x in self.inputs if isinstance(x, Draw | Fed))


def case(op: str, *inputs: Any, label: str = "", **rest: Any) -> Case:
    """Returns a case; tuples are shapes to draw, lists and numbers integer constants, arrays constants."""
    named = {name: rest.pop(name) for name in ("outputs", "opset", "ranks", "ort") if name in rest}
    if not label:
        parts = ["x".join(map(str, x)) if isinstance(x, tuple) else _spell(x) for x in inputs]
        parts += [f"{name}={_spell(value)}" for name, value in rest.items()]
        label = ",".join(parts)
    return Case(op, tuple(_input(x) for x in inputs), rest, label=label, **named)


def _input(x: Any) -> Input:
    if isinstance(x, tuple):
        return Draw(x)
    if isinstance(x, list | int):
        return Const(np.asarray(x, np.int64))
    if isinstance(x, float):
        return Const(np.asarray(x))
    return Const(x) if isinstance(x, np.ndarray) else x


def _spell(x: Any) -> str:
    if isinstance(x, Draw):
        return "x".join(map(str, x.shape))
    if isinstance(x, np.ndarray):
        return f"const{list(x.shape)}"
    if isinstance(x, Fed):
        return "fed"
    return str(x).replace(" ", "")


@dataclass
class Gradient:
    """A one-node model with its gradient: outputs first, then one gradient per explained input."""

    case: Case
    dtype: type
    proto: onnx.ModelProto
    names: list[str]
    """The outputs of the node, then one gradient per entry of ``wrt``; "" where it is zero."""
    wrt: list[str]

    def feeds(self, batch: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(crc32(self.case.name.encode()))
        arrays: dict[str, np.ndarray] = {}
        for i, x in enumerate(self.case.inputs):
            if isinstance(x, Draw):
                # Rounded to float32, so that both precisions see the same numbers.
                arrays[f"x{i}"] = x.sample(rng, batch).astype(np.float32).astype(self.dtype)
            elif isinstance(x, Fed):
                arrays[f"x{i}"] = _cast(x.array(batch), self.dtype)
        return arrays


def derive(case: Case, dtype: type, *, dynamic: bool, seeded: Sequence[int] | None = None) -> Gradient:
    """Builds the model of ``case``, pulls a seed per output back, lowers and checks the result."""
    element = ir.DataType.from_numpy(np.dtype(dtype))
    values: list[ir.Value | None] = []
    fed: list[ir.Value] = []
    constants: list[ir.Value] = []
    for i, x in enumerate(case.inputs):
        if x is None:
            values.append(None)
        elif isinstance(x, str):
            values.append(values[int(x.removeprefix("x"))])
        elif isinstance(x, Const):
            array = _cast(x.array(), dtype)
            value = ir.Value(name=f"w{i}", const_value=ir.tensor(array, name=f"w{i}"))
            value.shape, value.dtype = ir.Shape(array.shape), ir.DataType.from_numpy(array.dtype)
            constants.append(value)
            values.append(value)
        else:
            shape = [("batch" if dynamic else 2) if d == N else d for d in x.shape]
            kind = element if isinstance(x, Draw) else ir.DataType.from_numpy(_cast(x.array(1), dtype).dtype)
            fed.append(ir.Value(name=f"x{i}", shape=ir.Shape(shape), type=ir.TensorType(kind)))
            values.append(fed[-1])
    graph = ir.Graph(fed, [], nodes=[], initializers=constants, opset_imports={"": case.opset}, name=f"one_{case.op}")
    model = ir.Model(graph, ir_version=IR_VERSION if case.opset < 23 else 11)
    b = Emit(model)
    known = inference.registry.get("", case.op, version=case.opset) is not None
    like = None if known else [values[0]]
    outputs = b.op(case.op, values, case.attributes, outputs=case.outputs, like=like)
    for i in case.omitted:
        outputs[i].name = ""
    for y, rank in zip(outputs, case.ranks, strict=False):
        y.shape = ir.Shape([f"{y.name}.{axis}" for axis in range(rank)])
    # As for a model that was read from a file: nothing of it may be taken for what the rules emit.
    b = Emit(model)
    nodes = list(graph)
    floats = [i for i, y in enumerate(outputs) if y.dtype.is_floating_point()]
    seeds = {}
    for i in floats if seeded is None else seeded:
        seeds[outputs[i]] = ir.Value(name=f"seed{i}", shape=outputs[i].shape, type=ir.TensorType(outputs[i].dtype))
    graph.inputs.extend(seeds.values())
    wrt = [i for i, x in enumerate(case.inputs) if isinstance(x, Draw) and x.wrt]
    grads = pull(b, nodes, vjp.lookup, seeds, [values[i] for i in wrt])
    for i, grad in zip(wrt, grads, strict=True):
        if grad is not None:
            assert grad.dtype == element
            assert len(grad.shape) == len(values[i].shape), "the gradient has another rank than its input"
    kept = [None if i in case.omitted else y for i, y in enumerate(outputs)]
    named = [*kept, *(None if grad is None else b.Identity(grad) for grad in grads)]
    graph.outputs.extend(dict.fromkeys(value for value in named if value is not None))
    lower(model, "portable")
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto)
    names = ["" if value is None else value.name for value in named]
    return Gradient(case, dtype, proto, names, [f"x{i}" for i in wrt])


def evaluate(gradient: Gradient, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Evaluates the derived model with the reference evaluator."""
    with np.errstate(all="ignore"):
        outputs = ReferenceEvaluator(gradient.proto, new_ops=LITERAL).run(None, dict(feeds))
    return {info.name: value for info, value in zip(gradient.proto.graph.output, outputs, strict=True)}


def run_ort(gradient: Gradient, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Runs the derived model with ONNX Runtime on the CPU."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        gradient.proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    types = {info.name: info.type.tensor_type.elem_type for info in gradient.proto.graph.input}
    typed = {name: a.astype(onnx.helper.tensor_dtype_to_np_dtype(types[name])) for name, a in feeds.items()}
    outputs = session.run(None, typed)
    return {info.name: value for info, value in zip(session.get_outputs(), outputs, strict=True)}


def forward(gradient: Gradient, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Computes the outputs of the node alone."""
    return _forward_evaluator(gradient.proto.SerializeToString(), gradient.names[0]).run(None, dict(feeds))


@cache
def _forward_evaluator(serialized: bytes, output: str) -> ReferenceEvaluator:
    proto = onnx.ModelProto.FromString(serialized)
    node = next(node for node in proto.graph.node if output in node.output)
    used = set(node.input)
    graph = onnx.helper.make_graph(
        [node],
        "forward",
        [info for info in proto.graph.input if info.name in used],
        [onnx.helper.make_empty_tensor_value_info(name) for name in node.output],
        [tensor for tensor in proto.graph.initializer if tensor.name in used],
    )
    return ReferenceEvaluator(
        onnx.helper.make_model(graph, opset_imports=proto.opset_import, ir_version=proto.ir_version),
        new_ops=LITERAL,
    )


def seed_feeds(gradient: Gradient, outputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Returns a random seed for every output that has one."""
    rng = np.random.default_rng(7)
    given = {info.name for info in gradient.proto.graph.input}
    return {
        f"seed{i}": rng.standard_normal(np.shape(y)).astype(np.float32).astype(y.dtype)
        for i, y in enumerate(outputs)
        if f"seed{i}" in given
    }


def check_directional(gradient: Gradient, batch: int, *, relative: float = 1e-5) -> None:
    """Compares ``<gradient, u>`` with central differences of the forward model along random directions u."""
    feeds = gradient.feeds(batch)
    nominal = forward(gradient, {name: array for name, array in feeds.items() if name.startswith("x")})
    seeds = seed_feeds(gradient, nominal)
    found = evaluate(gradient, {**feeds, **seeds})
    grads = dict(zip(gradient.wrt, gradient.names[len(nominal) :], strict=True))
    rng = np.random.default_rng(11)

    def objective(name: str, moved: np.ndarray) -> float:
        with np.errstate(all="ignore"):
            ys = forward(gradient, {**feeds, name: moved})
        return sum(float(np.sum(seeds[f"seed{i}"] * y)) for i, y in enumerate(ys) if f"seed{i}" in seeds)

    for name, output in grads.items():
        x = feeds[name]
        grad = found[output] if output else np.zeros_like(x)
        assert grad.shape == x.shape, f"the gradient of {name} has the shape {grad.shape}, not {x.shape}"
        assert grad.dtype == x.dtype
        direction = rng.standard_normal(x.shape)
        step = 1e-6
        expected = (objective(name, x + step * direction) - objective(name, x - step * direction)) / (2 * step)
        actual = float(np.sum(grad * direction))
        scale = max(abs(actual), abs(expected), 1e-2 * np.linalg.norm(grad) * np.linalg.norm(direction))
        assert abs(actual - expected) <= relative * scale + 1e-9, f"{name}: {actual} is not {expected}"


def gradients(
    case: Case, feeds: Mapping[str, np.ndarray], seeds: Mapping[str, np.ndarray], *, ort: bool = False
) -> list[np.ndarray | None]:
    """Returns the gradients of ``case`` at given inputs, None where they are zero."""
    dtype = np.float32 if ort else np.float64
    gradient = derive(case, dtype, dynamic=False, seeded=[int(name.removeprefix("seed")) for name in seeds])
    typed = {name: _cast(np.asarray(array), dtype) for name, array in {**feeds, **seeds}.items()}
    found = (run_ort if ort else evaluate)(gradient, typed)
    return [found[name] if name else None for name in gradient.names[case.outputs :]]


def check_in_ort(case: Case, *, dynamic: bool, batch: int, dtype: type = np.float32, relative: float = 1e-4) -> None:
    """Compares ONNX Runtime in a narrower dtype with the reference evaluator in float64."""
    double, single = (derive(case, kind, dynamic=dynamic) for kind in (np.float64, dtype))
    feeds = double.feeds(batch)
    seeds = seed_feeds(double, forward(double, feeds))
    expected = evaluate(double, {**feeds, **seeds})
    actual = run_ort(single, {**feeds, **seeds})
    outputs = case.outputs
    for want, have in zip(double.names[outputs:], single.names[outputs:], strict=True):
        assert bool(want) == bool(have)
        if want:
            scale = max(float(np.max(np.abs(expected[want]), initial=0.0)), 1e-3)
            np.testing.assert_allclose(actual[have], expected[want], rtol=0, atol=relative * scale)


def _cast(array: np.ndarray, dtype: type) -> np.ndarray:
    """Casts float64, which stands for the model's dtype; float32 and integers are what the standard asks for."""
    return array.astype(dtype) if array.dtype == np.float64 else array
