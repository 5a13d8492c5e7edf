# ruff: noqa: E501  (models are written as text)
"""Models exported for one sample: freed where three together give what each gives alone, else left as they are."""

from __future__ import annotations

import numpy as np
import pytest

from xgraph.errors import GraphError
from xgraph.graph.normalise import batch, normalise
from xgraph.graph.normalise.batch import free_batch
from xgraph.graph.shapes import dims

RNG = np.random.default_rng(0)


def array(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


CNN = """g (float[1, 3, 8, 8] x) => (float[1, 5] y) {
    a = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, k) b = Relu(a)
    s = Constant<value = int64[2] {%s}>() c = Reshape(b, s) y = Gemm(c, w) }"""
CNN_WEIGHTS = {"k": array(4, 3, 3, 3), "w": array(256, 5)}

# Tokens with a class token in front, samples on axis 1, and heads merged with them: torch's MultiheadAttention.
VIT = """g (float[1, 4, 8] x) => (float[1, 3] y) {
    one = Constant<value = int64[3] {1, -1, -1}>() c = Expand(cls, target) h = Concat<axis = 1>(c, x) e = Add(h, table)
    t = Transpose<perm = [1, 0, 2]>(e) q = MatMul(t, wq)
    s = Constant<value = int64[3] {5, 2, 4}>() r = Reshape(q, s) p = Transpose<perm = [1, 0, 2]>(r)
    u = Transpose<perm = [0, 2, 1]>(p) m = MatMul(p, u) a = Softmax(m) v = MatMul(a, p) o = Transpose<perm = [1, 0, 2]>(v)
    s2 = Constant<value = int64[2] {5, 8}>() o2 = Reshape(o, s2) o3 = Gemm(o2, wq)
    s3 = Constant<value = int64[3] {5, 1, 8}>() o4 = Reshape(o3, s3) b = Transpose<perm = [1, 0, 2]>(o4)
    zero = Constant<value = int64 {0}>() first = Gather<axis = 1>(b, zero) y = MatMul(first, w) }"""
VIT_WEIGHTS = {
    "cls": array(1, 1, 8),
    "target": np.array([1, 1, 8]),
    "table": array(1, 5, 8),
    "wq": array(8, 8) / 4,
    "w": array(8, 3),
}

LSTM = """g (float[1, 6, 4] x) => (float[1, 6] y) {
    t = Transpose<perm = [1, 0, 2]>(x) a, h = LSTM<hidden_size = 6>(t, w, r, , , h0, h0)
    z = Constant<value = int64[1] {0}>() y = Squeeze(h, z) }"""

RESIZE = """g (float[1, 2, 4, 4] x) => (float[1, 2, 7, 9] y) {
    s = Constant<value = int64[4] {1, 2, 7, 9}>() y = Resize<mode = "linear">(x, , , s) }"""

# Channels shuffled again and again with the batch in both targets: every step loses it anew.
SHUFFLES = 60
CHAIN = (
    "g (float[1, 4, 6] x) => (float[1, 4, 6] y) { "
    + "".join(
        f"""s{i} = Constant<value = int64[4] {{1, 2, 2, 6}}>() t{i} = Constant<value = int64[3] {{1, 4, 6}}>()
    a{i} = Reshape({f"c{i - 1}" if i else "x"}, s{i}) b{i} = Transpose<perm = [0, 2, 1, 3]>(a{i})
    d{i} = Reshape(b{i}, t{i}) c{i} = Sin(d{i}) """
        for i in range(SHUFFLES)
    )
    + f"y = Identity(c{SHUFFLES - 1}) }}"
)

# Windows of Swin: 4 x 4 maps in windows of 2 x 2, which are merged with the batch, and back.
WINDOWS = """g (float[1, 4, 4, 6] x) => (float[1, 4, 4, 6] y) {
    s = Constant<value = int64[6] {1, 2, 2, 2, 2, 6}>() a = Reshape(x, s) b = Transpose<perm = [0, 1, 3, 2, 4, 5]>(a)
    t = Constant<value = int64[3] {4, 4, 6}>() c = Reshape(b, t) u = Transpose<perm = [0, 2, 1]>(c)
    m = MatMul(c, u) n = Softmax(m) o = MatMul(n, c)
    v = Constant<value = int64[6] {1, 2, 2, 2, 2, 6}>() p = Reshape(o, v) q = Transpose<perm = [0, 1, 3, 2, 4, 5]>(p)
    w = Constant<value = int64[4] {1, 4, 4, 6}>() r = Reshape(q, w) y = Add(r, x) }"""

TAKEN = (
    "g (float[1, 4] x) => (float[1, 4] y) { %s b = Exp(a) z = Constant<value = int64[1] {0}>() y = Unsqueeze(b, z) }"
)

# What is scattered into, or gathered from, is a constant that has one sample.
TOP = "k = Constant<value = int64[1] {2}>() v, i = TopK(x, k)"
COLUMN = "c = Constant<value = int64[1] {1}>()"
FIRST_PLACES = f"""{COLUMN} d = Sub(x, x) e = Exp(d) f = ReduceMax(e, c) zero = Constant<value = int64 {{0}}>()
    r = CumSum<exclusive = 1>(f, zero) row = Cast<to = 7>(r) a = ArgMax<axis = 1>(x) i = Concat<axis = 1>(row, a)"""
INDEXED = {
    "scattered elements": f"g (float[1, 4] x) => (float[1, 4] y) {{ {TOP} y = ScatterElements<axis = 1>(w, i, v) }}",
    "gathered elements": f"g (float[1, 4] x) => (float[1, 2] y) {{ {TOP} g = GatherElements<axis = 1>(w, i) y = Mul(g, v) }}",
    "gathered entries": f"""g (float[1, 4] x) => (float[1] y) {{
        {COLUMN} i = ArgMax<axis = 1>(x) g = GatherND<batch_dims = 1>(w, i) u = ReduceMax<keepdims = 0>(x, c) y = Mul(g, u) }}""",
    "scattered entries of a sample each": f"""g (float[1, 4] x) => (float[1, 4] y) {{
        {FIRST_PLACES} u = ReduceMax<keepdims = 0>(x, c) y = ScatterND(w, i, u) }}""",
    "scattered entries of all samples": """g (float[1, 2] x) => (float[1, 4] y) {
        i = Constant<value = int64[2, 1] {3, 1}>() t = Transpose<perm = [1, 0]>(x) w1 = Transpose<perm = [1, 0]>(w)
        s = ScatterND(w1, i, t) y = Transpose<perm = [1, 0]>(s) }""",
}

FREED = {
    "many shuffles": (CHAIN, {}),
    "windows": (WINDOWS, {}),
    "the only sample taken out": (TAKEN % "i = Constant<value = int64 {0}>() a = Gather<axis = 0>(x, i)", {}),
    "the only sample squeezed": (TAKEN % "i = Constant<value = int64[1] {0}>() a = Squeeze(x, i)", {}),
    "a slice of the only sample": (
        "g (float[1, 4] x) => (float[1, 4] y) { o = Constant<value = int64[1] {0}>() e = Constant<value = int64[1] {1}>() a = Slice(x, o, e, o) y = Exp(a) }",
        {},
    ),
    "flatten to 1, -1": (CNN % "1, -1", CNN_WEIGHTS),
    "flatten to -1, n": (CNN % "-1, 256", CNN_WEIGHTS),
    "flatten to 1, n": (CNN % "1, 256", CNN_WEIGHTS),
    "class token and heads": (VIT, VIT_WEIGHTS),
    "initial state": (LSTM, {"w": array(1, 24, 4), "r": array(1, 24, 6), "h0": array(1, 1, 6)}),
    "resize": (RESIZE, {}),
    "two inputs, one dynamic": ("g (float[N, 4] x, float[1, 1] s) => (float[N, 4] y) { y = Mul(x, s) }", {}),
    **{name: (text, {"w": array(1, 4)}) for name, text in INDEXED.items()},
    "dynamic length": (
        "g (float[1, T, 6] x) => (float[1, T, 2, 3] y) { s = Constant<value = int64[4] {1, -1, 2, 3}>() a = Reshape(x, s) y = Exp(a) }",
        {},
    ),
}

FIXED = {
    "rows are mixed by a mean": (
        "g (float[1, 4] x) => (float[1, 4] y) { zero = Constant<value = int64[1] {0}>() m = ReduceMean(x, zero) a = Exp(x) y = Add(a, m) }",
        {},
    ),
    "rows are mixed by a matrix": (
        "g (float[1, 6, 4] x) => (float[1, 6, 4] y) { s = Constant<value = int64[2] {6, -1}>() b = Constant<value = int64[3] {1, 6, 4}>() a = Reshape(x, s) c = MatMul(w, a) y = Reshape(c, b) }",
        {"w": array(6, 6)},
    ),
    "an operand of another size": (
        "g (float[1, 4] x) => (float[2, 4] y) { y = Add(x, c) }",
        {"c": array(2, 4)},
    ),
    "a position that counts samples": (
        "g (float[1, 4] x) => (float[1, 4] y) { zero = Constant<value = int64 {0}>() e = Constant<value = int64 {0}>() n = CumSum(x, e) a = Exp(x) y = Add(a, n) }",
        {},
    ),
    "an output without samples": ("g (float[1, 4] x) => (float y) { y = ReduceMax<keepdims = 0>(x) }", {}),
    "the mean of a sample taken out": (
        "g (float[1, 4] x) => (float[1, 4] y) { i = Constant<value = int64 {0}>() z = Constant<value = int64[1] {0}>() a = Gather<axis = 0>(x, i) m = ReduceMean(a, z) b = Sub(a, m) y = Unsqueeze(b, z) }",
        {},
    ),
    "a fixed batch of two": ("g (float[2, 4] x) => (float[2, 4] y) { y = Exp(x) }", {}),
    "one input with two": ("g (float[1, 4] x, float[2, 4] z) => (float[2, 4] y) { y = Add(x, z) }", {}),
    "an output that never differs": ("g (float[1, 4] x) => (float[1, 4] y) { a = Sub(x, x) y = Exp(a) }", {}),
}


@pytest.mark.parametrize("case", FREED)
def test_freed(parse, evaluator, run, case):
    text, weights = FREED[case]
    fixed = normalise(parse(text, weights=weights))
    before = [dims(value) for value in fixed.graph.inputs]
    freed = free_batch(fixed, evaluator)
    assert freed is not None
    assert freed.metadata_props[batch.FREED] == "1"
    assert [dims(value) for value in fixed.graph.inputs] == before
    assert all(dims(value)[0] == "batch" for value in (*freed.graph.inputs, *freed.graph.outputs))
    sizes = [
        [4 if dim == "batch" else dim if isinstance(dim, int) else 5 for dim in dims(v)] for v in freed.graph.inputs
    ]
    feeds = {value.name: array(*size) for value, size in zip(freed.graph.inputs, sizes, strict=True)}
    together = run(freed, feeds)
    for i in range(4):
        alone = run(fixed, {name: x[i : i + 1] for name, x in feeds.items()})
        for want, have in zip(alone, together, strict=True):
            np.testing.assert_allclose(have[i : i + 1], want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", FIXED)
def test_stays_fixed(parse, evaluator, case):
    text, weights = FIXED[case]
    assert free_batch(normalise(parse(text, weights=weights)), evaluator) is None


def test_what_goes_wrong_leaves_the_model_as_it_is(parse):
    def broken(*_: object) -> None:
        raise GraphError("no")

    assert free_batch(normalise(parse(CNN % "1, -1", weights=CNN_WEIGHTS)), broken) is None
