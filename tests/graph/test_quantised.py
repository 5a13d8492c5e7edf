"""Quantised numbers: what commutes with dequantising, and gradients straight through."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from graph.pulled import gradients

from xgraph.errors import GraphError, UnsupportedOpError
from xgraph.graph.normalise import normalise
from xgraph.graph.normalise.infer import infer_shapes
from xgraph.graph.normalise.quantised import unrounded
from xgraph.graph.normalise.verify import compare


def array(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def pair(parse, attributes="", opset=18, **weights):
    text = f"""g (float[2, 6] x, float[{", ".join(map(str, weights["s"].shape))}] s) => (float[2, 6] y)
        {{ q = QuantizeLinear{attributes}(x, s, z) y = DequantizeLinear{attributes}(q, s, z) }}"""
    model = parse(text, opset=opset, weights={"z": weights["z"]})
    infer_shapes(model)
    return model


# Attributes, opset, scale, zero point.
GRIDS = {
    "one": ("", 18, np.full(1, 0.1, np.float32), np.full(1, 9, np.uint8)),
    "signed": ("", 18, np.full(1, 0.02, np.float32), np.full(1, -3, np.int8)),
    "per column": ("<axis = 1>", 18, np.linspace(0.005, 0.05, 6).astype(np.float32), np.arange(6).astype(np.int8)),
    "per row": ("<axis = -2>", 18, np.float32([0.1, 0.01]), np.zeros(2, np.int8)),
    "16 bits": ("", 21, np.full(1, 1e-4, np.float32), np.full(1, 9, np.uint16)),
    "blocks": ("<axis = 1, block_size = 4>", 21, np.float32([[0.1, 0.01], [0.02, 0.03]]), np.zeros((2, 2), np.int8)),
}  # fmt: skip


@pytest.mark.parametrize("case", GRIDS)
def test_straight_through(case, parse, run):
    attributes, opset, s, z = GRIDS[case]
    x, g = 2 * array(2, 6), array(2, 6, seed=1)
    model = pair(parse, attributes, opset, s=s, z=z)
    got = gradients(model, run, {"x": x, "s": s, "g": g}, "x", "s")
    if case == "blocks":
        full_s, full_z = (np.repeat(v, 4, 1)[:, :6] for v in (s, z))
    else:
        shape = (2, 1) if case == "per row" else (1, -1)
        full_s, full_z = (np.broadcast_to(v.reshape(shape), (2, 6)) for v in (s, z))
    limits = np.iinfo(z.dtype)
    steps = np.rint(x / full_s) + full_z
    inside = (steps >= limits.min) & (steps <= limits.max)
    assert 0 < inside.sum() < inside.size
    q = np.clip(steps, limits.min, limits.max)
    of_scale = g * (q - full_z - inside * x / full_s)
    if case == "blocks":
        of_scale = np.stack([of_scale[:, :4].sum(1), of_scale[:, 4:].sum(1)], 1)
    else:
        axis = {"per column": 0, "per row": 1}.get(case, (0, 1))
        of_scale = of_scale.sum(axis).reshape(s.shape)
    np.testing.assert_allclose(got[0], g * inside, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got[1], of_scale, rtol=1e-4, atol=1e-3 * np.abs(of_scale).max())


@pytest.mark.torch
def test_straight_through_as_torch_learns_scales(parse, run):
    torch = pytest.importorskip("torch")

    _, _, s, z = GRIDS["one"]
    x, g = np.float32([[-30, -0.8, -0.3, 0.0, 0.04, 0.1], [1, 5, 20, 24, 24.55, 30]]), array(2, 6, seed=1)
    got = gradients(pair(parse, s=s, z=z), run, {"x": x, "s": s, "g": g}, "x", "s")
    leaf, scale = torch.tensor(x, requires_grad=True), torch.tensor(s, requires_grad=True)
    y = torch._fake_quantize_learnable_per_tensor_affine(leaf, scale, torch.tensor([9.0]), 0, 255, 1.0)
    y.backward(torch.tensor(g))
    np.testing.assert_allclose(got[0], leaf.grad, rtol=1e-6)
    np.testing.assert_allclose(got[1], scale.grad, rtol=1e-4)


def test_a_grid_that_follows_the_numbers_passes_everything(parse, run):
    """The limits move with the extremes: nothing is clipped, and scales contribute no more than rounding does."""
    text = (
        """g (float[2, 6] x) => (float[2, 6] y) { q, s, z = DynamicQuantizeLinear(x) y = DequantizeLinear(q, s, z) }"""
    )
    x, g = array(2, 6), array(2, 6, seed=1)
    (got,) = gradients(normalise(parse(text)), run, {"x": x, "g": g}, "x")
    # The rounding of each number is at most half a step of (max - min) / 255.
    np.testing.assert_allclose(got, g, atol=2 * 0.5 / 255 * np.abs(g).sum())


Q = "q = QuantizeLinear(x, s, z)"
MOVES = {
    "Transpose": "r = Transpose(q)",
    "MaxPool": "r = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(q)",
    "MaxPool padded": "r = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(q)",
    "Reshape twice": "a = Constant<value = int64[2] {0, -1}>() p = Reshape(q, a) r = Transpose(p)",
    "Concat": "p = Transpose<perm = [0, 1, 3, 2]>(q) r = Concat<axis = 1>(q, p)",
    "Slice": "a = Constant<value = int64[1] {1}>() e = Constant<value = int64[1] {3}>() r = Slice(q, a, e, e)",
    "Flatten": "r = Flatten(q)",
    "Gather": "a = Constant<value = int64[2] {3, 1}>() r = Gather<axis = 2>(q, a)",
    "Pad": "a = Constant<value = int64[8] {0, 0, 1, 1, 0, 0, 0, 2}>() r = Pad(q, a)",
    "Resize": 'a = Constant<value = float[4] {1.0, 1.0, 2.0, 2.0}>() r = Resize<mode = "nearest">(q, , a)',
    "Split": "p, t = Split<axis = 1, num_outputs = 2>(q) r = Max(p, t)",
    "Where": "c = Cast<to = 9>(q) p = Transpose<perm = [0, 1, 3, 2]>(q) r = Where(c, q, p)",
}


@pytest.mark.parametrize("case", MOVES)
@pytest.mark.parametrize("readers", [1, 2])
def test_moving_integers_becomes_moving_floats(case, readers, parse, run):
    s, z = np.float32(0.03), np.uint8(7)
    ends = "y = DequantizeLinear(r, s, z)"
    if readers == 2:
        ends = "a1 = DequantizeLinear(r, s, z) a2 = DequantizeLinear(r, s, z) y = Add(a1, a2)"
    model = parse(f"g (float[2, 4, 4, 4] x) => (float y) {{ {Q} {MOVES[case]} {ends} }}", weights={"s": s, "z": z})
    feeds = {"x": array(2, 4, 4, 4)}
    (expected,) = run(model, feeds)
    result = normalise(model)
    np.testing.assert_array_equal(run(result, feeds)[0], expected)
    integers = [n.op_type for n in result.graph for o in n.outputs if o.dtype == ir.DataType.UINT8]
    assert integers == ["QuantizeLinear"]
    assert sum(n.op_type == "DequantizeLinear" and n.inputs[0].producer() is not None for n in result.graph) <= 1


def test_arithmetic_on_integers_stays_and_is_refused_by_name(parse, run):
    text = f"g (float[2, 4] x) => (float[2, 4] y) {{ {Q} a = Mul(q, q) y = DequantizeLinear(a, s, z) }}"
    model = normalise(parse(text, weights={"s": np.float32(0.03), "z": np.uint8(7)}))
    with pytest.raises(UnsupportedOpError, match="Mul"):
        gradients(model, run, {}, "x")


def test_constants_are_dequantised_under_their_own_name(parse, run):
    w = np.arange(-12, 12, dtype=np.int8).reshape(4, 6)
    text = "g (float[2, 4] x) => (float[2, 6] y) { w = DequantizeLinear<axis = 1>(w_quantized, s, z) y = MatMul(x, w) }"
    weights = {"w_quantized": w, "s": np.linspace(0.1, 0.6, 6).astype(np.float32), "z": np.arange(6).astype(np.int8)}
    result = normalise(parse(text, weights=weights))
    assert "w" not in {o.name for n in result.graph for o in n.outputs}
    assert [n.op_type for n in result.graph] == ["MatMul"]
    (found,) = run(result, {"x": array(2, 4)})
    np.testing.assert_allclose(found, array(2, 4) @ ((w - weights["z"].astype(int)) * weights["s"]), rtol=1e-5)


def test_large_weights_of_4_bits_and_weights_that_nobody_reads(parse, evaluator):
    """Neither can be handed to ONNX Runtime apart from the file."""
    weights = {
        "w": np.random.default_rng(0).integers(-8, 8, (64, 64)).astype(ml_dtypes.int4),
        "s": np.linspace(0.01, 0.05, 64).astype(np.float32),
        "idle": array(64, 64),
    }
    text = "g (float[2, 64] x) => (float[2, 64] y) { a = DequantizeLinear<axis = 1>(w, s) y = MatMul(x, a) }"
    result = normalise(parse(text, opset=21, weights=weights), evaluator=evaluator)
    (name,) = result.graph.initializers
    np.testing.assert_array_equal(result.graph.initializers[name].const_value.numpy(), weights["w"] * weights["s"])


FAKE = f"g (float[2, 64] x) => (float[2, 64] y) {{ {Q} a = DequantizeLinear(q, s, z) y = Mul(a, a) }}"


def test_a_step_of_rounding_is_no_wrong_import(parse, run):
    model = normalise(parse(FAKE, weights={"s": np.float32(0.1), "z": np.uint8(100)}))
    (coarse,), (exact,) = (run(m, {"x": array(2, 64)}) for m in (model, unrounded(model)))
    np.testing.assert_allclose(exact, array(2, 64) ** 2, rtol=1e-4, atol=1e-6)
    worst = np.abs(coarse - exact).max()
    answers = iter([[exact], [coarse], [exact]])
    compare(model, model, lambda *_: next(answers))
    answers = iter([[exact + 3 * worst], [coarse], [exact]])
    with pytest.raises(GraphError, match="that rounding changes"):
        compare(model, model, lambda *_: next(answers))
