"""Whole small models in ONNX's text syntax: their gradients against differences of what ONNX Runtime computes.

The forward model runs as it is written, so that import, the rules and their lowering are all compared with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from xgraph.graph.emit import Emit
from xgraph.graph.lower import lower
from xgraph.graph.normalise import normalise
from xgraph.graph.walk import pull
from xgraph.rules.vjp import vjp

Array = np.ndarray
RNG = np.random.default_rng(3)


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape)


@dataclass(frozen=True)
class Model:
    """A model as text, at ``double`` or ``float``, and its gradient."""

    forward: onnx.ModelProto
    gradient: onnx.ModelProto


def derive(text: str, opset: int = 18, element: str = "double") -> Model:
    """Returns the model with the gradients of all its float inputs, ``grad_x`` of ``seed_y``."""
    header = f'<ir_version: 9, opset_import: ["": {opset}]>'
    proto = onnx.parser.parse_model(header + text.replace("real", element))
    for node in proto.graph.node:
        # The parser takes no empty name in the first place.
        node.input[:] = ["" if name == "omitted" else name for name in node.input]
    model = normalise(ir.from_proto(proto))
    b, nodes, inputs = Emit(model), list(model.graph), list(model.graph.inputs)
    seeds = {
        y: ir.Value(name=f"seed_{y.name}", shape=y.shape, type=y.type)
        for y in model.graph.outputs
        if y.dtype.is_floating_point()
    }
    model.graph.inputs.extend(seeds.values())
    wrt = [x for x in inputs if x.dtype.is_floating_point()]
    for x, grad in zip(wrt, pull(b, nodes, vjp.lookup, seeds, wrt), strict=True):
        if grad is not None:
            assert len(grad.shape) == len(x.shape)
            output = b.Identity(grad)
            output.name = f"grad_{x.name}"
            model.graph.outputs.append(output)
    lower(model)
    gradient = ir.to_proto(model)
    onnx.checker.check_model(gradient, full_check=True)
    return Model(proto, gradient)


def session(proto: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(runner: onnxruntime.InferenceSession, feeds: Mapping[str, Array]) -> dict[str, Array]:
    found = runner.run(None, {info.name: feeds[info.name] for info in runner.get_inputs()})
    return {info.name: value for info, value in zip(runner.get_outputs(), found, strict=True)}


def seeded(outputs: Mapping[str, Array]) -> dict[str, Array]:
    rng = np.random.default_rng(7)
    return {f"seed_{name}": rng.standard_normal(y.shape) for name, y in outputs.items() if y.dtype == np.float64}


def check(text: str, feeds: Mapping[str, Array], opset: int = 18) -> set[str]:
    """Compares the gradients with differences, and float32 with double; returns the inputs that have one."""
    model = derive(text, opset)
    forward, gradient = session(model.forward), session(model.gradient)
    nominal = run(forward, feeds)
    seeds = seeded(nominal)
    found = run(gradient, {**feeds, **seeds})
    for name, y in nominal.items():
        np.testing.assert_array_equal(found[name], y)
    rng = np.random.default_rng(11)
    for name, x in feeds.items():
        if x.dtype != np.float64:
            continue
        direction = rng.standard_normal(x.shape)

        def objective(step: float, name: str = name, moved: Array = direction) -> float:
            ys = run(forward, {**feeds, name: feeds[name] + step * moved})
            return sum(float(np.sum(seeds[f"seed_{key}"] * y)) for key, y in ys.items() if f"seed_{key}" in seeds)

        expected = (objective(1e-6) - objective(-1e-6)) / 2e-6
        grad = found.get(f"grad_{name}", np.zeros_like(x))
        assert grad.shape == x.shape
        scale = max(abs(expected), 1e-2 * np.linalg.norm(grad) * np.linalg.norm(direction))
        assert abs(float(np.sum(grad * direction)) - expected) <= 1e-5 * scale + 1e-9, name
    single = session(derive(text, opset, "float").gradient)
    narrow = {name: x.astype(np.float32) if x.dtype == np.float64 else x for name, x in {**feeds, **seeds}.items()}
    for name, value in run(single, narrow).items():
        scale = max(float(np.max(np.abs(found[name]), initial=0)), 1e-3)
        np.testing.assert_allclose(value, found[name], rtol=0, atol=1e-4 * scale)
    return {name.removeprefix("grad_") for name in found if name.startswith("grad_")}
