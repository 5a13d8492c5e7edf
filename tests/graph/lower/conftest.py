"""Builds one-operator models with their gradient, lowers them, and runs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx.reference import ReferenceEvaluator

from xgraph.graph import adjoint
from xgraph.graph.emit import FROM, Emit
from xgraph.graph.lower import lower
from xgraph.graph.site import Site

_RULES = {
    "Conv": adjoint.conv_input_grad,
    "MaxPool": adjoint.max_pool_grad,
    "AveragePool": adjoint.average_pool_grad,
    "Resize": adjoint.resize_grad,
}


def gradient_model(
    op: str,
    x_shape: Sequence[int],
    *operands: np.ndarray | None,
    profile: str = "portable",
    dynamic: Sequence[int] = (0,),
    dtype: type = np.float32,
    opset: int = 18,
    **attributes: Any,
) -> onnx.ModelProto:
    """Returns a lowered model (x, g) -> (y, dx) of one forward operator, after checking what holds for all."""
    shape = ir.Shape([f"d{i}" if i in dynamic else size for i, size in enumerate(x_shape)])
    x = ir.Value(name="x", shape=shape, type=ir.TensorType(ir.DataType.from_numpy(np.dtype(dtype))))
    graph = ir.Graph([x], [], nodes=[], opset_imports={"": opset}, name="test")
    model = ir.Model(graph, ir_version=8)
    b = Emit(model)
    y = getattr(b, op)(x, *operands, **attributes)
    node = y.producer()
    assert node is not None
    node.name = "forward"
    y.name = "y"
    g = ir.Value(name="g", shape=y.shape, type=ir.TensorType(y.dtype))
    graph.inputs.append(g)
    with b.derived_from(node):
        dx = _RULES[op](b, Site(node), g)
    dx.name = "dx"
    graph.outputs.extend([y, dx])
    lower(model, profile)
    return checked(model)


def checked(model: ir.Model) -> onnx.ModelProto:
    """Serializes a lowered model and asserts what every lowering must keep."""
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    assert {imported.domain for imported in proto.opset_import} == {""}
    assert not [node for node in proto.graph.node if node.domain == "xgraph"]
    for node in proto.graph.node:
        if node.name != "forward":
            assert {entry.key: entry.value for entry in node.metadata_props}[FROM] == "forward", node.name
    return proto


def forward(op: str, x: np.ndarray, *, opset: int = 18, **attributes: Any) -> np.ndarray:
    """Returns the output of one forward operator."""
    kind = ir.TensorType(ir.DataType.from_numpy(x.dtype))
    graph = ir.Graph(
        [ir.Value(name="x", shape=ir.Shape(x.shape), type=kind)],
        [],
        nodes=[],
        opset_imports={"": opset},
        name="test",
    )
    model = ir.Model(graph, ir_version=8)
    graph.outputs.append(getattr(Emit(model), op)(graph.inputs[0], **attributes))
    return run(ir.to_proto(model), x=x)[0]


def session(proto: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(proto: onnx.ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
    return session(proto).run(None, feeds)


def run_reference(proto: onnx.ModelProto, **feeds: np.ndarray) -> list[np.ndarray]:
    return ReferenceEvaluator(proto).run(None, feeds)


def operators(proto: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node if node.name != "forward"]


def error(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference relative to the largest expected entry."""
    assert actual.shape == expected.shape
    return float(np.abs(actual - expected).max() / max(np.abs(expected).max(), 1e-30))


class Harness:
    session = staticmethod(session)
    reference = staticmethod(ReferenceEvaluator)
    forward = staticmethod(forward)
    gradient_model = staticmethod(gradient_model)
    checked = staticmethod(checked)
    run = staticmethod(run)
    run_reference = staticmethod(run_reference)
    operators = staticmethod(operators)
    error = staticmethod(error)


@pytest.fixture
def h() -> type[Harness]:
    return Harness


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
