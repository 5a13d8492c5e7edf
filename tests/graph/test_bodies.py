"""Bodies of If, Loop and Scan at import, and what writes and removes them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from xgraph.errors import GraphError
from xgraph.graph.body import Body
from xgraph.graph.emit import Emit
from xgraph.graph.normalise import normalise
from xgraph.graph.operands import bodies
from xgraph.graph.prune import remove_unused
from xgraph.graph.shapes import dims


def inside(model: ir.Model) -> list[str]:
    return [node.op_type for body in model.graph.subgraphs() for node in body]


def the_loop(model: ir.Model) -> ir.Node:
    return next(node for node in model.graph if node.op_type == "Loop")


def test_bodies_capture_constants_under_names_of_their_own(parse, run, evaluator) -> None:
    text = """
    agraph (float[N, 3] x, bool which) => (float[N, 3] y)
    {
        k = Constant <value = float {3.0}> ()
        s = Mul (x, k)
        y = If (which) <
            then_branch = a () => (float[N, 3] r) { c = Constant <value = float {1.0}> () r = Add (s, c) },
            else_branch = b () => (float[N, 3] r) { c = Constant <value = float {2.0}> () r = Sub (s, c) }
        >
    }
    """
    model = parse(text)
    result = normalise(model, evaluator=evaluator)
    assert all(not body.initializers for body in result.graph.subgraphs())
    assert inside(result) == ["Add", "Sub"]
    assert sorted(float(value.const_value.numpy()) for value in result.graph.initializers.values()) == [1.0, 2.0, 3.0]
    for which in (True, False):
        feeds = {"x": np.ones((2, 3), np.float32), "which": np.asarray(which)}
        np.testing.assert_array_equal(run(result, feeds)[0], run(model, feeds)[0])


def test_an_initializer_may_be_what_a_branch_returns(parse, evaluator) -> None:
    text = """
    agraph (float[2] x, bool which) => (float[2] y)
    {
        y = If (which) < then_branch = a () => (float[2] r) { r = Exp (x) },
                         else_branch = b () => (float[2] q) <float[2] q = {1.0, 2.0}> { } >
    }
    """
    result = normalise(parse(text), evaluator=evaluator)
    assert inside(result) == ["Exp", "Identity"]


def test_what_is_constant_in_a_body_is_folded_and_a_constant_branch_taken(parse, evaluator) -> None:
    text = """
    agraph (float[N, 4] x, int64 n) => (float[N, 4] y)
    {
        y = Loop (n, , x) < body = step (int64 i, bool on, float[N, 4] h) => (bool still, float[N, 4] h2)
        {
            still = Identity (on)
            shape = Shape <start = 1, end = 2> (h)
            four = Constant <value = int64[1] {4}> ()
            same = Equal (shape, four)
            h2 = If (same) < then_branch = a () => (float[N, 4] r) { r = Exp (h) },
                             else_branch = b () => (float[N, 4] r) { r = Sin (h) } >
        } >
    }
    """
    result = normalise(parse(text), evaluator=evaluator)
    assert set(inside(result)) <= {"Identity", "Exp"}


def test_sizes_of_states_are_told_by_what_happens_to_them(parse) -> None:
    text = """
    agraph (float[N, 3] x, float[1, 3] one, float[M, 3] w, int64 n) => (float[P, 3] a, float[Q, 3] b, float[R, 3] c)
    {
        a, b, c = Loop (n, , x, x, one) <
            body = step (int64 i, bool on, float[A, 3] h, float[B, 3] grown, float[C, 3] spread)
                => (bool still, float[D, 3] h2, float[E, 3] grown2, float[F, 3] spread2)
            { still = Identity (on) h2 = Exp (h) grown2 = Concat <axis = 0> (grown, one) spread2 = Add (spread, w) }
        >
    }
    """
    loop = the_loop(normalise(parse(text)))
    (body,) = bodies(loop)
    kept, grown, spread = (dims(value) for value in body.inputs[2:])
    assert kept == ("batch", 3) == dims(loop.outputs[0])
    assert grown == ("grown_dim0", 3)
    assert "grown_dim0" in dims(body.outputs[2])[0]
    assert spread == ("spread_dim0", 3)


def test_zeros_have_the_sizes_they_are_made_for(parse) -> None:
    text = """
    agraph (float[N, T, 4] x) => (float[A, B] y)
    {
        size = Shape <start = 0, end = 1> (x)
        five = Constant <value = int64[1] {5}> ()
        sizes = Concat <axis = 0> (size, five)
        zeros = ConstantOfShape (sizes)
        y = Exp (zeros)
    }
    """
    assert dims(normalise(parse(text)).graph.outputs[0]) == ("batch", 5)


def test_what_only_a_removed_body_reads_goes_too() -> None:
    x = ir.Value(name="x", shape=ir.Shape([2]), type=ir.TensorType(ir.DataType.FLOAT))
    c = ir.Value(name="c", shape=ir.Shape([]), type=ir.TensorType(ir.DataType.BOOL))
    graph = ir.Graph([x, c], [], nodes=[], opset_imports={"": 18}, name="g")
    model = ir.Model(graph, ir_version=9)
    b = Emit(model)
    captured = b.Exp(x)
    branches = []
    for op in ("Sin", "Cos"):
        body = Body(b)
        body.result(getattr(body.b, op)(captured))
        branches.append(body.graph)
    b.op("If", [c], dict(zip(("then_branch", "else_branch"), branches, strict=True)), like=[captured])
    graph.outputs.append(b.Neg(x))
    assert [node.op_type for node in graph] == ["Exp", "If", "Neg"]
    remove_unused(model)
    assert [node.op_type for node in graph] == ["Neg"]


def test_a_body_shares_names_and_constants_but_no_nodes() -> None:
    x = ir.Value(name="x", shape=ir.Shape([2]), type=ir.TensorType(ir.DataType.FLOAT))
    graph = ir.Graph([x], [], nodes=[], opset_imports={"": 18}, name="g")
    b = Emit(ir.Model(graph, ir_version=9))
    outer, body = b.Mul(x, 2.0), Body(b)
    own = body.b.Mul(x, 2.0)
    assert own is not outer
    assert own.name != outer.name
    assert own.graph is body.graph
    assert own.producer().inputs[1] is outer.producer().inputs[1]
    assert body.b.Mul(x, 2.0) is own
    body.result(own)
    body.result(own)
    body.result(outer)
    first, second, third = body.graph.outputs
    assert [value.producer().op_type for value in (first, second, third)] == ["Mul", "Identity", "Identity"]


@pytest.mark.parametrize("declared", ["float[N, 3] h", "h"])
def test_a_loop_may_leave_out_its_condition_and_its_types(declared, parse, run, evaluator) -> None:
    text = f"""
    agraph (float[N, 3] x, int64 n) => (float[N, 3] y)
    {{ y = Loop (n, , x) < body = step (int64 i, bool on, {declared}) => (bool still, float[N, 3] h2)
        {{ still = Identity (on) h2 = Exp (h) }} > }}
    """
    model = parse(text)
    result = normalise(model, evaluator=evaluator)
    assert the_loop(result).inputs[1].const_value.numpy().item() is True
    feeds = {"x": np.zeros((2, 3), np.float32), "n": np.asarray(2, np.int64)}
    np.testing.assert_array_equal(run(result, feeds)[0], run(model, feeds)[0])


def test_a_loop_whose_body_takes_something_else_is_refused(parse) -> None:
    text = """
    agraph (float[3] x, int64 n) => (float[3] y)
    { y = Loop (n, , x, x) < body = step (int64 i, bool on, float[3] h) => (bool still, float[3] h2)
        { still = Identity (on) h2 = Exp (h) } > }
    """
    with pytest.raises(GraphError, match="has no body that takes its 4 inputs"):
        normalise(parse(text))
