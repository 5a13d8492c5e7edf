"""Files of ONNX Runtime's highest level of optimisation: those of this machine, and by hand those of either kind."""

from importlib import import_module
from itertools import product

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from xgraph.errors import GraphError
from xgraph.graph.normalise import normalise

DOMAIN = "com.microsoft.nchwc"
DOMAINS = f', "com.microsoft": 1, "{DOMAIN}": 1'
BLOCK_SIZE = import_module("xgraph.graph.normalise.decompose.microsoft.block_size")

SAME = "pads = [1, 1, 1, 1]"
WRITTEN_HERE = {
    "narrow": (f"a = Conv<{SAME}>(x, w8_3) b = Relu(a) y = Conv<{SAME}>(b, w12_8)", 3),
    "narrow input": (f"y = Conv<{SAME}>(x, w16_12)", 12),
    "odd": (f"a = Conv<{SAME}>(x, w9_3) b = Relu(a) y = Conv<{SAME}>(b, w12_9)", 3),
    "wide": (f"a = Conv<{SAME}>(x, w24_3) b = Sigmoid(a) y = Conv<{SAME}>(b, w40_24)", 3),
    "depthwise": (f"a = Conv<{SAME}>(x, w12_3) b = Conv<{SAME}, group = 12>(a, w12_1) y = Conv<{SAME}>(b, w24_12)", 3),
    "grouped": (f"a = Conv<{SAME}>(x, w32_3) y = Conv<{SAME}, group = 2>(a, w32_16)", 3),
    "residual": (f"a = Conv<{SAME}>(x, w12_3) b = Conv<{SAME}>(a, w12_12) c = Add(a, b) y = Relu(c)", 3),
    "context": (f"a = Conv<{SAME}>(x, w8_3) m = GlobalAveragePool(a) b = Conv<{SAME}>(m, w8_8)"
                f" c = Conv<{SAME}>(a, w8_8) y = Add(b, c)", 3),
    "gate": (f"a = Conv<{SAME}>(x, w24_3) m = GlobalAveragePool(a) b = Conv<{SAME}>(m, w24_24) c = Sigmoid(b)"
             " y = Mul(a, c)", 3),
    "joined": (f"a = Conv<{SAME}>(x, w16_3) m = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(a)"
               f" b = Conv<{SAME}>(m, w24_16) u = Resize<mode = \"nearest\", nearest_mode = \"floor\","
               f" coordinate_transformation_mode = \"asymmetric\">(b, , s) j = Concat<axis = 1>(a, u)"
               f" y = Conv<{SAME}>(j, w12_40)", 3),
    "channels last": (f"t = Transpose<perm = [0, 3, 1, 2]>(x) a = Conv<{SAME}>(t, w16_16) b = Conv<{SAME}>(a, w12_16)"
                      " y = Transpose<perm = [0, 2, 3, 1]>(b)", -16),
}  # fmt: skip


