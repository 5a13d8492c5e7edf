"""Composite operators of opset 24 and later, taken apart at import: values and gradients against literal formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator
from rules.literal import LITERAL

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit
from xgraph.graph.lower import lower
from xgraph.graph.normalise import normalise
from xgraph.graph.walk import pull
from xgraph.rules.vjp import vjp

RNG = np.random.default_rng(8)
OLDER = 22
"""What is left after taking apart means the same at this opset, which every supported onnx and ONNX Runtime knows."""

Array = np.ndarray
Arrays = Mapping[str, Array]


def cum_prod(axis: int, *, exclusive: int = 0, reverse: int = 0) -> Callable[[Arrays], Array]:
    def compute(feeds: Arrays) -> Array:
        x = np.flip(feeds["x"], axis) if reverse else feeds["x"]
        y = np.cumprod(x, axis)
        if exclusive:
            y = np.insert(np.delete(y, -1, axis), 0, 1.0, axis)
        return np.flip(y, axis) if reverse else y

    return compute


def tensor_scatter(feeds: Arrays, *, circular: bool) -> Array:
    y = feeds["x"].copy()
    for n, start in enumerate(feeds["at"]):
        for t in range(feeds["u"].shape[2]):
            place = start + t
            y[n, :, place % y.shape[2] if circular else place] = feeds["u"][n, :, t]
    return y


def causal_conv(feeds: Arrays, *, silu: bool = False) -> Array:
    x, w = feeds["x"], feeds["w"]
    taps = w.shape[2]
    past = feeds.get("past", np.zeros((*x.shape[:2], taps - 1)))
    sequence = np.concatenate([past, x], axis=2)
    y = sum(w[:, 0, k, None] * sequence[:, :, k : k + x.shape[2]] for k in range(taps)) + feeds["bias"][:, None]
    return y / (1 + np.exp(-y)) if silu else y


def linear_attention(feeds: Arrays, rule: str, queries: int = 4, heads: int = 2) -> Array:
    n, steps, width = feeds["q"].shape
    q = feeds["q"].reshape(n, steps, queries, -1)
    k, v = (feeds[name].reshape(n, steps, heads, -1) for name in "kv")
    y = np.zeros((n, steps, queries, v.shape[3]))
    for i in range(n):
        for h in range(heads):
            state = feeds["past"][i, h] if "past" in feeds else np.zeros((k.shape[3], v.shape[3]))
            for t in range(steps):
                if "gated" in rule:
                    decay = feeds["g"].reshape(n, steps, heads, -1)[i, t, h]
                    state = np.exp(decay)[:, None] * state
                new = v[i, t, h]
                if "delta" in rule:
                    beta = feeds["beta"]
                    new = beta[i, t, h % beta.shape[2]] * (new - state.T @ k[i, t, h])
                state = state + np.outer(k[i, t, h], new)
                for member in range(h * queries // heads, (h + 1) * queries // heads):
                    y[i, t, member] = state.T @ q[i, t, member] / np.sqrt(width // queries)
    return y.reshape(n, steps, -1)


def flex_attention(feeds: Arrays) -> Array:
    """Two query heads read one key head; scores pass through tanh, probabilities are squared."""
    key, value = (np.repeat(feeds[name], 2, axis=1) for name in "kv")
    scores = np.exp(np.tanh(feeds["q"] @ key.swapaxes(2, 3) / 2))
    return (scores / scores.sum(-1, keepdims=True)) ** 2 @ value


X = {"x": (2, 3, 5)}
CACHE = {"x": (2, 3, 5, 2), "u": (2, 3, 2, 2)}
CONV = {"x": (2, 3, 6)}
WEIGHTS = {"w": RNG.standard_normal((3, 1, 3)), "bias": RNG.standard_normal(3)}
HEADS = {"q": (2, 3, 8), "k": (2, 3, 4), "v": (2, 3, 6)}
PAST = {"past": (2, 2, 2, 3)}
AXES = {"a": np.asarray(1), "b": np.asarray(-1)}

CASES: dict[str, tuple[str, Mapping[str, tuple[int, ...]], Arrays, Callable[[Arrays], Array]]] = {
    "product": ("y = CumProd(x, a)", X, AXES, cum_prod(1)),
    "product of the last axis": ("y = CumProd(x, b)", X, AXES, cum_prod(2)),
    "product, exclusive": ("y = CumProd<exclusive = 1>(x, b)", X, AXES, cum_prod(2, exclusive=1)),
    "product, reverse": ("y = CumProd<reverse = 1>(x, b)", X, AXES, cum_prod(2, reverse=1)),
    "product, both": ("y = CumProd<reverse = 1, exclusive = 1>(x, b)", X, AXES, cum_prod(2, reverse=1, exclusive=1)),
    "cache": (
        "y = TensorScatter(x, u, at)",
        CACHE,
        {"at": np.asarray([3, 0])},
        lambda f: tensor_scatter(f, circular=False),
    ),
    "circular cache": (
        'y = TensorScatter<mode = "circular">(x, u, at)',
        CACHE,
        {"at": np.asarray([4, 1])},
        lambda f: tensor_scatter(f, circular=True),
    ),
    "cache from the start": (
        "y = TensorScatter<axis = 2>(x, u)",
        CACHE,
        {},
        lambda f: tensor_scatter({**f, "at": np.zeros(2, int)}, circular=False),
    ),
    "swiglu": ("y = SwiGLU(x, u)", {"x": (2, 5), "u": (2, 5)}, {}, lambda f: f["x"] / (1 + np.exp(-f["x"])) * f["u"]),
    "swiglu, alpha": (
        "y = SwiGLU<alpha = 1.5>(x, u)",
        {"x": (2, 5), "u": (2, 5)},
        {},
        lambda f: f["x"] / (1 + np.exp(-1.5 * f["x"])) * f["u"],
    ),
    "convolution": ("y, z = CausalConvWithState(x, w, bias)", CONV, WEIGHTS, causal_conv),
    "convolution, silu": (
        'y, z = CausalConvWithState<activation = "silu">(x, w, bias, past)',
        {**CONV, "past": (2, 3, 2)},
        WEIGHTS,
        lambda f: causal_conv(f, silu=True),
    ),
    "linear": (
        'y, z = LinearAttention<q_num_heads = 4, kv_num_heads = 2, update_rule = "linear">(q, k, v)',
        HEADS,
        {},
        lambda f: linear_attention(f, "linear"),
    ),
    "gated by head": (
        'y, z = LinearAttention<q_num_heads = 4, kv_num_heads = 2, update_rule = "gated">(q, k, v, past, g)',
        {**HEADS, **PAST, "g": (2, 3, 2)},
        {},
        lambda f: linear_attention(f, "gated"),
    ),
    "delta, one rate": (
        'y, z = LinearAttention<q_num_heads = 4, kv_num_heads = 2, update_rule = "delta">(q, k, v, , , beta)',
        {**HEADS, "beta": (2, 3, 1)},
        {},
        lambda f: linear_attention(f, "delta"),
    ),
    "gated delta by feature": (
        "y, z = LinearAttention<q_num_heads = 4, kv_num_heads = 2>(q, k, v, past, g, beta)",
        {**HEADS, **PAST, "g": (2, 3, 4), "beta": (2, 3, 2)},
        {},
        lambda f: linear_attention(f, "gated_delta"),
    ),
    "flexible": (
        """y = ai.onnx.preview.FlexAttention(q, k, v) <score_mod = s (KIND[B, H, L, S] p) => (KIND[B, H, L, S] r)
        {r = Tanh(p)}, prob_mod = t (KIND[B, H, L, S] p) => (KIND[B, H, L, S] r) {r = Mul(p, p)}>""",
        {"q": (2, 2, 3, 4), "k": (2, 1, 5, 4), "v": (2, 1, 5, 3)},
        {},
        flex_attention,
    ),
}


def build(name: str, kind: str, *, batch: int | str = 2) -> ir.Model:
    body, drawn, weights, _ = CASES[name]
    inputs = ", ".join(f"{kind}[{', '.join(map(str, (batch, *shape[1:])))}] {x}" for x, shape in drawn.items())
    dtype = np.float64 if kind == "double" else np.float32
    imports = '"" : 28, "ai.onnx.preview" : 1'
    text = f"<ir_version: 10, opset_import: [{imports}]> g ({inputs}) => ({kind} y) {{ {body} }}"
    proto = onnx.parser.parse_model(text.replace("KIND", kind))
    for weight, array in weights.items():
        typed = array.astype(dtype) if array.dtype == np.float64 else array
        proto.graph.initializer.append(onnx.numpy_helper.from_array(typed, weight))
    model = normalise(ir.from_proto(proto))
    model.opset_imports[""] = OLDER
    return model


def draw(name: str) -> dict[str, Array]:
    return {
        x: RNG.uniform(-1.5, 1.5, shape).astype(np.float32).astype(np.float64) for x, shape in CASES[name][1].items()
    }


@pytest.mark.parametrize("name", CASES)
def test_values(name: str) -> None:
    feeds = draw(name)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    proto = ir.to_proto(build(name, "float", batch="N"))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {value: array.astype(np.float32) for value, array in feeds.items()})
    np.testing.assert_allclose(found, CASES[name][3]({**feeds, **CASES[name][2]}), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_gradient_is_the_central_difference(name: str) -> None:
    check(name, draw(name))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('LinearAttention<q_num_heads = 1, kv_num_heads = 1, update_rule = "other">', "update_rule='other'"),
        ("LinearAttention<q_num_heads = 3, kv_num_heads = 2>", "3 query heads"),
        ('LinearAttention<q_num_heads = 1, kv_num_heads = 1, update_rule = "linear">', "static sizes"),
    ],
)
def test_what_cannot_be_taken_apart_is_refused(text: str, what: str) -> None:
    graph = f"g (float[N, T, 4] x) => (float y, float z) {{ y, z = {text}(x, x, x) }}"
    proto = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 28]> ' + graph)
    with pytest.raises(GraphError, match=what):
        normalise(ir.from_proto(proto))


@pytest.mark.parametrize("name", ["product", "product, exclusive", "product, both"])
def test_gradient_of_a_product_is_right_at_zeros(name: str) -> None:
    feeds = draw(name)
    feeds["x"][:, 1, 2], feeds["x"][1, :, 3] = 0.0, 0.0
    check(name, feeds)


def check(name: str, feeds: dict[str, Array]) -> None:
    model = build(name, "double")
    y = model.graph.outputs[0]
    seed = ir.Value(name="seed", shape=y.shape, type=y.type)
    b = Emit(model)
    wrt = list(model.graph.inputs)
    found = pull(b, list(model.graph), vjp.lookup, {y: seed}, wrt)
    model.graph.outputs.clear()
    model.graph.outputs.extend(b.Identity(grad) for grad in found)
    model.graph.inputs.append(seed)
    lower(model, "portable")
    compute = CASES[name][3]
    fixed = CASES[name][2]
    weights = RNG.standard_normal(compute({**feeds, **fixed}).shape)
    # ONNX Runtime has no convolution in float64.
    grads = ReferenceEvaluator(ir.to_proto(model), new_ops=LITERAL).run(None, {**feeds, "seed": weights})
    for value, grad in zip(wrt, grads, strict=True):
        direction = RNG.standard_normal(grad.shape)
        ends = [{**feeds, **fixed, value.name: feeds[value.name] + step * direction} for step in (1e-6, -1e-6)]
        expected = (np.sum(weights * compute(ends[0])) - np.sum(weights * compute(ends[1]))) / 2e-6
        assert np.sum(grad * direction) == pytest.approx(expected, rel=1e-5, abs=1e-8)
