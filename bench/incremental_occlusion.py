"""Occlusion that recomputes what a patch reaches against occlusion that runs the whole model, in turns within one run.

    python bench/incremental_occlusion.py --model resnet50 --window 16 --stride 8 --json occlusion.json

Weights are seeded, not trained: the time does not depend on them. Both sweeps cover all positions of the patch in
batches that alternate, and the results must agree before a time is reported.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from xgraph.graph.emit import Emit
from xgraph.graph.evaluator import detach_weights
from xgraph.graph.incremental import CORNER, PATCH, Windows, clean_graph, plan_windows, window_graph
from xgraph.graph.normalise import normalise
from xgraph.graph.splice import add_input, clean

SIZE, CLASSES, THREADS = 224, 1000, 2
TOLERANCE = 1e-5
"""Of the largest output: float32 both, sums in another order."""


class Network:
    """A graph in the making, with weights that keep the scale of activations (He et al. 2015, arXiv:1502.01852)."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, op: str, *inputs: str, **attributes: object) -> str:
        """Adds a node and returns its output."""
        out = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], name=out, **attributes))
        return out

    def weight(self, array: np.ndarray) -> str:
        """Adds a weight and returns its name."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def matrix(self, *shape: int, gain: float = 2.0) -> str:
        """Adds a weight of random numbers of variance gain / inputs."""
        return self.weight(self.rng.standard_normal(shape) * np.sqrt(gain / np.prod(shape[1:])))

    def conv(
        self, x: str, source: int, channels: int, kernel: int, stride: int = 1, *, norm: bool, groups: int = 1
    ) -> str:
        """Adds a convolution with a bias, or with BatchNormalization behind it."""
        bias = () if norm else (self.weight(self.rng.normal(0, 0.05, channels)),)
        weight = self.matrix(channels, source // groups, kernel, kernel)
        x = self.add("Conv", x, weight, *bias, pads=[kernel // 2] * 4, strides=[stride] * 2, group=groups)
        if not norm:
            return x
        rng = self.rng
        parts = rng.uniform(0.5, 1, channels), rng.normal(0, 0.1, channels), rng.normal(0, 0.1, channels)
        return self.add("BatchNormalization", x, *map(self.weight, parts), self.weight(rng.uniform(0.8, 1.5, channels)))

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        """Adds a linear layer."""
        weight, bias = self.matrix(outputs, inputs), self.weight(self.rng.normal(0, 0.05, outputs))
        return self.add("Gemm", x, weight, bias, transB=1)

    def model(self, logits: str) -> onnx.ModelProto:
        """Returns the model."""
        ends = (("image", ["batch", 3, SIZE, SIZE]), (logits, ["batch", CLASSES]))
        given, told = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends)
        graph = helper.make_graph(self.nodes, "network", [given], [told], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def vgg16() -> onnx.ModelProto:
    """Simonyan and Zisserman 2014, arXiv:1409.1556."""
    net, x, channels = Network(), "image", 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            x, channels = net.add("Relu", net.conv(x, channels, width, 3, norm=False)), width
        x = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.add("Flatten", x)
    x = net.add("Relu", net.linear(x, 512 * 49, 4096))
    x = net.add("Relu", net.linear(x, 4096, 4096))
    return net.model(net.linear(x, 4096, CLASSES))


def resnet50() -> onnx.ModelProto:
    """He et al. 2015, arXiv:1512.03385, with the stride in the 3x3 convolution."""
    net = Network()
    x = net.add("Relu", net.conv("image", 3, 64, 7, 2, norm=True))
    x = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for width, depth, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(depth):
            stride = first if block == 0 else 1
            y = net.add("Relu", net.conv(x, channels, width, 1, norm=True))
            y = net.add("Relu", net.conv(y, width, width, 3, stride, norm=True))
            y = net.conv(y, width, 4 * width, 1, norm=True)
            shortcut = x if block else net.conv(x, channels, 4 * width, 1, stride, norm=True)
            x, channels = net.add("Relu", net.add("Add", y, shortcut)), 4 * width
    return net.model(net.linear(net.add("Flatten", net.add("GlobalAveragePool", x)), channels, CLASSES))


def mobilenet_v2() -> onnx.ModelProto:
    """Sandler et al. 2018, arXiv:1801.04381."""
    net = Network()

    def clipped(x: str) -> str:
        return net.add("Clip", x, net.weight(np.array(0.0)), net.weight(np.array(6.0)))

    x, channels = clipped(net.conv("image", 3, 32, 3, 2, norm=True)), 32
    rows = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for widening, width, depth, first in rows:
        for block in range(depth):
            stride, inner, before = first if block == 0 else 1, channels * widening, x
            y = x if widening == 1 else clipped(net.conv(x, channels, inner, 1, norm=True))
            y = clipped(net.conv(y, inner, inner, 3, stride, norm=True, groups=inner))
            y = net.conv(y, inner, width, 1, norm=True)
            x, channels = net.add("Add", y, before) if stride == 1 and channels == width else y, width
    x = clipped(net.conv(x, channels, 1280, 1, norm=True))
    return net.model(net.linear(net.add("Flatten", net.add("GlobalAveragePool", x)), 1280, CLASSES))


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {"resnet50": resnet50, "vgg16": vgg16, "mobilenet_v2": mobilenet_v2}


def occluded(model: ir.Model, window: int) -> ir.Model:
    """Returns the model with the patch put over one image inside the graph."""
    work = model.clone()
    image = work.graph.inputs.pop()
    b = Emit(work)
    corner = add_input(work, CORNER, np.int64, ["batch", 2])
    under, over = (add_input(work, name, np.float32, [1, 3, SIZE, SIZE]) for name in ("xg_image", "xg_over"))
    inside = []
    for axis, shape in enumerate(([1, 1, SIZE, 1], [1, 1, 1, SIZE])):
        first = b.Unsqueeze(b.Gather(corner, [axis], axis=1), [2, 3])
        at = np.arange(SIZE).reshape(shape)
        inside.append(b.And(b.GreaterOrEqual(b.constant(at), first), b.Less(b.constant(at), b.Add(first, window))))
    image.replace_all_uses_with(b.Where(b.And(*inside), over, under))
    clean(work)
    return work


def session(model: ir.Model, batch: int, profile: str = "") -> onnxruntime.InferenceSession:
    """Opens a session on two threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    options.add_free_dimension_override_by_name("batch", batch)
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    graph, weights = detach_weights(model)
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
    if weights:
        options.add_external_initializers(list(weights), values)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def sweep(model: ir.Model, plan: Windows, batch: int, profile: str) -> dict[str, float]:
    """Runs both over all positions and returns seconds, after checking that they agree."""
    rng = np.random.default_rng(1)
    image, over = rng.standard_normal((1, 3, SIZE, SIZE), np.float32), np.zeros((1, 3, SIZE, SIZE), np.float32)
    corners = np.stack(np.meshgrid(*plan.starts, indexing="ij"), axis=-1).reshape(-1, 2)
    whole, part = session(occluded(model, plan.window[0]), batch), session(window_graph(model, plan), batch, profile)
    cleaner = session(clean_graph(model, plan), 1)
    names = [output.name for output in cleaner.get_outputs()]
    cleaner.run(None, {"image": image})
    start = perf_counter()
    cached = dict(zip(names, cleaner.run(None, {"image": image}), strict=True))
    seconds = {"clean": perf_counter() - start, "whole": 0.0, "windows": 0.0}
    feeds = {
        "whole": {"xg_image": image, "xg_over": over},
        "windows": {PATCH: over[0].transpose(1, 2, 0).reshape(-1, 3).copy(), **cached},
    }
    sessions = {"whole": whole, "windows": part}
    results: dict[str, list[np.ndarray]] = {"whole": [], "windows": []}
    for name, opened in sessions.items():
        opened.run(None, {CORNER: corners[:batch], **feeds[name]})  # warm-up
    for first in range(0, len(corners), batch):
        rows = corners[first : first + batch]
        padded = np.concatenate([rows, np.repeat(rows[:1], batch - len(rows), axis=0)])
        for name, opened in sessions.items():
            start = perf_counter()
            result = opened.run(None, {CORNER: padded, **feeds[name]})[0]
            seconds[name] += perf_counter() - start
            results[name].append(result[: len(rows)])
    want, got = (np.concatenate(results[name]) for name in ("whole", "windows"))
    difference = float(abs(got - want).max() / abs(want).max())
    if difference > TOLERANCE:
        raise SystemExit(f"the sweeps differ by {difference:.1e} of the largest output")
    if not np.isfinite(want).all():
        raise SystemExit("the model returns numbers that are not finite")
    if profile:
        print(part.end_profiling())
    spread = float(np.ptp(want, axis=0).max() / abs(want).max())
    return {
        **seconds,
        "difference": difference,
        "spread": spread,
        "speedup": seconds["whole"] / (seconds["clean"] + seconds["windows"]),
    }


