"""If, Loop and Scan: whole small models in double precision against central differences."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from rules.models import check, derive, normal, run, seeded, session

from xgraph.errors import UnsupportedOpError
from xgraph.graph.emit import Emit
from xgraph.graph.normalise import normalise
from xgraph.graph.walk import pull
from xgraph.rules.vjp import vjp

IF = """
agraph (real[N, 3] x, real[3] w, real[3] v, bool c) => (real[N, 3] y, real[N, 3] z)
{
    k = Exp (w)
    y, z = If (c) <
        then_branch = yes () => (real[N, 3] a, real[N, 3] b) { p = Mul (x, k) a = Tanh (p) b = Mul (a, v) },
        else_branch = no () => (real[N, 3] d, real[N, 3] e) { q = Sin (x) d = Mul (q, x) e = Identity (x) }
    >
}
"""


@pytest.mark.parametrize("taken", [True, False])
def test_a_branch_is_differentiated_and_what_it_does_not_read_gets_zeros(taken: bool) -> None:
    feeds = {"x": normal(2, 3), "w": normal(3), "v": normal(3), "c": np.asarray(taken)}
    assert check(IF, feeds) == {"x", "w", "v"}


def test_what_no_branch_passes_on_has_no_gradient() -> None:
    text = """
    agraph (real[N, 3] x, real[N, 3] u, bool c) => (real[N, 3] y)
    {
        s = If (c) < then_branch = yes () => (real[N, 3] a) { a = Sign (x) },
                     else_branch = no () => (real[N, 3] b) { b = Floor (x) } >
        y = Mul (s, u)
    }
    """
    assert check(text, {"x": normal(2, 3), "u": normal(2, 3), "c": np.asarray(True)}) == {"u"}


def test_branches_may_return_other_shapes() -> None:
    text = """
    agraph (real[N, 4] x, bool c) => (real[N, M] y)
    {
        lo = Constant <value = int64[1] {1}> () hi = Constant <value = int64[1] {3}> ()
        y = If (c) < then_branch = yes () => (real[N, P] a) { s = Slice (x, lo, hi, lo) a = Mul (s, s) },
                     else_branch = no () => (real[N, Q] b) { b = Concat <axis = 1> (x, x) } >
    }
    """
    for taken in (True, False):
        assert check(text, {"x": normal(2, 4), "c": np.asarray(taken)}) == {"x"}


LOOP = """
agraph (real[N, 3] x, real[3] w, real[5, 3] u, int64 n) => (real[N, 3] y, int64 m, real[T, N, 3] z)
{
    one = Constant <value = int64 {1}> ()
    k, m, z = Loop (n, , x, one) <
        body = step (int64 i, bool on, real[N, 3] h, int64 count) => (bool still, real[N, 3] h2, int64 count2, real[N, 3] given)
        {
            still = Identity (on)
            row = Gather <axis = 0> (u, i)
            times = CastLike (count, row)
            a = Mul (h, w)
            b = Mul (row, times)
            s = Add (a, b)
            h2 = Tanh (s)
            count2 = Add (count, one)
            given = Mul (h, h2)
        }
    >
    y = Mul (k, w)
}
"""  # noqa: E501


@pytest.mark.parametrize("trips", [4, 1, 0])
def test_a_loop_with_a_state_of_integers_and_a_value_that_is_used_outside_too(trips: int) -> None:
    feeds = {"x": normal(2, 3), "w": normal(3), "u": normal(5, 3), "n": np.asarray(trips)}
    assert check(LOOP, feeds) == {"x", "w", "u"}


WHILE = """
agraph (real[N, 3] x, real[3] w) => (real[N, 3] y)
<int64 most = {20}, bool yes = {1}>
{
    limit = Constant <value = float {3.0}> ()
    bound = CastLike (limit, x)
    y = Loop (most, yes, x) <
        body = step (int64 i, bool on, real[N, 3] h) => (bool still, real[N, 3] h2)
        {
            grown = Exp (w)
            h2 = Mul (h, grown)
            size = ReduceL2 <keepdims = 0> (h2)
            still = Less (size, bound)
        }
    >
}
"""


@pytest.mark.parametrize("text", [WHILE, WHILE.replace("(most, yes", "(omitted, yes")], ids=["or its count", "alone"])
def test_a_loop_that_ends_by_its_condition(text: str) -> None:
    for start in (0.1, 5.0):
        feeds = {"x": start * np.abs(normal(2, 3)) + 0.1, "w": np.asarray([0.3, 0.5, 0.1])}
        assert check(text, feeds) == {"x", "w"}


def test_a_linear_loop_keeps_no_states() -> None:
    text = """
    agraph (real[N, 3] x, real[N, 3] w, int64 n) => (real[N, 3] y)
    {
        y = Loop (n, , x) < body = step (int64 i, bool on, real[P, Q] h) => (bool still, real[P, Q] h2)
            { still = Identity (on) h2 = Add (h, w) } >
    }
    """
    assert check(text, {"x": normal(2, 3), "w": normal(2, 3), "n": np.asarray(3)}) == {"x", "w"}
    loops = [node for node in derive(text).gradient.graph.node if node.op_type == "Loop"]
    # Forward, again for the number of iterations, and backwards.
    assert [len(node.output) for node in loops] == [1, 2, 2]


def test_a_state_that_no_result_reads_is_left_alone() -> None:
    text = """
    agraph (real[3] x, real[3] u, int64 n) => (real[3] y, real[3] rest)
    {
        y, z = Loop (n, , x, u) < body = step (int64 i, bool on, real[3] h, real[3] k)
            => (bool still, real[3] h2, real[3] k2) { still = Identity (on) h2 = Sin (h) k2 = CumSum (k, i) } >
        rest = Floor (z)
    }
    """
    assert check(text, {"x": normal(3), "u": normal(3), "n": np.asarray(1)}) == {"x"}


SCAN = """
agraph (real[N, 3] x, real[3] w, real[N, 5, 3] u, real[5] v) => (real[N, 3] y, real[N, 3, T] z, real[T] s)
{
    y, z, s = Scan <num_scan_inputs = 2, scan_input_axes = [-2, 0], scan_input_directions = [1, 0],
                    scan_output_axes = [-1, 0], scan_output_directions = [1, 0],
        body = step (real[N, 3] h, real[N, 3] row, real t) => (real[N, 3] h2, real[N, 3] given, real total)
        {
            a = Mul (h, w)
            b = Mul (row, t)
            sum = Add (a, b)
            h2 = Tanh (sum)
            given = Mul (h, h2)
            total = ReduceSum <keepdims = 0> (given)
        }
    > (x, u, v)
}
"""


def test_a_scan_along_other_axes_and_in_either_direction() -> None:
    feeds = {"x": normal(2, 3), "w": normal(3), "u": normal(2, 5, 3), "v": normal(5)}
    assert check(SCAN, feeds) == {"x", "w", "u", "v"}


def test_a_scan_without_a_state_maps() -> None:
    text = """
    agraph (real[T, 3] x, real[3] w) => (real[T, 3] y)
    {
        y = Scan <num_scan_inputs = 1, body = step (real[3] row) => (real[3] given) { a = Sin (row) given = Mul (a, w) }> (x)
    }
    """  # noqa: E501
    assert check(text, {"x": normal(4, 3), "w": normal(3)}) == {"x", "w"}


NESTED = """
agraph (real[N, 3] x, real[3] w, real[4, 3] u, int64 n, bool c) => (real[N, 3] y, real[T, N, 3] z)
{
    y, z = Scan <num_scan_inputs = 1, body = outer (real[N, 3] h, real[3] row) => (real[N, 3] h2, real[N, 3] given)
        {
            k = If (c) <
                then_branch = yes () => (real[N, 3] a)
                {
                    a = Loop (n, , h) <body = inner (int64 i, bool on, real[N, 3] q) => (bool still, real[N, 3] q2)
                        { still = Identity (on) p = Mul (q, w) r = Add (p, row) q2 = Sin (r) }>
                },
                else_branch = no () => (real[N, 3] b) { b = Mul (h, x) }
            >
            h2 = Add (k, row)
            given = Tanh (k)
        }
    > (x, u)
}
"""


@pytest.mark.parametrize(("taken", "trips"), [(True, 3), (True, 0), (False, 3)])
def test_a_loop_in_a_branch_in_a_scan(taken: bool, trips: int) -> None:
    feeds = {"x": 0.5 * normal(2, 3), "w": normal(3), "u": normal(4, 3), "n": np.asarray(trips), "c": np.asarray(taken)}
    assert check(NESTED, feeds) == {"x", "w", "u"}


def test_an_old_body_is_converted() -> None:
    text = """
    agraph (real[N, 3] x, int64 n) => (real[N, 1] y)
    {
        s = ReduceSum <axes = [1]> (x)
        y = Loop (n, , s) < body = step (int64 i, bool on, real[N, 1] h) => (bool still, real[N, 1] h2)
            { still = Identity (on) a = Squeeze <axes = [1]> (h) b = Sin (a) d = Unsqueeze <axes = [1]> (b)
              e = ReduceSum <axes = [1]> (x) h2 = Mul (d, e) } >
    }
    """
    assert check(text, {"x": normal(2, 3), "n": np.asarray(2)}, opset=11) == {"x"}


BODY = """q{0} = Conv <auto_pad = "SAME_UPPER", kernel_shape = [3]> ({1}, w)
          g{0} = Gelu (q{0}) r{0} = MaxPool <kernel_shape = [3], pads = [1, 1]> (g{0}) {2} = Add (r{0}, x)"""
LOOPED = f"""
agraph (float[N, 2, 6] x, float[2, 2, 3] w, int64 n) => (float[N, 2, 6] y)
{{
    y = Loop (n, , x) < body = step (int64 i, bool on, float[N, 2, 6] h) => (bool still, float[N, 2, 6] h2)
        {{ still = Identity (on) {BODY.format("", "h", "h2")} }} >
}}
"""
UNROLLED = f"""
agraph (float[N, 2, 6] x, float[2, 2, 3] w, int64 n) => (float[N, 2, 6] y)
{{ {BODY.format(0, "x", "a")} {BODY.format(1, "a", "b")} {BODY.format(2, "b", "y")} }}
"""


def test_bodies_are_taken_apart_and_lowered_like_the_graph_around_them() -> None:
    feeds = {"x": normal(2, 2, 6), "w": normal(2, 2, 3), "n": np.asarray(3), "seed_y": normal(2, 2, 6)}
    feeds = {name: a.astype(np.float32) if a.dtype == np.float64 else a for name, a in feeds.items()}
    found, expected = (run(session(derive(text, 20).gradient), feeds) for text in (LOOPED, UNROLLED))
    for name in ("y", "grad_x", "grad_w"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-4 * np.abs(expected[name]).max())


def test_what_a_loop_collects_in_a_sequence() -> None:
    text = """
    agraph (real[N, 3] x, int64 n) => (real[N, P] y, real[N, T, 3] z)
    {
        none = SequenceEmpty <dtype = 11> ()
        h, all, more = Loop (n, , x, none, none) <
            body = step (int64 i, bool on, real[N, 3] a, seq(real[N, 3]) s, seq(real[N, 3]) t)
                => (bool still, real[N, 3] b, seq(real[N, 3]) s2, seq(real[N, 3]) t2)
            { still = Identity (on) b = Sin (a) s2 = SequenceInsert (s, b) t2 = SequenceInsert (t, a) }
        >
        y = ConcatFromSequence <axis = 1> (all)
        z = ConcatFromSequence <axis = -2, new_axis = 1> (more)
    }
    """
    model = derive(text)
    assert not {"SequenceEmpty", "ConcatFromSequence"} & {node.op_type for node in model.gradient.graph.node}
    feeds = {"x": normal(2, 3), "n": np.asarray(4)}
    nominal = run(session(model.forward), feeds)
    seeds = seeded(nominal)
    found = run(session(model.gradient), {**feeds, **seeds})
    for name, y in nominal.items():
        np.testing.assert_array_equal(found[name], y)
    grad, x = np.zeros((2, 3)), feeds["x"]
    states = [x]
    for _ in range(4):
        states.append(np.sin(states[-1]))
    for t in reversed(range(4)):
        grad = (grad + seeds["seed_y"][:, 3 * t : 3 * t + 3]) * np.cos(states[t]) + seeds["seed_z"][:, t]
    np.testing.assert_allclose(found["grad_x"], grad, rtol=1e-12)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("h2 = Concat <axis = 1> (h, x)", r"the state 'h' to have the same shape in every iteration"),
        ("r = RandomNormalLike (h) h2 = Mul (h, r)", r"a body without random numbers"),
    ],
)
def test_what_cannot_be_walked_back_is_refused(body: str, said: str) -> None:
    text = f"""
    agraph (real[N, 3] x, int64 n) => (real[N, M] y)
    {{ y = Loop (n, , x) < body = step (int64 i, bool on, real[N, P] h) => (bool still, real[N, Q] h2)
        {{ still = Identity (on) {body} }} > }}
    """
    with pytest.raises(UnsupportedOpError, match=said):
        derive(text)


def test_one_row_that_grows_is_refused() -> None:
    text = """
    agraph (real[1, 3] x, real[N, 3] w, int64 n) => (real[M, 3] y)
    { y = Loop (n, , x) < body = step (int64 i, bool on, real[P, 3] h) => (bool still, real[Q, 3] h2)
        { still = Identity (on) h2 = Add (h, w) } > }
    """
    with pytest.raises(UnsupportedOpError, match="the state 'h' to have the same shape"):
        derive(text)


def test_an_operator_without_a_rule_inside_a_body_is_named() -> None:
    text = """
    agraph (real[N, 3] x, bool c) => (real[N, 3] y)
    {
        y = If (c) < then_branch = yes () => (real[N, 3] a) { a = Exp (x) },
                     else_branch = no () => (real[N, 3] b) { b = Strange (x) } >
    }
    """
    header = '<ir_version: 9, opset_import: ["": 18, "odd": 1]>'
    proto = onnx.parser.parse_model(header + text.replace("real", "float").replace("Strange", "odd.Strange"))
    model = normalise(ir.from_proto(proto))
    (x, _), (y,) = model.graph.inputs, model.graph.outputs
    with pytest.raises(UnsupportedOpError, match="no rule for odd::Strange"):
        pull(Emit(model), list(model.graph), vjp.lookup, {y: y}, [x])
