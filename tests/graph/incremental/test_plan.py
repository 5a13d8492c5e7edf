"""What a plan windows, what it leaves to the whole model, and why it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from builders import Draft, tiny_cnn
from onnx import TensorProto, helper

from xgraph.graph.incremental import CORNER, PATCH, Windows, clean_graph, plan_windows, window_graph
from xgraph.graph.normalise import normalise
from xgraph.graph.splice import values_by_name

STARTS = range(0, 64, 8), range(0, 64, 8)


def chain(*, image: Any = ("batch", 3, 64, 64), **inputs: Any) -> ir.Model:
    """Two convolutions, a pooled head, and logits whose name must stay."""
    d = Draft(0)
    x = d("Relu", d.conv("image", 8, "c1", source=3), out="r1")
    x = d("Relu", d.conv(x, 8, "c2", source=8, stride=2), out="r2")
    for name in inputs:
        x = d("Add", x, name, out=f"{name}_added")
    x = d("Flatten", d("GlobalAveragePool", x, out="gap"), out="flat")
    d("Gemm", x, d.weight("fc.w", 5, 8), d.weight("fc.b", 5), out="logits", transB=1)
    d("Softmax", "logits", out="output", axis=1)
    return normalise(ir.from_proto(d.model({"image": list(image), **inputs}, {"output": [image[0], 5]})))


def planned(model: ir.Model, window: tuple[int, int] = (8, 8), starts: Any = STARTS) -> Windows:
    plan = plan_windows(model, "image", window, starts)
    assert isinstance(plan, Windows), plan
    return plan


def test_what_lies_before_the_pool_is_windowed() -> None:
    plan = planned(chain())
    assert set(plan.boxes) == {"image", "c1", "r1", "c2", "r2"}
    assert plan.whole == ("r2",)
    assert plan.caches == ("image", "r1", "r2")
    assert [axis.size for axis in plan.boxes["c1"]] == [10, 10]
    assert [axis.size for axis in plan.boxes["c2"]] == [6, 6]
    assert 0.01 < plan.share < 0.1
    assert plan.share < plan.cost < 1


def test_the_plan_is_deterministic_and_the_model_stays() -> None:
    model = chain()
    before = ir.to_proto(model).SerializeToString()
    first, second = planned(model), planned(model)
    assert first == second
    graphs = [ir.to_proto(make(model, plan)) for plan in (first, second) for make in (clean_graph, window_graph)]
    assert graphs[0] == graphs[2]
    assert graphs[1] == graphs[3]
    assert ir.to_proto(model).SerializeToString() == before


def test_dense_values_keep_their_names() -> None:
    model = chain()
    part = window_graph(model, planned(model))
    assert {"r2", "gap", "flat", "logits", "output"} <= set(values_by_name(part))
    assert [value.name for value in part.graph.outputs] == ["output"]
    assert [value.name for value in part.graph.inputs] == [CORNER, PATCH, "xg_clean_0", "xg_clean_1", "xg_clean_2"]
    onnx.checker.check_model(ir.to_proto(part), full_check=True)


def test_the_clean_graph_computes_what_is_reused_and_no_more() -> None:
    model = chain()
    cleaner = clean_graph(model, planned(model))
    assert [list(value.shape) for value in cleaner.graph.outputs] == [[64 * 64, 3], [64 * 64, 8], [32 * 32, 8]]
    assert "logits" not in values_by_name(cleaner)


def test_large_windows_go_dense_earlier() -> None:
    model = chain()
    shares = [planned(model, (size, size)).share for size in (4, 8, 12, 16)]
    assert shares == sorted(shares)
    assert len(set(shares)) == 4


def looped() -> ir.Model:
    """An If on the way."""
    d = Draft(0)
    x = d("Relu", d.conv("image", 4, "c1", source=3), out="r1")
    yes, no = (
        helper.make_graph(
            [helper.make_node(op, [x], [f"{op}_y"])], op, [], [helper.make_tensor_value_info(f"{op}_y", 1, None)]
        )
        for op in ("Tanh", "Sigmoid")
    )
    total = d("ReduceSum", x, out="total", keepdims=0)
    positive = d("Greater", total, d.constant("zero", np.array(0, np.float32)), out="positive")
    d.nodes.append(helper.make_node("If", [positive], ["y"], name="choice", then_branch=yes, else_branch=no))
    return normalise(ir.from_proto(d.model({"image": ["batch", 3, 64, 64]}, {"y": ["batch", 4, 64, 64]})))


def pooled_first() -> ir.Model:
    d = Draft(0)
    d("Softmax", d("GlobalAveragePool", "image", out="gap"), out="y", axis=1)
    return normalise(ir.from_proto(d.model({"image": ["batch", 3, 64, 64]}, {"y": ["batch", 3, 1, 1]})))


def halves() -> ir.Model:
    d = Draft(0)
    d("Sigmoid", "image", out="y")
    half = TensorProto.FLOAT16
    shape = ["batch", 3, 64, 64]
    return normalise(ir.from_proto(d.model({"image": (shape, half)}, {"y": (shape, half)})))


REFUSALS: dict[str, tuple[Any, str]] = {
    "another input": (lambda: chain(other=["batch", 8, 32, 32]), "the model has further inputs: other"),
    "open sizes": (lambda: chain(image=("batch", 3, "h", 64)), "the image input 'image' has dynamic sizes"),
    "fixed batch": (lambda: chain(image=(1, 3, 64, 64)), "the batch of the image input 'image' is fixed to 1"),
    "float16": (halves, "the image input 'image' is not float32"),
    "control flow": (looped, "the If 'choice' on the way from the image has a body"),
    "pooled first": (pooled_first, "nothing can be reused: 'gap' (GlobalAveragePool) needs the whole image"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_say_why_in_one_line(name: str) -> None:
    build, words = REFUSALS[name]
    problem = plan_windows(build(), "image", (8, 8), STARTS)
    assert isinstance(problem, str)
    assert words in problem
    assert "\n" not in problem


def test_patches_of_most_of_the_image_do_not_pay() -> None:
    problem = plan_windows(chain(), "image", (60, 62), STARTS)
    assert isinstance(problem, str)
    assert problem.startswith("patches of 60 x 62 leave 100% of the multiply-adds and, with what is copied, 1")
    assert problem.endswith("% of the time; whole maps are needed from 'c2' (Conv) on")


@pytest.mark.parametrize(
    ("window", "starts"),
    [((0, 4), STARTS), ((4, 4), ([], [0])), ((4, 4), ([-1], [0])), ((4, 4), ([0], [64]))],
    ids=["empty", "none", "before", "behind"],
)
def test_positions_outside_the_image_are_refused(window: tuple[int, int], starts: Any) -> None:
    problem = plan_windows(chain(), "image", window, starts)
    assert isinstance(problem, str)
    assert "start outside the image" in problem


def test_no_image_of_that_name_and_no_image_at_all() -> None:
    assert plan_windows(chain(), "picture", (8, 8), STARTS) == "the model has no input 'picture'"
    d = Draft(0)
    d("Tanh", "x", out="y")
    rows = normalise(ir.from_proto(d.model({"x": ["batch", 4]}, {"y": ["batch", 4]})))
    assert plan_windows(rows, "x", (8, 8), STARTS) == "the input 'x' is no image (batch, channels, height, width)"


def test_a_small_model_is_planned_too() -> None:
    model = normalise(ir.from_proto(tiny_cnn(size=32)))
    plan = plan_windows(model, "image", (4, 4), (range(0, 32, 4), range(0, 32, 4)))
    assert isinstance(plan, Windows)
