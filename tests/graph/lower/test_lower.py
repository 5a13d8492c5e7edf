"""What lower() promises whatever the operator."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from xgraph.errors import GraphError
from xgraph.graph import adjoint
from xgraph.graph.emit import ADJOINT_DOMAIN, Emit
from xgraph.graph.lower import PROFILES, lower


def network() -> tuple[ir.Model, Emit, ir.Value, ir.Value]:
    """A graph with a forward Relu named by the user, and a gradient input."""
    kind = ir.TensorType(ir.DataType.FLOAT)
    x, g = (ir.Value(name=name, shape=ir.Shape(["n", 4]), type=kind) for name in "xg")
    graph = ir.Graph([x, g], [], nodes=[], opset_imports={"": 18}, name="test")
    model = ir.Model(graph, ir_version=8)
    b = Emit(model)
    y = b.Relu(x)
    y.name, y.producer().name = "features", "forward"
    graph.outputs.append(y)
    b.source = "forward"
    return model, b, y, g


@pytest.mark.parametrize("profile", PROFILES)
def test_outputs_and_forward_names_stay(h, profile):
    model, b, y, g = network()
    once = adjoint.step_mul(b, g, y)
    again = adjoint.step_mul(b, once, y, high=5.0)
    once.name, again.name = "once", "again"
    model.graph.outputs.extend([once, again])
    lower(model, profile)
    proto = h.checked(model)
    assert [value.name for value in proto.graph.output] == ["features", "once", "again"]
    x, seed = np.array([[-1, 0, 2, 7]], np.float32), np.ones((1, 4), np.float32)
    features, first, second = h.run(proto, x=x, g=seed)
    np.testing.assert_array_equal(features, [[0, 0, 2, 7]])
    np.testing.assert_array_equal(first, [[0, 0, 1, 1]])
    np.testing.assert_array_equal(second, [[0, 0, 1, 0]])


@pytest.mark.parametrize("profile", PROFILES)
def test_outputs_of_equal_value_stay_apart(h, profile):
    model, b, y, g = network()
    # The second step does nothing, so that its value is the first one's; the third is the gradient itself.
    once = adjoint.step_mul(b, g, y)
    twice = adjoint.step_mul(b, once, y, low=-np.inf)
    same = adjoint.step_mul(b, g, y, low=-np.inf)
    for name, value in {"once": once, "twice": twice, "same": same}.items():
        value.name = name
        model.graph.outputs.append(value)
    lower(model, profile)
    proto = h.checked(model)
    assert [value.name for value in proto.graph.output][1:] == ["once", "twice", "same"]
    x, seed = np.array([[-1, 0, 2, 7]], np.float32), np.ones((1, 4), np.float32)
    _, first, second, third = h.run(proto, x=x, g=seed)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(third, seed)


def test_a_model_without_adjoints_is_unchanged():
    model, _, _, _ = network()
    before = ir.to_proto(model).SerializeToString()
    lower(model)
    after = onnx.ModelProto.FromString(before)
    assert [node.op_type for node in ir.to_proto(model).graph.node] == [node.op_type for node in after.graph.node]


def test_unknown_names_are_errors():
    model, b, y, g = network()
    with pytest.raises(GraphError, match="no lowering profile 'gpu'; there are portable, cpu, openvino, cuda"):
        lower(model, "gpu")
    odd = b.op("SortGrad", [g, None, y], {}, domain=ADJOINT_DOMAIN, like=[g])[0]
    model.graph.outputs.append(odd)
    with pytest.raises(GraphError, match="no lowering for the adjoint operator 'SortGrad'"):
        lower(model)
