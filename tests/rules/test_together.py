"""Gradients that depend on how nodes stand together, and on sizes that are open: whole small models."""

from __future__ import annotations

import numpy as np
import pytest
from rules.models import RNG, check, derive, normal, run, session

from xgraph.errors import UnsupportedOpError


@pytest.mark.parametrize("masked", ["Where (m, y0, p)", "Where (n, p, y0)"])
def test_a_mask_behind_a_softmax_leaves_the_rest_its_share(masked: str) -> None:
    text = f"""
    agraph (real[N, 4] x, bool[N, 4] m) => (real[N, 4] y)
    <real[1] y0 = {{0}}> {{ p = Softmax <axis = 1> (x) n = Not (m) y = {masked} }}
    """
    assert check(text, {"x": normal(3, 4), "m": normal(3, 4) > 0.5}) == {"x"}


def test_rows_that_are_masked_as_a_whole_have_no_gradient() -> None:
    text = """
    agraph (real[N, 4] x, bool[N, 4] m) => (real[N, 4] y)
    <real[1] zero = {0}, real[1] low = {-1e999}> {
        s = Where (m, low, x) p = Softmax <axis = 1> (s) none = IsNaN (p) y = Where (none, zero, p)
    }
    """
    mask = np.array([[True] * 4, [True, False, False, False]])
    x = normal(2, 4)
    model = derive(text.replace("-1e999", "-inf"))
    found = run(session(model.gradient), {"x": x, "m": mask, "seed_y": normal(2, 4)})["grad_x"]
    assert np.isfinite(found).all()
    assert not found[0].any()
    assert found[1, 1:].any()


def test_what_computes_an_operand_is_walked_once() -> None:
    # Places and updates are two outputs of one node.
    text = """
    agraph (real[N, 4] z) => (real[N, 4] y) <int64[1] k = {3}> {
        h, at = TopK <axis = 1> (z, k)
        y = ScatterElements <axis = 1, reduction = "mul"> (z, at, h)
    }
    """
    assert check(text, {"z": normal(2, 4)}) == {"z"}


@pytest.mark.parametrize("op", ["Add", "Mul", "Max", "Where", "Sum"])
def test_either_of_two_open_sizes_may_be_one(op: str) -> None:
    node = "Where (c, x, w)" if op == "Where" else f"{op} (x, w)"
    text = f"""
    agraph (real[N, T, 2] x, real[N, S, 2] w, bool[N, 1, 2] c) => (real[N, U, 2] y) {{ s = {node} y = Tanh (s) }}
    """
    c = normal(2, 1, 2) > 0
    for t, s in ((1, 3), (3, 1), (3, 3)):
        assert check(text, {"x": normal(2, t, 2), "w": normal(2, s, 2), "c": c}) == {"x", "w"}


@pytest.mark.parametrize(
    "node",
    [
        'Conv <auto_pad = "SAME_UPPER", kernel_shape = [3, 3], strides = [2, 2]> (x, w)',
        "MaxPool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1> (x)",
        "AveragePool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (x)",
    ],
)
@pytest.mark.parametrize("size", [(6, 7), (5, 8)])
def test_windows_over_open_sizes(node: str, size: tuple[int, int]) -> None:
    text = f"""
    agraph (real[N, 2, H, W] x, real[2, 2, 3, 3] w) => (real[N, 2, P, Q] y, real[2, 2, 3, 3] v)
    {{ a = {node} y = Tanh (a) v = Identity (w) }}
    """
    # ONNX Runtime computes these in float32 only.
    model = derive(text, element="float")
    # Entries far apart, so that no window's maximum moves.
    x = RNG.permutation(np.arange(4.0 * size[0] * size[1])).reshape(2, 2, *size) / 40 - 2
    feeds = {"x": x.astype(np.float32), "w": normal(2, 2, 3, 3).astype(np.float32)}
    seeds = {"seed_y": np.ones_like(run(session(model.forward), feeds)["y"]), "seed_v": np.zeros_like(feeds["w"])}
    grad = run(session(model.gradient), {**feeds, **seeds})["grad_x"]
    direction = normal(*feeds["x"].shape)
    moved = [
        float(
            np.sum(run(session(model.forward), {**feeds, "x": feeds["x"] + np.float32(h) * direction.astype("f")})["y"])
        )
        for h in (1e-2, -1e-2)
    ]
    assert float(np.sum(grad * direction)) == pytest.approx((moved[0] - moved[1]) / 2e-2, rel=2e-2, abs=2e-2)


@pytest.mark.parametrize("length", [5, 12])
def test_a_slice_may_find_less_than_it_asks_for(length: int) -> None:
    text = """
    agraph (real[N, T, 3] x) => (real[N, 3] y)
    <int64[1] zero = {0}, int64[1] ten = {10}, int64[1] axis = {1}> {
        cut = Slice (x, zero, ten, axis) bent = Tanh (cut) y = ReduceMean <keepdims = 0> (bent, axis)
    }
    """
    assert check(text, {"x": normal(2, length, 3)}) == {"x"}


def test_dropout_inside_a_body_is_refused() -> None:
    text = """
    agraph (real[N, 3] x, bool c, bool training) => (real[N, 3] y)
    <float half = {0.5}> {
        y = If (c) <
            then_branch = yes () => (real[N, 3] a) { a, mask = Dropout (x, half, training) },
            else_branch = no () => (real[N, 3] b) { b = Identity (x) }
        >
    }
    """
    with pytest.raises(UnsupportedOpError, match="a body without random numbers"):
        derive(text)


@pytest.mark.parametrize("bound", ["low", "high"])
def test_bounds_may_be_vectors_of_one(bound: str) -> None:
    text = "agraph (real[N, 3] x, real[1] low, real[1] high) => (real[N, 3] y) { y = Clip (x, low, high) }"
    assert bound in check(text, {"x": normal(4, 3), "low": np.array([-0.5]), "high": np.array([0.4])})
