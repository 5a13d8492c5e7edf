"""The gradient book against onnx-ad, which differentiates ONNX graphs by rules of its own; where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from rules.harness import Case, Gradient, derive, evaluate, forward, seed_feeds
from rules.literal import LITERAL
from rules.rows import all_rows
from tolerances import RULE

from xgraph.errors import UnsupportedOpError

onnx_ad = pytest.importorskip("onnx_ad")

EMPTY = "Nx3x4,[],keepdims=1"
REDUCTIONS = ("Mean", "Max", "Min", "Prod", "LogSumExp", "L1", "L2", "SumSquare")
WRONG_THERE = {
    "says that the derivative is zero, where central differences say that it is not": (
        "Det-Nx1x1", "Det-Nx2x2", "Det-Nx3x3", "Det-3xNx4x4", "BitCast-Nx3x4,to=11",
        "OneHot-fed,Const(value=array(4)),2", "OneHot-axis", "OneHot-told depth, indices beyond it",
        "BatchNormalization-Nx4x6x5,4,4,4,4", "BatchNormalization-Nx4,4,4,4,4,epsilon=0.1",
        "Pad-value", "Pad-value in a vector", "Pad-computed value",
    ),
    "takes empty axes for no axes, and ReduceSumSquare over none for the identity": (
        *(f"Reduce{kind}-{EMPTY}" for kind in REDUCTIONS), "ReduceSumSquare-no axes",
    ),
    "shifts the gradient of a convolution whose pads differ at the two ends": (
        "Conv-Nx4x6x5,3x4x3x3,3,pads=[1,0,1,2]",
        "Conv-Nx2x4x5x4,3x2x2x3x2,pads=[0,1,0,1,1,0],strides=[1,2,2]",
        "Conv-Nx4x6x5,const[3, 4, 3, 3],3,pads=[1,0,1,2]",
        "Conv-Nx2x4x5x4,const[3, 2, 2, 3, 2],pads=[0,1,0,1,1,0],strides=[1,2,2]",
    ),
    "pads what it should crop": ("Pad-constant, negative",),
    "divides by a size less one": ("GridSample-one row",),
}  # fmt: skip
"""Where onnx-ad 0.3.0 is wrong: each of these rows agrees with central differences of the operator."""


def rows() -> list[Any]:
    reasons = {name: reason for reason, names in WRONG_THERE.items() for name in names}
    marks = {name: [pytest.mark.xfail(reason=f"onnx-ad {reason}")] for name, reason in reasons.items()}
    return [pytest.param(row, id=row.name, marks=marks.get(row.name, [])) for row in all_rows()]


def declared(name: str, value: np.ndarray) -> onnx.ValueInfoProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.asarray(value).dtype)
    return onnx.helper.make_tensor_value_info(name, kind, np.shape(value))


def node_alone(gradient: Gradient, feeds: dict[str, np.ndarray], outputs: list[np.ndarray]) -> onnx.ModelProto:
    """Returns the forward node of a derived model as a model whose inputs and outputs have static shapes."""
    graph = gradient.proto.graph
    names = [name for name in gradient.names[: len(outputs)] if name]
    node = next(node for node in graph.node if names[0] in node.output)
    alone = onnx.helper.make_graph(
        [node],
        "forward",
        [declared(name, value) for name, value in feeds.items()],
        [declared(name, y) for name, y in zip(gradient.names, outputs, strict=False) if name],
        [tensor for tensor in graph.initializer if tensor.name in node.input],
    )
    model = onnx.helper.make_model(alone, opset_imports=gradient.proto.opset_import)
    model.ir_version = gradient.proto.ir_version
    return model


def theirs(gradient: Gradient, feeds: dict[str, np.ndarray], seeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns onnx-ad's gradient of each explained input; its seeds and gradients have one axis more."""
    outputs = forward(gradient, feeds)
    seeded = {gradient.names[int(name.removeprefix("seed"))]: seed for name, seed in seeds.items()}
    model = onnx_ad.reverse(node_alone(gradient, feeds, outputs), gradient.wrt, list(seeded), "adj_", "seeds", "onnx")
    evaluator = ReferenceEvaluator(model, new_ops=LITERAL)
    given = {**feeds, **{f"adj_{name}": seed[..., None] for name, seed in seeded.items()}}
    names = [f"adj_{name}" for name in gradient.wrt]
    with np.errstate(all="ignore"):
        found = evaluator.run(names, given)
    return {name: value[..., 0] for name, value in zip(gradient.wrt, found, strict=True)}


@pytest.mark.parametrize("row", rows())
def test_onnx_ad_agrees(row: Case) -> None:
    try:
        gradient = derive(row, np.float64, dynamic=False)
    except UnsupportedOpError as error:  # a row of what is refused
        pytest.skip(str(error))
    feeds = gradient.feeds(2)
    seeds = seed_feeds(gradient, forward(gradient, feeds))
    try:
        expected = theirs(gradient, feeds, seeds)
    except onnx_ad.UnsupportedOperator as error:
        pytest.skip(str(error))
    found = evaluate(gradient, {**feeds, **seeds})
    for name, output in zip(gradient.wrt, gradient.names[row.outputs :], strict=True):
        want = expected[name]
        have = found[output] if output else np.zeros_like(want)
        assert want.dtype == have.dtype
        np.testing.assert_allclose(have, want, rtol=0, atol=RULE * max(float(np.abs(want).max(initial=0)), 1e-3))