def array(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("name", WRITTEN_HERE)
def test_files_of_this_machine(name, parse, run, evaluator, tmp_path):
    body, channels = WRITTEN_HERE[name]
    names = {word for word in body.replace(")", " ").replace(",", " ").split() if word[0] == "w" and "_" in word}
    weights = {w: array(*map(int, w[1:].split("_")), 3, 3, seed=i) * 0.2 for i, w in enumerate(sorted(names))}
    if "Resize" in body:
        weights["s"] = np.asarray([1, 1, 2, 2], np.float32)
    sizes = (2, channels, 6, 4) if channels > 0 else (2, 6, 4, -channels)
    given = f"N, {channels}, H, W" if channels > 0 else f"N, 6, 4, {-channels}"
    plain = parse(f"g (float[{given}] x) => (float[N, A, B, C] y) {{ {body} }}", weights=weights)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(
        ir.to_proto(plain).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    written = ir.load(options.optimized_model_filepath)
    assert any(node.domain == DOMAIN for node in written.graph)

    x = array(*sizes)
    (found,) = run(normalise(written, evaluator=evaluator), {"x": x})
    np.testing.assert_allclose(found, session.run(None, {"x": x})[0], rtol=1e-4, atol=1e-5)


def stored(weight, block, plain):
    """Returns weights padded and in the order in which the loops of ONNX Runtime's kernels read them."""
    missing = [-weight.shape[0] % block, 0 if plain else -weight.shape[1] % block, 0, 0]
    padded = np.pad(weight, [(0, n) for n in missing])
    o, i, *kernel = padded.shape
    step = 1 if plain else block
    blocks = product(range(0, o, block), range(0, i, step), *map(range, kernel))
    order = [
        (first + m, channel + c, h, w) for first, channel, h, w in blocks for c in range(step) for m in range(block)
    ]
    return np.stack([padded[at] for at in order]).reshape(padded.shape)


def chain(weights, block):
    """Returns convolutions one after the other, as ONNX Runtime writes them for blocks of ``block`` channels."""
    x, blocked, lines, given = "x", False, [], {}
    for n, weight in enumerate(weights):
        outputs, inputs = weight.shape[:2]
        group = outputs if inputs == 1 else 1
        reads_plain = group == 1 and inputs < block
        if blocked and reads_plain:
            lines.append(f"o{n} = {DOMAIN}.ReorderOutput<channels = {inputs}>({x})")
        elif not blocked and not reads_plain:
            lines.append(f"o{n} = {DOMAIN}.ReorderInput({x})")
        x = x if blocked != reads_plain else f"o{n}"
        group = group if group == 1 else outputs + -outputs % block
        lines.append(f'y{n} = {DOMAIN}.Conv<group = {group}, activation = "Relu", {SAME}>({x}, w{n})')
        x, blocked = f"y{n}", True
        given[f"w{n}"] = stored(weight, block, plain=reads_plain or inputs == 1)
    return " ".join([*lines, f"y = {DOMAIN}.ReorderOutput<channels = {len(weights[-1])}>({x})"]), given


CHAINS = [
    [(12, 3)], [(8, 3)], [(16, 12)], [(8, 3), (8, 8)], [(8, 3), (16, 8), (24, 16)], [(12, 3), (12, 1), (20, 12)],
    [(12, 3), (16, 12)], [(24, 24), (16, 24)],
]  # fmt: skip


@pytest.fixture(params=[8, 16])
def block(request, monkeypatch):
    """The blocks of a file; those of the machine that reads it are the others."""
    monkeypatch.setattr(BLOCK_SIZE, "_block_of_this_machine", lambda: 24 - request.param)
    return request.param


@pytest.mark.parametrize("sizes", CHAINS, ids=str)
def test_files_of_another_machine(sizes, block, parse, run):
    weights = [array(*size, 3, 3, seed=n) * 0.2 for n, size in enumerate(sizes)]
    channels = sizes[0][1]
    head = f"g (float[N, {channels}, 5, 4] x) => (float[N, {sizes[-1][0]}, 5, 4] y)"
    plain = "".join(
        f"c{n} = Conv<group = {o if i == 1 else 1}, {SAME}>({f'r{n - 1}' if n else 'x'}, w{n}) r{n} = Relu(c{n}) "
        for n, (o, i) in enumerate(sizes)
    )
    feeds = {"x": array(2, channels, 5, 4)}
    last = f"{plain} y = Identity(r{len(sizes) - 1})"
    (expected,) = run(parse(f"{head} {{ {last} }}", weights={f"w{n}": w for n, w in enumerate(weights)}), feeds)
    body, given = chain(weights, block)
    (found,) = run(normalise(parse(f"{head} {{ {body} }}", weights=given, domains=DOMAINS)), feeds)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_addition_that_broadcasts(block, parse, run):
    """Only the shape that ONNX Runtime gives both terms tells the size of the blocks."""
    weight = array(32, 3, 3, 3)
    head = "g (float[N, 3, H, W] x) => (float[N, 32, H, W] y)"
    feeds = {"x": array(2, 3, 5, 4)}
    plain = f"{head} {{ a = Conv<{SAME}>(x, w) m = GlobalMaxPool(a) b = Add(a, m) y = Relu(b) }}"
    (expected,) = run(parse(plain, weights={"w": weight}), feeds)
    body = f"""a = {DOMAIN}.Conv<{SAME}>(x, w) m = {DOMAIN}.GlobalMaxPool(a) p = Reshape(a, s) q = Reshape(m, s)
        t = Add(p, q) u = Reshape(t, j) r = Relu(u) y = {DOMAIN}.ReorderOutput<channels = 32>(r)"""
    given = {
        "w": stored(weight, block, plain=True),
        "s": np.asarray([0, -1, 0, 0, block]),
        "j": np.asarray([0, -1, 0, 0]),
    }
    (found,) = run(normalise(parse(f"{head} {{ {body} }}", weights=given, domains=DOMAINS)), feeds)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_where_nothing_tells_the_machine_does(block, parse, run, monkeypatch):
    monkeypatch.setattr(BLOCK_SIZE, "_block_of_this_machine", lambda: block)
    weight, feeds = array(16, 3, 3, 3), {"x": array(2, 3, 5, 4)}
    head = "g (float[N, 3, 5, 4] x) => (float[N, 16, 5, 4] y)"
    (expected,) = run(parse(f"{head} {{ a = Conv<{SAME}>(x, w) y = Relu(a) }}", weights={"w": weight}), feeds)
    body, given = chain([weight], block)
    (found,) = run(normalise(parse(f"{head} {{ {body} }}", weights=given, domains=DOMAINS)), feeds)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_sizes_that_contradict_each_other_are_refused(parse):
    """24 channels have no blocks of 16, and 8 that are read as they are no blocks of 8."""
    body = f"a = {DOMAIN}.Conv(x, w) y = {DOMAIN}.ReorderOutput<channels = 24>(a)"
    text = f"g (float[N, 8, 5, 4] x) => (float y) {{ {body} }}"
    with pytest.raises(GraphError, match=r"neither blocks of 16 nor of 8 channels.*ORT_ENABLE_EXTENDED"):
        normalise(parse(text, weights={"w": array(24, 8, 3, 3)}, domains=DOMAINS))
