# ruff: noqa: E501  (models are written as text)
"""Recognisers on hand-written graphs: every spelling, and near misses with their reason."""

from __future__ import annotations

import numpy as np
import pytest

from xgraph.graph.normalise import normalise
from xgraph.graph.patterns import (
    Gelu,
    HardSwish,
    LayerNorm,
    Linear,
    NearMiss,
    Silu,
    find_embeddings,
    find_heads,
    find_residuals,
    match_gelu,
    match_hard_swish,
    match_layer_norm,
    match_linear,
    match_silu,
)

RNG = np.random.default_rng(3)


def array(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def numbers(**values: float) -> str:
    return " ".join(f"{name} = Constant<value = float {{{number}}}>()" for name, number in values.items())


ROOT2 = numbers(r2=1.41421354, one=1.0, half=0.5, ir2=0.70710677)
TANH = numbers(c=0.044715, k=0.79788456, one=1.0, half=0.5, three=3.0)
GELUS = {
    "paddle": f"{ROOT2} a = Div(x, r2) e = Erf(a) p = Add(e, one) m = Mul(x, p) y = Mul(m, half)",
    "half first": f"{ROOT2} a = Div(x, r2) e = Erf(a) p = Add(one, e) h = Mul(half, x) y = Mul(h, p)",
    "half on the gate": f"{ROOT2} a = Mul(ir2, x) e = Erf(a) p = Add(one, e) h = Mul(p, half) y = Mul(x, h)",
    "divided by two": f"{ROOT2} {numbers(two=2.0)} a = Div(x, r2) e = Erf(a) p = Add(one, e) h = Mul(p, x) y = Div(h, two)",
    "tanh": f"{TANH} q = Pow(x, three) t = Mul(q, c) s = Add(x, t) u = Mul(s, k) e = Tanh(u) p = Add(e, one) h = Mul(half, x) y = Mul(h, p)",
    "tanh by products": f"{TANH} q = Mul(x, x) r = Mul(q, x) t = Mul(c, r) s = Add(t, x) u = Mul(k, s) e = Tanh(u) p = Add(one, e) h = Mul(x, p) y = Mul(h, half)",
}  # fmt: skip


@pytest.mark.parametrize("case", GELUS)
@pytest.mark.parametrize("before", ["x = Relu(i)", "g0 = Constant<value = float {3.0}>() x = Mul(i, g0)"])
def test_gelu(case, before, parse):
    model = normalise(parse(f"g (float[N, 4] i) => (float[N, 4] y) {{ {before} {GELUS[case]} }}"))
    matches = [m for node in model.graph if (m := match_gelu(node)) is not None]
    (match,) = matches
    assert isinstance(match, Gelu)
    assert (match.input.name, match.output.name) == ("x", "y")
    assert match.approximate == case.startswith("tanh")


def test_gelu_near_misses_say_why(parse):
    model = normalise(parse(f"g (float[N, 4] x) => (float[N, 4] y) {{ {ROOT2} e = Erf(x) y = Add(e, one) }}"))
    (match,) = [m for node in model.graph if (m := match_gelu(node)) is not None]
    assert isinstance(match, NearMiss)
    assert "sqrt(2)" in match.reason


SILUS = {
    "right": ("s = Sigmoid(x) y = Mul(x, s)", 1.0),
    "left": ("s = Sigmoid(x) y = Mul(s, x)", 1.0),
    "quick gelu": ("b = Constant<value = float {1.702}>() z = Mul(x, b) s = Sigmoid(z) y = Mul(x, s)", 1.702),
}


@pytest.mark.parametrize("case", SILUS)
def test_silu(case, parse):
    body, slope = SILUS[case]
    model = normalise(parse(f"g (float[N, 4] x) => (float[N, 4] y) {{ {body} }}"))
    (match,) = [m for node in model.graph if (m := match_silu(node)) is not None]
    assert isinstance(match, Silu)
    assert match.slope == pytest.approx(slope)


SIX = numbers(zero=0.0, three=3.0, six=6.0, sixth=0.16666667)
HARD_SWISHES = {
    "operator": "y = HardSwish(x)",
    "hard sigmoid": "h = HardSigmoid<alpha = 0.16666667, beta = 0.5>(x) y = Mul(h, x)",
    "clip": f"{SIX} a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six)",
    "clip divided first": f"{SIX} a = Add(three, x) c = Clip(a, zero, six) m = Mul(c, sixth) y = Mul(m, x)",
}


@pytest.mark.parametrize("case", HARD_SWISHES)
def test_hard_swish(case, parse):
    model = normalise(parse(f"g (float[N, 4] x) => (float[N, 4] y) {{ {HARD_SWISHES[case]} }}"))
    (match,) = [m for node in model.graph if (m := match_hard_swish(node)) is not None]
    assert isinstance(match, HardSwish)
    assert (match.input.name, match.output.name) == ("x", "y")


def test_another_slope_is_a_near_miss(parse):
    model = normalise(parse("g (float[N, 4] x) => (float[N, 4] y) { h = HardSigmoid(x) y = Mul(h, x) }"))
    (match,) = [m for node in model.graph if (m := match_hard_swish(node)) is not None]
    assert isinstance(match, NearMiss)
    assert "0.2" in match.reason


LAYER_NORMS = {
    "operator": "y = LayerNormalization<axis = -1, epsilon = 0.001>(x, s, b)",
    "pow": "m = ReduceMean(x, last) d = Sub(x, m) p = Pow(d, two) v = ReduceMean(p, last) a = Add(v, eps) q = Sqrt(a)"
    " n = Div(d, q) t = Mul(n, s) y = Add(t, b)",
    "mul": "m = ReduceMean(x, last) d = Sub(x, m) p = Mul(d, d) v = ReduceMean(p, last) a = Add(eps, v) q = Sqrt(a)"
    " n = Div(d, q) t = Mul(s, n) y = Add(b, t)",
    "reciprocal": "m = ReduceMean(x, last) d = Sub(x, m) p = Mul(d, d) v = ReduceMean(p, last) a = Add(eps, v) q = Sqrt(a)"
    " r = Reciprocal(q) n = Mul(d, r) t = Mul(s, n) y = Add(b, t)",
}


@pytest.mark.parametrize("case", LAYER_NORMS)
def test_layer_norm(case, parse):
    head = numbers(two=2.0, eps=0.001) + " last = Constant<value = int64[1] {-1}>() "
    text = f"g (float[N, 3, 4] x) => (float[N, 3, 4] y) {{ {head} {LAYER_NORMS[case]} }}"
    model = normalise(parse(text, weights={"s": array(4), "b": array(4)}))
    (match,) = [m for node in model.graph if (m := match_layer_norm(node)) is not None]
    assert isinstance(match, LayerNorm)
    assert (match.input.name, match.scale.name, match.bias.name, match.output.name) == ("x", "s", "b", "y")
    assert match.axes == (-1,)
    assert match.epsilon == pytest.approx(0.001)


LINEARS = {
    "matmul and add": ("p = MatMul(x, w) y = Add(p, b)", "b", False),
    "add the other way": ("p = MatMul(x, w) y = Add(b, p)", "b", False),
    "matmul": ("y = MatMul(x, w)", None, False),
    "gemm": ("y = Gemm(x, w, b)", "b", False),
    "gemm transposed": ("y = Gemm<transB = 1>(x, wt)", None, True),
}


@pytest.mark.parametrize("case", LINEARS)
def test_linear(case, parse):
    body, bias, transposed = LINEARS[case]
    weights = {"w": array(4, 3), "wt": array(3, 4), "b": array(3)}
    model = normalise(parse(f"g (float[N, 4] x) => (float[N, 3] y) {{ {body} }}", weights=weights))
    (match,) = [m for node in model.graph if (m := match_linear(node)) is not None]
    assert isinstance(match, Linear)
    assert (match.bias.name if match.bias else None, match.transposed) == (bias, transposed)
    assert (match.input.name, match.output.name) == ("x", "y")


def test_a_product_of_two_activations_is_no_layer(parse):
    model = normalise(parse("g (float[4, 4] x) => (float[4, 4] y) { t = Transpose(x) y = MatMul(x, t) }"))
    (match,) = [m for node in model.graph if (m := match_linear(node)) is not None]
    assert isinstance(match, NearMiss)


HEADS = {
    "softmax": ("float[N, 5] x", "l = Relu(x) y = Softmax(l)", "softmax", "l", "y", 1),
    "log softmax": ("float[N, 5] x", "l = Relu(x) y = LogSoftmax<axis = 1>(l)", "log_softmax", "l", "y", 1),
    "sigmoid": ("float[N, 5] x", "l = Relu(x) y = Sigmoid(l)", "sigmoid", "l", "y", None),
    "none": ("float[N, 5] x", "y = Relu(x)", "none", "y", None, None),
    "tokens": ("float[N, T, 5] x", "l = Relu(x) y = Softmax<axis = 2>(l)", "softmax", "l", "y", 2),
    "pixels": ("float[N, 5, 8, 8] x", "l = Relu(x) y = Softmax<axis = 1>(l)", "softmax", "l", "y", 1),
    "squeezed": ("float[N, 5, 1, 1] x", "l = Relu(x) p = Softmax<axis = 1>(l) y = Flatten(p)", "softmax", "l", "p", 1),
    "cast": ("float[N, 5] x", "l = Relu(x) p = Softmax(l) y = Cast<to = 11>(p)", "softmax", "l", "p", 1),
    "over the width": ("float[N, 5, 8, 8] x", "l = Relu(x) y = Softmax<axis = 3>(l)", "none", "y", None, None),
    "over the batch": ("float[N, 5] x", "l = Relu(x) y = Softmax<axis = 0>(l)", "none", "y", None, None),
}


@pytest.mark.parametrize("case", HEADS)
def test_head(case, parse):
    inputs, body, kind, logits, probability, axis = HEADS[case]
    output = "double y" if case == "cast" else "float y"
    (head,) = find_heads(normalise(parse(f"g ({inputs}) => ({output}) {{ {body} }}")))
    assert (head.kind, head.logits.name, head.axis) == (kind, logits, axis)
    assert (head.probability.name if head.probability else None) == probability
    assert (head.miss is not None) == case.startswith("over")


def test_embeddings(parse):
    text = """g (int64[N, T] ids, int64[N, T] token_type_ids, int64[N, T] position_ids) => (float[N, T, 4] y) {
        i = Cast<to = 6>(ids) a = Gather(w, i) b = Gather(t, token_type_ids) c = Gather(p, position_ids)
        s = Add(a, b) y = Add(s, c) }"""
    model = normalise(parse(text, weights={"w": array(30, 4), "t": array(2, 4), "p": array(16, 4)}))
    found, missed = find_embeddings(model)
    assert {(e.input.name, e.kind, e.table.name) for e in found} == {
        ("ids", "word", "w"),
        ("token_type_ids", "type", "t"),
        ("position_ids", "position", "p"),
    }
    assert not missed


def test_computed_positions(parse):
    text = """g (int64[N, T] ids) => (float[N, T, 4] y) {
        a = Gather(w, ids) z = Sub(ids, ids) o = Add(z, one) n = CumSum(o, ax) q = Gather(p, n) y = Add(a, q) }"""
    weights = {"w": array(30, 4), "p": array(16, 4), "one": np.array(1), "ax": np.array(1)}
    found, _ = find_embeddings(normalise(parse(text, weights=weights)))
    assert [(e.kind, e.input.name if e.input else None) for e in found] == [("word", "ids"), ("position", None)]


def test_picking_a_token_is_no_embedding(parse):
    model = normalise(
        parse("g (float[N, 3, 4] x) => (float[N, 4] y) { y = Gather<axis = 1>(x, i) }", weights={"i": np.array(0)})
    )
    assert find_embeddings(model) == ((), ())


def test_residuals(parse):
    text = """g (float[N, 3, 8, 8] x) => (float y) {
        a = Conv<pads = [1, 1, 1, 1]>(x, w) r = Relu(a) b = Conv<pads = [1, 1, 1, 1]>(r, w) s = Add(b, x)
        c = Conv<pads = [1, 1, 1, 1]>(s, w) d = Relu(c) e = Conv<pads = [1, 1, 1, 1]>(d, w) k = Conv(s, w1) t = Add(k, e)
        u = Relu(t) v = Exp(t) y = Add(u, v) }"""
    model = normalise(parse(text, weights={"w": array(3, 3, 3, 3), "w1": array(3, 3, 1, 1)}))
    found = find_residuals(model)
    assert [(m.output.name, m.shortcut.name, m.source.name) for m in found] == [("s", "x", "x"), ("t", "k", "s")]
