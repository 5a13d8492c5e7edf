"""What the gradient book says where mathematics leaves a choice, and what it refuses."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rules.harness import Case, Const, Draw, case, check_directional, derive, gradients

from xgraph.errors import UnsupportedOpError
from xgraph.rules.vjp import vjp


def pulled(row: Case, *xs: Any, seed: Any = None, ort: bool = False) -> list[np.ndarray | None]:
    """Returns the gradients of ``row`` at ``xs`` for a seed of ones, or the one given."""
    feeds = {f"x{i}": np.asarray(x, np.float64) for i, x in enumerate(xs) if x is not None}
    return gradients(row, feeds, {"seed0": np.asarray(seed, np.float64)}, ort=ort)


BOTH = pytest.mark.parametrize("ort", [False, True], ids=["reference", "onnxruntime"])


@BOTH
@pytest.mark.parametrize(
    ("row", "x", "dx"),
    [
        (case("Relu", (3,)), [-1, 0, 1], [0, 0, 1]),
        (case("LeakyRelu", (3,), alpha=0.25), [-1, 0, 1], [0.25, 0.25, 1]),
        (case("PRelu", (3,), np.asarray([0.25])), [-1, 0, 1], [0.25, 0.25, 1]),
        (case("ThresholdedRelu", (3,), alpha=0.5), [0.25, 0.5, 1], [0, 0, 1]),
        (case("Elu", (3,), alpha=2.0), [-100, 0, 1], [0, 2, 1]),
        (case("HardSigmoid", (5,), alpha=0.5, beta=0.5), [-2, -1, 0, 1, 2], [0, 0, 0.5, 0, 0]),
        (case("HardSwish", (4,)), [-4, -3, 3, 4], [0, 0, 1, 1]),
        (case("Shrink", (5,), lambd=1.0), [-2, -1, 0, 1, 2], [1, 0, 0, 0, 1]),
        (case("Abs", (3,)), [-1, 0, 1], [-1, 0, 1]),
        (case("Clip", (5,), -1.0, 1.0), [-2, -1, 0, 1, 2], [0, 0, 1, 0, 0]),
        (case("Clip", (3,), None, 1.0), [0, 1, 2], [1, 0, 0]),
        (case("Clip", (3,), -1.0), [-2, -1, 0], [0, 0, 1]),
        (case("Pow", (3,), 2.0), [-1, 0, 1], [-2, 0, 2]),
        (case("Pow", (3,), np.asarray([0.0, 1.0, 2.0])), [0, 0, 0], [0, 1, 0]),
        (case("ReduceL2", (2,)), [0, 0], [0, 0]),
        (case("ReduceL1", (3,)), [-1, 0, 1], [-1, 0, 1]),
        (case("ReduceProd", (3,)), [0, 2, 3], [6, 0, 0]),
        (case("ReduceProd", (3,)), [0, 2, 0], [0, 0, 0]),
    ],
    ids=lambda value: value.name if isinstance(value, Case) else str(value).replace(" ", ""),
)
def test_value_at_a_kink(row: Case, x: list[float], dx: list[float], ort: bool) -> None:
    seed = [1.0] if row.op.startswith("Reduce") else np.ones(len(x))
    np.testing.assert_allclose(pulled(row, x, seed=seed, ort=ort)[0], dx, rtol=0, atol=1e-6)


@BOTH
@pytest.mark.parametrize(
    ("row", "x", "seed", "dx"),
    [
        (case("ReduceMax", (2, 3), [1], keepdims=0), [[1, 2, 2], [3, 3, 3]], [1, 1], [[0, 1, 0], [1, 0, 0]]),
        (case("ReduceMin", (2, 3), [1], keepdims=0), [[2, 1, 1], [3, 3, 3]], [1, 1], [[0, 1, 0], [1, 0, 0]]),
        (case("ReduceMax", (2, 2), [0, 1], keepdims=0), [[1, 2], [2, 2]], 1, [[0, 1], [0, 0]]),
        (case("GlobalMaxPool", (1, 1, 4)), [[[1, 2, 2, 0]]], [[[1]]], [[[0, 1, 0, 0]]]),
        (case("GlobalMaxPool", (1, 1, 2, 2)), [[[[1, 2], [2, 2]]]], [[[[1]]]], [[[[0, 1], [0, 0]]]]),
        (case("MaxPool", (1, 1, 4), kernel_shape=[2], strides=[2]), [[[0, 0, 5, 5]]], [[[1, 1]]], [[[1, 0, 1, 0]]]),
        (case("MaxPool", (1, 1, 3), kernel_shape=[2]), [[[0, 0, 0]]], [[[1, 1]]], [[[1, 1, 0]]]),
    ],
    ids=lambda value: value.name if isinstance(value, Case) else str(value).replace(" ", ""),
)
def test_first_extremum_gets_everything(row: Case, x: Any, seed: Any, dx: Any, ort: bool) -> None:
    np.testing.assert_array_equal(pulled(row, x, seed=seed, ort=ort)[0], dx)


@BOTH
def test_equal_inputs_of_max_share_equally(ort: bool) -> None:
    row = case("Max", (3,), (3,), (3,))
    found = pulled(row, [1, 2, 2], [1, 2, 0], [1, 0, 0], seed=[6, 6, 6], ort=ort)
    np.testing.assert_array_equal(found, [[2, 3, 6], [2, 3, 0], [2, 0, 0]])


@BOTH
def test_equal_inputs_of_min_share_equally(ort: bool) -> None:
    found = pulled(case("Min", (2,), ()), [1, 2], 1, seed=[6, 6], ort=ort)
    np.testing.assert_array_equal(found[0], [3, 0])
    np.testing.assert_array_equal(found[1], 9)


@BOTH
def test_x_at_a_computed_bound_is_clipped_by_it(ort: bool) -> None:
    dx, low, high = pulled(case("Clip", (5,), (), ()), [-2, -1, 0, 1, 2], -1, 1, seed=np.ones(5), ort=ort)
    np.testing.assert_array_equal(dx, [0, 0, 1, 0, 0])
    assert (low, high) == (2, 2)


@BOTH
def test_exponent_of_zero_gets_nothing(ort: bool) -> None:
    _, exponent = pulled(case("Pow", (2,), (2,)), [0, 2], [2, 2], seed=[1, 1], ort=ort)
    np.testing.assert_allclose(exponent, [0, 4 * np.log(2)], rtol=1e-6)


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceLogSumExp"])
def test_reduction_of_no_axes_is_the_identity(op: str) -> None:
    row = case(op, (2, 3), [], noop_with_empty_axes=1)
    seed = np.arange(6.0).reshape(2, 3)
    derived = derive(row, np.float64, dynamic=False)
    x = derived.feeds(2)["x0"]
    # The reference evaluator reduces over all axes here.
    found = pulled(row, x, seed=seed, ort=True)
    np.testing.assert_allclose(found[0], seed, rtol=1e-6)


@BOTH
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Pow"])
def test_one_value_used_twice(op: str, ort: bool) -> None:
    expected = {"Add": 2.0, "Sub": 0.0, "Mul": 6.0, "Div": 0.0, "Max": 1.0, "Pow": 27 * (np.log(3) + 1)}[op]
    row = Case(op, (Draw((1,)), "x0"))
    np.testing.assert_allclose(pulled(row, [3.0], seed=[1.0], ort=ort)[0], [expected], rtol=1e-6, atol=1e-6)


@BOTH
@pytest.mark.parametrize("seeded", [0, 1, 2])
def test_part_that_is_not_used_gets_zeros(seeded: int, ort: bool) -> None:
    row = case("Split", (1, 6), [1, 2, 3], axis=1, outputs=3)
    seed = {f"seed{seeded}": np.ones((1, seeded + 1))}
    found = gradients(row, {"x0": np.zeros((1, 6))}, seed, ort=ort)
    expected = np.repeat([float(i == seeded) for i in range(3)], [1, 2, 3])[None]
    np.testing.assert_array_equal(found[0], expected)


@pytest.mark.parametrize("seeded", [0, 1, 2])
def test_outputs_of_a_recurrent_layer_one_at_a_time(seeded: int) -> None:
    rng = np.random.default_rng(3)
    weights = [rng.standard_normal(shape) for shape in ((1, 12, 2), (1, 12, 3), (1, 24))]
    row = case("LSTM", (3, 2, 2), *weights, None, (1, 2, 3), (1, 2, 3), outputs=3, hidden_size=3)
    gradient = derive(row, np.float64, dynamic=False, seeded=[seeded])
    check_directional(gradient, 2)


def test_states_of_a_recurrent_layer_are_computed_where_the_model_leaves_them_out() -> None:
    rng = np.random.default_rng(3)
    weights = [rng.standard_normal(shape) for shape in ((1, 9, 2), (1, 9, 3), (1, 18))]
    row = case("GRU", (3, 2, 2), *weights, outputs=2, hidden_size=3)
    x, seed = rng.standard_normal((3, 2, 2)), {"seed1": rng.standard_normal((1, 2, 3))}
    expected = gradients(row, {"x0": x}, seed)
    without = gradients(replace(row, omitted=(0,)), {"x0": x}, seed)
    np.testing.assert_allclose(without[0], expected[0])


def test_layer_normalisation_uses_the_statistics_of_the_forward_node() -> None:
    row = case("LayerNormalization", (2, 3), np.ones(3), np.zeros(3), outputs=3)
    given = derive(row, np.float64, dynamic=False, seeded=[0])
    reduced = [node.op_type for node in given.proto.graph.node].count("ReduceMean")
    alone = derive(case("LayerNormalization", (2, 3), np.ones(3)), np.float64, dynamic=False)
    assert reduced == 2
    assert [node.op_type for node in alone.proto.graph.node].count("ReduceMean") == 4
    x, seed = np.asarray([[1.0, 2, 4], [0, 1, 0]]), np.asarray([[1.0, 0, 0], [0, 0, 1]])
    expected = gradients(case("LayerNormalization", (2, 3), np.ones(3)), {"x0": x}, {"seed0": seed})
    np.testing.assert_allclose(gradients(row, {"x0": x}, {"seed0": seed}, ort=True), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        (case("Dropout", (2,), np.asarray(0.5), Const(np.asarray(True))), "training"),
        (
            case("MaxUnpool", (1, 1, 2), np.asarray([[[0, 3]]]), [1, 1, 5], kernel_shape=[2], strides=[2]),
            "output_shape of 4",
        ),
        (case("Det", ("n", "n")), "a fixed 'n' axis"),
        (
            case("ConvTranspose", (1, 1, 4, 4), np.ones((1, 1, 2, 2)), strides=[3, 3], auto_pad="SAME_LOWER"),
            "strides no longer than its kernel",
        ),
        (case("LpPool", (1, 1, 6), kernel_shape=[1], strides=[2], ceil_mode=1), "strides that its windows fill"),
    ],
    ids=lambda value: value.op if isinstance(value, Case) else value,
)
def test_refusal_names_the_node(row: Case, what: str) -> None:
    with pytest.raises(UnsupportedOpError, match=f"no gradient for {row.op} .*{re.escape(what)}"):
        derive(row, np.float64, dynamic=False, seeded=[0])


@pytest.mark.parametrize("op", sorted(op for op, entry in vjp.entries.items() if entry.constant))
def test_constants_have_a_reason(op: str) -> None:
    entry = vjp.entries[op]
    assert entry.rule is None
    assert len(entry.constant.split()) >= 3


@pytest.mark.parametrize("op", ["Floor", "Ceil", "Round", "Sign", "Hardmax"])
def test_piecewise_constant_gives_no_gradient(op: str) -> None:
    assert derive(case(op, (2, 3)), np.float64, dynamic=False).names[1:] == [""]


@pytest.mark.parametrize(
    "row",
    [case("Cast", (2,), to=7), case("Cast", (2,), to=9), case("ArgMax", (2, 2)), case("Shape", (2, 2))],
    ids=lambda row: row.name,
)
def test_nothing_flows_through_integers(row: Case) -> None:
    assert derive(row, np.float64, dynamic=False).names[1:] == [""]
