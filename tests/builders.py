"""Small models built in code, seeded, for tests of everything above the graph room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

CLASSES, SIZE = 5, 16
HEADS = {"softmax": "Softmax", "log_softmax": "LogSoftmax", "sigmoid": "Sigmoid", "none": "Identity"}
VENDOR = "com.microsoft"
CROP = np.array([2, 2], np.int32)
OPSET = 18


class Draft:
    """A graph in the making."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, *shape: int, scale: float | None = None, offset: float = 0.0) -> str:
        fan = int(np.prod(shape[1:])) or 1
        array = self.rng.standard_normal(shape) * (scale if scale is not None else fan**-0.5) + offset
        return self.constant(name, array.astype(np.float32))

    def constant(self, name: str, array: np.ndarray) -> str:
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def __call__(self, op: str, *inputs: str, out: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [out], out, **attributes))
        return out

    def conv(self, x: str, channels: int, out: str, *, source: int, stride: int = 1) -> str:
        w = self.weight(f"{out}.w", channels, source, 3, 3)
        return self(
            "Conv", x, w, self.weight(f"{out}.b", channels, scale=0.1), out=out, pads=[1] * 4, strides=[stride] * 2
        )

    def batch_norm(self, x: str, channels: int, out: str) -> str:
        scale, shift, mean = (
            self.weight(f"{out}.{n}", channels, scale=0.2, offset=o) for n, o in (("s", 1), ("b", 0), ("m", 0))
        )
        variance = self.constant(f"{out}.v", self.rng.uniform(0.5, 1.5, channels).astype(np.float32))
        return self("BatchNormalization", x, scale, shift, mean, variance, out=out)

    def model(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> onnx.ModelProto:
        """Inputs and outputs: name -> shape, or (shape, tensor type)."""

        def info(name: str, said: Any) -> onnx.ValueInfoProto:
            shape, kind = said if isinstance(said, tuple) else (said, TensorProto.FLOAT)
            return helper.make_tensor_value_info(name, kind, shape)

        graph = helper.make_graph(
            self.nodes, "test", [info(*i) for i in inputs.items()], [info(*o) for o in outputs.items()], self.weights
        )
        domains = {"": OPSET} | {node.domain: 1 for node in self.nodes if node.domain}
        opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        return model


def tiny_cnn(
    head: str = "softmax", batch: int | str = "batch", size: int | str = SIZE, seed: int = 0
) -> onnx.ModelProto:
    """Conv-BN-ReLU, pool, a residual block, GAP, Gemm, head."""
    d = Draft(seed)
    x = d("Relu", d.batch_norm(d.conv("image", 8, "stem.conv", source=3), 8, "stem.bn"), out="stem.relu")
    x = d("MaxPool", x, out="stem.pool", kernel_shape=[2, 2], strides=[2, 2])
    y = d.batch_norm(d.conv(x, 8, "block.conv", source=8), 8, "block.bn")
    x = d("Relu", d("Add", x, y, out="block.add"), out="block.relu")
    x = d("Flatten", d("GlobalAveragePool", x, out="gap"), out="flat")
    weight, bias = d.weight("fc.w", CLASSES, 8, scale=3.0), d.weight("fc.b", CLASSES, scale=0.5)
    d("Gemm", x, weight, bias, out="logits", transB=1)
    axis = {"axis": 1} if head in ("softmax", "log_softmax") else {}
    d(HEADS[head], "logits", out="output", **axis)
    return d.model({"image": [batch, 3, size, size]}, {"output": [batch, CLASSES]})


def token_model(mask: bool = False) -> onnx.ModelProto:
    """Embeds ids, averages (over the mask, if there is one), classifies. Logits come out."""
    d = Draft(1)
    words = d("Gather", d.weight("table", 20, 6, scale=1.0), "ids", out="embedded")
    words = d("Tanh", words, out="squashed")
    inputs: dict[str, Any] = {"ids": (["batch", "sequence"], TensorProto.INT64)}
    last = d.constant("last", np.array([-1], np.int64))
    tokens = d.constant("tokens", np.array([1], np.int64))
    if mask:
        inputs["attention_mask"] = (["batch", "sequence"], TensorProto.INT64)
        kept = d("Unsqueeze", d("Cast", "attention_mask", out="kept", to=TensorProto.FLOAT), last, out="kept3")
        total = d("ReduceSum", d("Mul", words, kept, out="masked"), tokens, out="total", keepdims=0)
        pooled = d("Div", total, d("ReduceSum", kept, tokens, out="count", keepdims=0), out="pooled")
    else:
        pooled = d("ReduceMean", words, tokens, out="pooled", keepdims=0)
    d("Gemm", pooled, d.weight("fc.w", 4, 6, scale=2.0), d.weight("fc.b", 4), out="logits", transB=1)
    return d.model(inputs, {"logits": ["batch", 4]})


def multi_output() -> onnx.ModelProto:
    """Logits (N, 5), a segmentation map (N, 4, H, W), boxes (N, H*W, 4) with a sigmoid, and class numbers."""
    d = Draft(2)
    x = d("Relu", d.conv("image", 6, "conv1", source=3), out="relu1")
    d.conv(x, 4, "map", source=6)
    pooled = d("Flatten", d("GlobalAveragePool", x, out="gap"), out="flat")
    d("Gemm", pooled, d.weight("fc.w", CLASSES, 6, scale=2.0), d.weight("fc.b", CLASSES), out="logits", transB=1)
    rows = d("Reshape", "map", d.constant("rows", np.array([0, 4, -1], np.int64)), out="rows4")
    d("Sigmoid", d("Transpose", rows, out="cells", perm=[0, 2, 1]), out="boxes")
    d("ArgMax", "logits", out="number", axis=1, keepdims=0)
    return d.model(
        {"image": ["batch", 3, 8, 8]},
        {
            "logits": ["batch", CLASSES],
            "map": ["batch", 4, 8, 8],
            "boxes": ["batch", 64, 4],
            "number": (["batch"], TensorProto.INT64),
        },
    )


def fixed_batch(batch: int = 1) -> onnx.ModelProto:
    """A CNN whose batch size is baked in so that it cannot be made dynamic: samples are mixed on the way."""
    d = Draft(3)
    x = d("Relu", d.conv("image", 6, "conv1", source=3), out="relu1")
    rows = d("Reshape", x, d.constant("shape", np.array([batch * 6, -1], np.int64)), out="rows")
    table = d("MatMul", d.weight("mix", batch * 6, batch * 6), rows, out="mixed")
    x = d("Reshape", table, d.constant("back", np.array([batch, 6, 8, 8], np.int64)), out="x")
    x = d("ReduceMean", x, d.constant("axes", np.array([2, 3], np.int64)), out="mean", keepdims=0)
    d("Gemm", x, d.weight("fc.w", CLASSES, 6, scale=3.0), d.weight("fc.b", CLASSES), out="logits", transB=1)
    return d.model({"image": [batch, 3, 8, 8]}, {"logits": [batch, CLASSES]})


def features_model() -> onnx.ModelProto:
    """Two float inputs, of which the second does not reach the second output."""
    d = Draft(4)
    a = d("Tanh", d("Gemm", "a", d.weight("wa", 6, 4), out="ha", transB=1), out="ta")
    b = d("Gemm", "b", d.weight("wb", 3, 4), out="hb", transB=1)
    d("Gemm", d("Concat", a, b, out="both", axis=1), d.weight("w", 3, 9), out="logits", transB=1)
    d("Gemm", a, d.weight("v", 2, 6), out="alone", transB=1)
    return d.model({"a": ["batch", 4], "b": ["batch", 4]}, {"logits": ["batch", 3], "alone": ["batch", 2]})


def no_rule_model() -> onnx.ModelProto:
    """Two operators of ONNX Runtime's own that no book knows, on the way from input to output."""
    d = Draft(5)
    x = d("Conv", "image", d.weight("w", 4, 3, 3, 3), out="conv")
    every = d.constant("every", np.zeros((1, 4, 6, 6), np.int32))
    x = d("MaxpoolWithMask", x, every, out="pooled", domain=VENDOR, kernel_shape=[2, 2], strides=[2, 2])
    places = d.constant("places", np.array([[0.0, 0.0, 1.0, 1.0]], np.float32))
    x = d("CropAndResize", x, places, d.constant("first", np.zeros(1, np.int32)), d.constant("size", CROP), out="crop",
          domain=VENDOR)  # fmt: skip
    d("Flatten", d("GlobalAveragePool", x, out="gap"), out="logits")
    model = d.model({"image": [1, 3, 8, 8]}, {"logits": [1, 4]})
    for name, shape in (("pooled", [1, 4, 3, 3]), ("crop", [1, 4, 2, 2])):
        model.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    return model


def as_float64(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a copy that computes in float64, for the reference evaluator."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    for i, tensor in enumerate(wide.graph.initializer):
        if tensor.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor).astype(np.float64)
            wide.graph.initializer[i].CopyFrom(numpy_helper.from_array(array, tensor.name))
    for value in [*wide.graph.input, *wide.graph.output, *wide.graph.value_info]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for node in wide.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
    return wide


class Oracle:
    """A model in float64, and the slope of a number computed from its outputs by central differences."""

    def __init__(self, model: onnx.ModelProto, *values: str) -> None:
        """``values``: further values of the graph to return beside the outputs."""
        wide = as_float64(model)
        wide.graph.output.extend(onnx.ValueInfoProto(name=name) for name in values)
        self.names = [output.name for output in wide.graph.output]
        self._evaluator = ReferenceEvaluator(wide)

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        wide = {name: a.astype(np.float64) if a.dtype.kind == "f" else a for name, a in feeds.items()}
        return dict(zip(self.names, self._evaluator.run(None, wide), strict=True))

    def slopes(self, score: Any, feeds: Mapping[str, np.ndarray], name: str, direction: np.ndarray) -> np.ndarray:
        """Returns d score / d feeds[name] along ``direction``, one number per row."""
        step = 1e-6
        ends = []
        for sign in (1, -1):
            moved = {**feeds, name: feeds[name].astype(np.float64) + sign * step * direction}
            ends.append(score(self(moved)))
        return (ends[0] - ends[1]) / (2 * step)
