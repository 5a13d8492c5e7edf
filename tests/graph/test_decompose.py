# ruff: noqa: E501  (models are written as text)
"""Composite operators against ONNX Runtime's own kernels, or a literal formula where it has none."""

from __future__ import annotations

import numpy as np
import pytest

from xgraph.errors import GraphError
from xgraph.graph.normalise import normalise
from xgraph.graph.normalise.decompose import _COMPOSITE

RNG = np.random.default_rng(2)


def array(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def bools(*shape: int) -> np.ndarray:
    return RNG.random(shape) > 0.4


CASES = {
    "gelu": (20, "float[N, 5] x", "y = Gelu(x)", {}),
    "gelu tanh": (20, "float[N, 5] x", 'y = Gelu<approximate = "tanh">(x)', {}),
    "gelu half": (20, "float16[N, 5] x", "y = Gelu(x)", {}),
    "center crop pad": (18, "float[N, 5, 4, 7] x", "y = CenterCropPad<axes = [-1, 1]>(x, sizes)", {"sizes": np.array([4, 8])}),
    "center crop pad open": (18, "float[N, 5, H, W] x", "y = CenterCropPad<axes = [1, 2, 3]>(x, sizes)", {"sizes": np.array([3, 8, 2])}),
    "rms": (23, "float[N, 3, 8] x", "y = RMSNormalization<axis = -1, epsilon = 0.01>(x, w)", {"w": array(8)}),
    "rms two axes": (23, "float[N, 3, 8] x", "y = RMSNormalization<axis = 1>(x, w)", {"w": array(3, 8)}),
    "group 18": (18, "float[N, 6, 4, 5] x", "y = GroupNormalization<num_groups = 2>(x, s, b)", {"s": array(2), "b": array(2)}),
    "group 21": (21, "float[N, 6, 4, 5] x", "y = GroupNormalization<num_groups = 2>(x, s, b)", {"s": array(6), "b": array(6)}),
    "group dynamic": (21, "float[N, 6, H, W] x", "y = GroupNormalization<num_groups = 3>(x, s, b)", {"s": array(6), "b": array(6)}),
    "mean variance": (18, "float[N, 3, 4, 5] x", "y = MeanVarianceNormalization(x)", {}),
    "rotary 4d": (23, "float[N, 2, 5, 8] x", "y = RotaryEmbedding(x, c, s, p)",
        {"c": array(10, 4), "s": array(10, 4), "p": np.tile(np.arange(5), (2, 1))}),
    "rotary interleaved": (23, "float[N, 2, 5, 8] x", "y = RotaryEmbedding<interleaved = 1>(x, c, s, p)",
        {"c": array(10, 4), "s": array(10, 4), "p": np.tile(np.arange(5), (2, 1))}),
    "rotary 3d partial": (23, "float[N, 5, 16] x", "y = RotaryEmbedding<num_heads = 2, rotary_embedding_dim = 4>(x, c, s, p)",
        {"c": array(10, 2), "s": array(10, 2), "p": np.tile(np.arange(5), (2, 1))}),
    "rotary without positions": (23, "float[2, 5, 16] x", "y = RotaryEmbedding<num_heads = 2>(x, c, s)",
        {"c": array(2, 5, 4), "s": array(2, 5, 4)}),
    "attention 4d": (23, "float[N, 2, 5, 8] q, float[N, 2, 6, 8] k, float[N, 2, 6, 4] v", "y = Attention(q, k, v)", {}),
    "attention 3d": (23, "float[N, T, 16] q, float[N, S, 16] k, float[N, S, 8] v",
        "y = Attention<q_num_heads = 2, kv_num_heads = 2>(q, k, v)", {}),
    "attention scale": (23, "float[N, 2, 5, 8] q, float[N, 2, 6, 8] k, float[N, 2, 6, 4] v", "y = Attention<scale = 0.1>(q, k, v)", {}),
    "attention grouped": (23, "float[N, 5, 32] q, float[N, 6, 16] k, float[N, 6, 16] v",
        "y = Attention<q_num_heads = 4, kv_num_heads = 2>(q, k, v)", {}),
    "attention one key head": (23, "float[N, 4, 5, 8] q, float[N, 1, 6, 8] k, float[N, 1, 6, 4] v", "y = Attention(q, k, v)", {}),
    "attention bool mask": (23, "float[N, 2, 5, 8] q, float[N, 2, 6, 8] k, float[N, 2, 6, 4] v", "y = Attention(q, k, v, m)",
        {"m": np.concatenate([np.ones((5, 1), bool), bools(5, 5)], 1)}),
    "attention float mask": (23, "float[N, 2, 5, 8] q, float[N, 2, 6, 8] k, float[N, 2, 6, 4] v", "y = Attention(q, k, v, m)",
        {"m": array(5, 6)}),
    "attention causal": (23, "float[N, 2, 6, 8] q, float[N, 2, 6, 8] k, float[N, 2, 6, 4] v",
        "y = Attention<is_causal = 1>(q, k, v)", {}),
    "attention causal dynamic": (23, "float[N, 2, T, 8] q, float[N, 2, T, 8] k, float[N, 2, T, 4] v",
        "y = Attention<is_causal = 1>(q, k, v)", {}),
    "attention softcap": (23, "float[N, 2, 5, 8] q, float[N, 2, 6, 8] k, float[N, 2, 6, 4] v", "y = Attention<softcap = 1.5>(q, k, v)", {}),
    "attention past": (23, "float[N, 2, 5, 8] q, float[N, 2, 6, 8] k, float[N, 2, 6, 4] v, float[N, 2, 3, 8] pk, float[N, 2, 3, 4] pv",
        "y, z, u = Attention(q, k, v, , pk, pv)", {}),
    "attention probabilities": (23, "float[N, 2, 5, 8] q, float[N, 2, 6, 8] k, float[N, 2, 6, 4] v",
        "y, , , z = Attention<qk_matmul_output_mode = 3>(q, k, v)", {}),
    "attention raw product": (23, "float[N, 2, 5, 8] q, float[N, 2, 6, 8] k, float[N, 2, 6, 4] v",
        "y, , , z = Attention<qk_matmul_output_mode = 0>(q, k, v)", {}),
    "attention half": (23, "float16[N, 2, 5, 8] q, float16[N, 2, 6, 8] k, float16[N, 2, 6, 4] v",
        "y = Attention<softmax_precision = 1>(q, k, v)", {}),
}  # fmt: skip


def model_of(case, parse):
    version, inputs, body, weights = CASES[case]
    kind = inputs.split("[")[0]
    outputs = ", ".join(
        f"{kind} {name}" for name in ("y", "z", "u") if f"{name} =" in body or f"{name}," in body.split("=")[0]
    )
    return parse(f"g ({inputs}) => ({outputs}) {{ {body} }}", opset=version, weights=weights)


@pytest.mark.parametrize("case", CASES)
def test_same_numbers(case, parse, evaluator):
    model = model_of(case, parse)
    if case == "gelu half" or case == "attention half":
        result = normalise(model)
    else:
        result = normalise(model, evaluator=evaluator)
    assert not {node.op_type for node in result.graph} & set(_COMPOSITE)
    assert [value.name for value in result.graph.outputs] == [value.name for value in model.graph.outputs]


def test_swish(parse, run):
    model = parse("g (float[N, 5] x) => (float[N, 5] y) { y = Swish<alpha = 1.5>(x) }", opset=24)
    result = normalise(model)
    x = array(3, 5)
    result.opset_imports[""] = 22
    np.testing.assert_allclose(run(result, {"x": x})[0], x / (1 + np.exp(-1.5 * x)), rtol=1e-5)


def test_a_row_without_any_key_gives_zero(parse, run):
    mask = np.ones((3, 4), bool)
    mask[1] = False
    text = (
        "g (float[1, 1, 3, 8] q, float[1, 1, 4, 8] k, float[1, 1, 4, 8] v) => (float y) { y = Attention(q, k, v, m) }"
    )
    result = normalise(parse(text, opset=23, weights={"m": mask}))
    feeds = {"q": array(1, 1, 3, 8), "k": array(1, 1, 4, 8), "v": array(1, 1, 4, 8)}
    (y,) = run(result, feeds)
    assert np.all(y[0, 0, 1] == 0)
    assert np.all(np.isfinite(y))


def test_causal_attention_with_a_past_is_aligned_to_the_last_key(parse, run):
    text = """g (float[1, 1, 2, 4] q, float[1, 1, 2, 4] k, float[1, 1, 2, 4] v, float[1, 1, 3, 4] pk, float[1, 1, 3, 4] pv)
        => (float y) { y = Attention<is_causal = 1>(q, k, v, , pk, pv) }"""
    feeds = {
        "q": array(1, 1, 2, 4),
        "k": array(1, 1, 2, 4),
        "v": array(1, 1, 2, 4),
        "pk": array(1, 1, 3, 4),
        "pv": array(1, 1, 3, 4),
    }
    (y,) = run(normalise(parse(text, opset=23)), feeds)
    keys, values = np.concatenate([feeds["pk"], feeds["k"]], 2), np.concatenate([feeds["pv"], feeds["v"]], 2)
    scores = feeds["q"] @ keys.swapaxes(2, 3) / 2
    scores[..., 0, 4] = -np.inf
    p = np.exp(scores - scores.max(-1, keepdims=True))
    np.testing.assert_allclose(y, p / p.sum(-1, keepdims=True) @ values, rtol=1e-4, atol=1e-6)


def test_padding_lengths(parse, run):
    text = """g (float[2, 1, 2, 4] q, float[2, 1, 5, 4] k, float[2, 1, 5, 4] v, int64[2] n)
        => (float y) { y = Attention(q, k, v, , , , n) }"""
    feeds = {"q": array(2, 1, 2, 4), "k": array(2, 1, 5, 4), "v": array(2, 1, 5, 4), "n": np.array([3, 5])}
    result = normalise(parse(text, opset=24))
    result.opset_imports[""] = 22
    (y,) = run(result, feeds)
    scores = feeds["q"] @ feeds["k"].swapaxes(2, 3) / 2
    scores[0, ..., 3:] = -np.inf
    p = np.exp(scores - scores.max(-1, keepdims=True))
    np.testing.assert_allclose(y, p / p.sum(-1, keepdims=True) @ feeds["v"], rtol=1e-4, atol=1e-6)


def test_scopes_and_names_pass_to_the_parts(parse):
    model = parse("g (float[N, 5] x) => (float[N, 5] y) { a = Gelu(x) y = Relu(a) }", opset=20)
    next(iter(model.graph)).metadata_props["xgraph.scope"] = "act"
    nodes = list(normalise(model).graph)
    assert [node.metadata_props.get("xgraph.scope") for node in nodes] == ["act"] * 5 + [None]
    assert nodes[4].outputs[0].name == "a"
    assert not any(o.name.startswith("xg/") for n in nodes for o in n.outputs)


def test_a_flat_attention_without_heads_is_refused(parse):
    text = "g (float[N, 5, 16] q) => (float y) { y = Attention(q, q, q) }"
    with pytest.raises(GraphError):
        normalise(parse(text, opset=23))