def main() -> None:
    """Runs the comparison and prints one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=sorted(MODELS), default="resnet50")
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--stride", type=int, default=8)
    parser.add_argument("--batch", type=int, default=27)
    parser.add_argument("--rows", type=int, help="only so many rows of positions")
    parser.add_argument("--profile", default="", help="prefix of an ONNX Runtime profile of the window graph")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    model = normalise(ir.from_proto(MODELS[options.model]()))
    last = -(-(SIZE - options.window) // options.stride)
    starts = [position * options.stride for position in range(last + 1)]
    window = options.window, options.window
    began = perf_counter()
    plan = plan_windows(model, "image", window, (starts, starts))
    planned = perf_counter() - began
    if isinstance(plan, str):
        raise SystemExit(plan)
    if options.rows:
        # Those in the middle, whose windows are no smaller than those of all positions.
        middle = (len(starts) - options.rows) // 2
        plan = plan_windows(model, "image", window, (starts[middle : middle + options.rows], starts))
        assert not isinstance(plan, str)
    found = sweep(model, plan, options.batch, options.profile)
    report = {
        "model": options.model, "window": options.window, "stride": options.stride, "batch": options.batch,
        "positions": len(plan.starts[0]) * len(plan.starts[1]), "share": plan.share, "cost": plan.cost,
        "dense_from": plan.whole, "plan_seconds": planned, "threads": THREADS,
        "onnxruntime": onnxruntime.__version__, **found,
    }  # fmt: skip
    times = ", ".join(f"{name} {found[name]:.2f} s" for name in ("whole", "windows", "clean"))
    print(f"{options.model}: {found['speedup']:.2f}x ({times}), differs by {found['difference']:.1e}")
    print(f"  {plan.share:.0%} of the multiply-adds, estimated cost {plan.cost:.0%}, planned in {planned:.2f} s")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
