"""The window graph against the whole model on explicitly occluded images, at every position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from builders import Draft

from xgraph.graph.incremental import CLEAN, CORNER, PATCH, Windows, clean_graph, plan_windows, window_graph
from xgraph.graph.normalise import normalise

TOLERANCE = 1e-5
"""Of the largest output: float32 both, sums in another order."""


def conv(d: Draft, x: str, source: int, channels: int, out: str, kernel: int = 3, groups: int = 1, **how: Any) -> str:
    weight = d.weight(f"{out}.w", channels, source // groups, kernel, kernel)
    bias = d.weight(f"{out}.b", channels, scale=0.3)
    return d("Conv", x, weight, bias, out=out, group=groups, **{"pads": [kernel // 2] * 4, **how})


def head(d: Draft, x: str, channels: int) -> None:
    x = d("Flatten", d("GlobalAveragePool", x, out="gap"), out="flat")
    d("Gemm", x, d.weight("fc.w", 5, channels, scale=3.0), d.weight("fc.b", 5), out="logits", transB=1)


def chain(d: Draft) -> int:
    x = d("Relu", conv(d, "image", 3, 6, "c1"), out="r1")
    x = d("LeakyRelu", conv(d, x, 6, 7, "c2"), out="r2", alpha=0.1)
    head(d, d("Tanh", conv(d, x, 7, 4, "c3", kernel=5), out="t"), 4)
    return 4


def strides(d: Draft) -> int:
    x = d("Relu", conv(d, "image", 3, 6, "c1", strides=[2, 3]), out="r1")
    x = d("Relu", conv(d, x, 6, 6, "c2", kernel=1, strides=[3, 2]), out="r2")
    head(d, conv(d, x, 6, 4, "c3", kernel=2, strides=[1, 1], pads=[0, 1, 1, 0]), 4)
    return 4


def stride_beyond_kernel(d: Draft) -> int:
    x = d("Sigmoid", conv(d, "image", 3, 6, "c1", kernel=2, strides=[5, 5], pads=[0, 0, 0, 0]), out="s1")
    head(d, conv(d, x, 6, 4, "c2"), 4)
    return 4


def dilation(d: Draft) -> int:
    x = d("Relu", conv(d, "image", 3, 6, "c1", dilations=[2, 3], pads=[2, 3, 2, 3]), out="r1")
    head(d, conv(d, x, 6, 4, "c2", dilations=[2, 2], strides=[2, 1], pads=[1, 0, 2, 3]), 4)
    return 4


def asymmetric(d: Draft) -> int:
    x = d("Relu", conv(d, "image", 3, 6, "c1", pads=[2, 0, 0, 1], strides=[2, 2]), out="r1")
    x = d("Pad", x, d.constant("around", np.array([0, 0, 1, 2, 0, 0, 0, 1])), d.constant("with", np.array(0.7, "f4")),
          out="padded")  # fmt: skip
    head(d, conv(d, x, 6, 4, "c2", pads=[0, 0, 0, 0]), 4)
    return 4


def max_pools(d: Draft) -> int:
    # Negative, so that padding of 0 would win.
    x = d("Neg", d("Exp", conv(d, "image", 3, 6, "c1"), out="e1"), out="n1")
    x = d("MaxPool", x, out="p1", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    x = d("MaxPool", x, out="p2", kernel_shape=[2, 3], strides=[1, 2], ceil_mode=1, dilations=[2, 1])
    head(d, conv(d, x, 6, 4, "c2"), 4)
    return 4


def average_pools(include: int, ceil: int) -> Callable[[Draft], int]:
    def build(d: Draft) -> int:
        x = d("AveragePool", conv(d, "image", 3, 6, "c1"), out="p1", kernel_shape=[3, 2], strides=[2, 2],
              pads=[1, 1, 1, 0], count_include_pad=include, ceil_mode=ceil)  # fmt: skip
        x = d("AveragePool", d("Relu", x, out="r"), out="p2", kernel_shape=[3, 3], pads=[2, 1, 0, 1],
              count_include_pad=include)  # fmt: skip
        head(d, conv(d, x, 6, 4, "c2"), 4)
        return 4

    return build


def residual(d: Draft) -> int:
    x = d("Relu", d.batch_norm(conv(d, "image", 3, 6, "c0", strides=[2, 2]), 6, "bn0"), out="r0")
    y = d("Relu", d.batch_norm(conv(d, x, 6, 5, "c1", kernel=1), 5, "bn1"), out="r1")
    y = d("Relu", d.batch_norm(conv(d, y, 5, 5, "c2", strides=[2, 2]), 5, "bn2"), out="r2")
    y = d.batch_norm(conv(d, y, 5, 8, "c3", kernel=1), 8, "bn3")
    x = d(
        "Relu", d("Add", y, d.batch_norm(conv(d, x, 6, 8, "s", kernel=1, strides=[2, 2]), 8, "bns"), out="a"), out="r4"
    )
    y = conv(d, d("Elu", conv(d, x, 8, 8, "c5"), out="r5"), 8, 8, "c6")
    head(d, d("Relu", d("Sub", x, y, out="a2"), out="r6"), 8)
    return 8


def concat(d: Draft) -> int:
    x = d("Relu", conv(d, "image", 3, 6, "c0"), out="r0")
    parts = [conv(d, x, 6, 3, "b1", kernel=1), conv(d, x, 6, 4, "b2"), conv(d, x, 6, 2, "b3", kernel=5)]
    pooled = d("MaxPool", x, out="b4", kernel_shape=[3, 3], pads=[1] * 4)
    x = d("Concat", *parts, pooled, out="cat", axis=1)
    halves = d.constant("halves", np.array([5, 10]))
    d.nodes.append(onnx.helper.make_node("Split", [x, halves], ["left", "right"], axis=1))
    x = d("Concat", "right", d("Neg", "left", out="negated"), out="swapped", axis=1)
    head(d, conv(d, x, 15, 4, "c1"), 4)
    return 4


def mobile(d: Draft) -> int:
    x = d("Sub", "image", d.constant("mean", np.array([0.1, 0.2, 0.3], "f4").reshape(3, 1, 1)), out="centred")
    x = d("HardSwish", conv(d, x, 3, 8, "c0", strides=[2, 2]), out="h0")
    bounds = [d.constant(name, np.array(bound, "f4")) for name, bound in (("low", 0), ("high", 6))]
    x = d("Clip", conv(d, x, 8, 8, "dw", groups=8), *bounds, out="clip")
    x = d("Mul", x, d("HardSigmoid", conv(d, x, 8, 8, "grouped", groups=2), out="gate"), out="gated")
    x = d("PRelu", x, d.weight("slope", 8, 1, 1, scale=0.2), out="prelu")
    head(d, x, 8)
    return 8


def squeeze_excite(d: Draft) -> int:
    x = d("Relu", conv(d, "image", 3, 6, "c0", strides=[2, 2]), out="r0")
    x = d("Relu", conv(d, x, 6, 6, "c1"), out="r1")
    gate = conv(d, d("GlobalAveragePool", x, out="squeezed"), 6, 6, "se", kernel=1)
    x = d("Mul", x, d("Sigmoid", gate, out="gate"), out="excited")
    x = d("Add", conv(d, x, 6, 6, "c2"), x, out="sum")
    head(d, d("Relu", x, out="r2"), 6)
    return 6


def map_output(d: Draft) -> int:
    """A map as a further output, the image itself behind windows, and a shape that is read of a window."""
    x = d("Relu", conv(d, "image", 3, 3, "c0"), out="map")
    shape = d("Shape", x, out="shape", start=0, end=1)
    rows = d("Concat", shape, d.constant("rest", np.array([-1])), out="rows", axis=0)
    x = d("Add", d("Reshape", x, rows, out="flat_map"), d("Flatten", "image", out="flat_image"), out="flat_sum")
    d("ReduceMean", x, d.constant("axes", np.array([1])), out="logits")
    return 0


MODELS: dict[str, Callable[[Draft], int]] = {
    "chain": chain,
    "strides": strides,
    "stride beyond kernel": stride_beyond_kernel,
    "dilation": dilation,
    "asymmetric pads": asymmetric,
    "max pools": max_pools,
    "average pools": average_pools(0, 0),
    "average pools, ceil": average_pools(0, 1),
    "average pools of padding": average_pools(1, 0),
    "residual": residual,
    "concat": concat,
    "mobile": mobile,
    "squeeze-excite": squeeze_excite,
    "map output": map_output,
}
SIZES = {
    "square": (24, 24, (4, 4), range(0, 24, 4), range(0, 24, 4)),
    "hanging over": (25, 31, (5, 3), range(0, 25, 7), range(0, 31, 5)),
    "every pixel": (12, 13, (3, 2), range(12), range(13)),
    "irregular": (23, 20, (2, 5), [0, 3, 4, 22], [1, 17]),
    "in the middle": (28, 26, (4, 3), [9, 13], [11]),
}


def built(name: str, height: int, width: int) -> ir.Model:
    d = Draft(7)
    MODELS[name](d)
    outputs: dict[str, Any] = {"logits": ["batch", "classes"]}
    if name == "map output":
        outputs["map"] = ["batch", 3, height, width]
    return normalise(ir.from_proto(d.model({"image": ["batch", 3, height, width]}, outputs)))


def occlude(image: np.ndarray, over: np.ndarray, corners: np.ndarray, window: tuple[int, int]) -> np.ndarray:
    rows = np.repeat(image, len(corners), axis=0)
    for row, (top, left) in zip(rows, corners, strict=True):
        area = np.s_[:, top : top + window[0], left : left + window[1]]
        row[area] = over[0][area]
    return rows


def incremental(run: Callable[..., Any], model: ir.Model, plan: Windows, image: Any, over: Any, corners: Any) -> Any:
    cleaner, part = clean_graph(model, plan), window_graph(model, plan)
    assert [output.name for output in cleaner.graph.outputs] == [f"{CLEAN}_{i}" for i in range(len(plan.caches))]
    cached = {
        value.name: array for value, array in zip(cleaner.graph.outputs, run(cleaner, {"image": image}), strict=True)
    }
    assert {value.name for value in part.graph.inputs} == {CORNER, PATCH, *cached}
    return run(
        part, {CORNER: corners, PATCH: np.ascontiguousarray(over[0].transpose(1, 2, 0).reshape(-1, 3)), **cached}
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("everything", [False, True], ids=["cheapest", "all windows"])
def test_equals_the_whole_model(
    name: str, size: str, everything: bool, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    height, width, window, rows, columns = SIZES[size]
    monkeypatch.setattr("xgraph.graph.incremental.plan._MOST", np.inf)
    if everything:
        monkeypatch.setattr("xgraph.graph.incremental.plan._WHOLE", np.inf)
        monkeypatch.setattr("xgraph.graph.incremental.plan._Search.thresholds", lambda self: [np.inf])
    model = built(name, height, width)
    plan = plan_windows(model, "image", window, (rows, columns))
    if isinstance(plan, str):
        assert not everything
        assert "100% of the multiply-adds" in plan
        return
    rng = np.random.default_rng(1)
    image, over = rng.standard_normal((2, 1, 3, height, width), np.float32)
    corners = np.array([(top, left) for top in rows for left in columns])
    corners = rng.permutation(corners)
    want = run(model, {"image": occlude(image, over, corners, window)})
    got = incremental(run, model, plan, image, over, corners)
    for expected, found in zip(want, got, strict=True):
        assert found.shape == expected.shape
        assert abs(found - expected).max() <= TOLERANCE * abs(expected).max()
        assert np.ptp(expected, axis=0).max() > 100 * TOLERANCE * abs(expected).max()
