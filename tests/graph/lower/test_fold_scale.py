"""Factors per channel go into the weights of the adjoint convolutions beside them, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from xgraph.graph import adjoint
from xgraph.graph.emit import Emit
from xgraph.graph.lower import lower
from xgraph.graph.site import Site

FACTOR = np.array([0.5, -2.0, 3.0, 1.5, 0.25, 4.0], np.float32)


class Chain:
    """A graph in which gradients meet a factor per channel beside an adjoint convolution with 6 -> 6 channels."""

    def __init__(self, rng: np.random.Generator, group: int = 1) -> None:
        kind = ir.TensorType(ir.DataType.FLOAT)
        shape = ["n", 6, 5, 5]
        self.x, self.g = (ir.Value(name=name, shape=ir.Shape(shape), type=kind) for name in "xg")
        graph = ir.Graph([self.x, self.g], [], nodes=[], opset_imports={"": 18}, name="test")
        self.model = ir.Model(graph, ir_version=8)
        self.b = Emit(self.model)
        self.b.source = "forward"
        weight = self.b.constant(rng.standard_normal((6, 6 // group, 3, 3)).astype(np.float32))
        conv = ir.node("Conv", [self.x, weight], {"pads": [1, 1, 1, 1], "group": group}, name="conv")
        self.site = Site(conv)

    def conv(self, g: ir.Value) -> ir.Value:
        return adjoint.conv_input_grad(self.b, self.site, g)

    def scaled(self, g: ir.Value, factor: np.ndarray = FACTOR) -> ir.Value:
        return self.b.Mul(g, factor.reshape(1, -1, 1, 1))

    def lowered(self, h: Any, profile: str, *outputs: ir.Value) -> Any:
        for i, value in enumerate(outputs):
            value.name = f"out{i}"
        self.model.graph.outputs.extend(outputs)
        model = self.model.clone()
        lower(model, profile)
        return h.checked(model)


def image_products(proto: Any) -> int:
    """Counts the Mul nodes that are not on weights."""
    weights = {tensor.name for tensor in proto.graph.initializer if len(tensor.dims) == 4 and tensor.dims[2] == 3}
    return sum(node.op_type == "Mul" and not weights & set(node.input) for node in proto.graph.node)


@pytest.fixture
def feeds(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {name: rng.standard_normal((2, 6, 5, 5)).astype(np.float32) for name in "xg"}


@pytest.mark.parametrize("profile", ["cpu", "openvino", "cuda"])
@pytest.mark.parametrize("group", [1, 2, 6])
@pytest.mark.parametrize("form", ["before", "after", "after a step"])
def test_folds(h, rng, feeds, form, group, profile):
    chain = Chain(rng, group)
    if form == "before":
        dx = chain.conv(chain.scaled(chain.g))
    elif form == "after":
        dx = chain.b.Neg(chain.scaled(chain.conv(chain.g)))
    else:
        dx = chain.b.Neg(chain.scaled(adjoint.step_mul(chain.b, chain.conv(chain.g), chain.x)))
    plain = chain.lowered(h, "portable", dx)
    chain.model.graph.outputs.clear()
    folded = chain.lowered(h, profile, dx)
    assert image_products(plain) == 1
    steps = 1 if profile == "cpu" and form == "after a step" else 0
    assert image_products(folded) == steps
    assert h.error(h.run(folded, **_used(folded, feeds))[0], h.run(plain, **_used(plain, feeds))[0]) < 1e-5


@pytest.mark.parametrize("case", ["second use", "output", "other size", "not per channel"])
def test_leaves_alone(h, rng, feeds, case):
    chain = Chain(rng)
    factor = FACTOR
    if case == "not per channel":
        scaled = chain.b.Mul(chain.g, rng.standard_normal((1, 6, 5, 5)).astype(np.float32))
    elif case == "other size":
        scaled = chain.b.Mul(chain.g, np.full((1, 1, 1, 1), 2, np.float32))
    else:
        scaled = chain.scaled(chain.g, factor)
    outputs = [chain.conv(scaled)]
    if case == "second use":
        outputs.append(chain.b.Neg(scaled))
    elif case == "output":
        outputs.append(scaled)
    plain = chain.lowered(h, "portable", *outputs)
    chain.model.graph.outputs.clear()
    folded = chain.lowered(h, "cpu", *outputs)
    assert image_products(folded) == 1
    for a, e in zip(h.run(folded, **_used(folded, feeds)), h.run(plain, **_used(plain, feeds)), strict=True):
        assert h.error(a, e) < 1e-5


def _used(proto: Any, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {value.name: feeds[value.name] for value in proto.graph.input}
