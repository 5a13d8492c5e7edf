"""An If with a constant condition is the branch it takes."""

from __future__ import annotations

import numpy as np
import pytest

from xgraph.graph.normalise import normalise
from xgraph.graph.patterns import Gelu, match_gelu

IF = """
agraph (float[N, 1, {middle}] x) => (float[N, a] y)
{{
    shape = Shape (x)
    axis = Constant <value = int64[1] {{2}}> ()
    one = Constant <value = int64[1] {{1}}> ()
    size = Gather (shape, axis)
    is_one = Equal (size, one)
    flat = If (is_one) <
        then_branch = taken () => (float[N, c] r)
            {{ axes = Constant <value = int64[1] {{1}}> () u = Squeeze (x, axes) r = Neg (u) }},
        else_branch = other () => (float[N, c] r)
            {{ axes = Constant <value = int64[1] {{1}}> () r = Squeeze (x, axes) }}
    >
    y = Relu (flat)
}}
"""


@pytest.mark.parametrize(("middle", "ops"), [(1, ["Squeeze", "Neg", "Relu"]), (4, ["Squeeze", "Relu"])])
def test_the_branch_taken_stays(middle, ops, parse, run, evaluator):
    model = parse(IF.format(middle=middle))
    result = normalise(model, evaluator=evaluator)
    assert [node.op_type for node in result.graph] == ops
    x = np.linspace(-1, 1, 3 * middle, dtype=np.float32).reshape(3, 1, middle)
    (expected,), (actual,) = run(model, {"x": x}), run(result, {"x": x})
    np.testing.assert_array_equal(actual, expected)


def test_an_output_keeps_its_name_and_an_open_condition_stays(parse, run, evaluator):
    text = """
    agraph (float[N, 3] x, bool which) => (float[N, 3] y, float[N, 3] z)
    <bool yes = {1}>
    {
        y = If (yes) < then_branch = a () => (float[N, 3] r) { r = Exp (x) }, else_branch = b () => (float[N, 3] r) { r = Abs (x) } >
        z = If (which) < then_branch = c () => (float[N, 3] r) { r = Exp (x) }, else_branch = d () => (float[N, 3] r) { r = Abs (x) } >
    }
    """  # noqa: E501
    result = normalise(parse(text), evaluator=evaluator)
    assert [node.op_type for node in result.graph] == ["Exp", "If"]
    assert [output.name for output in result.graph.outputs] == ["y", "z"]


def test_what_a_branch_holds_is_taken_apart_too(parse, evaluator):
    text = """
    agraph (float[N, 3] x) => (float[N, 3] y)
    <bool yes = {0}>
    {
        g = If (yes) < then_branch = a () => (float[N, 3] r) { r = Exp (x) }, else_branch = b () => (float[N, 3] r) { r = Gelu (x) } >
        y = Neg (g)
    }
    """  # noqa: E501
    result = normalise(parse(text, opset=20), evaluator=evaluator)
    assert any(isinstance(match_gelu(node), Gelu) for node in result.graph)
