"""Large models: weights stay mapped, compiling takes few copies of them, and 2 GB is no limit.

What is counted is the peak resident set of a process of its own (``ru_maxrss``): private memory and the pages of
mapped files together. The system may drop the latter at any time, so the bounds hold with less memory than they say.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytestmark = pytest.mark.slow

SIDE, WIDTH = 16, 8192
LAYER = WIDTH * WIDTH * 4
_SPARE = 2.5
"""Of the model's size: the disk space and memory that must be free before one is made."""


def stacked(folder: Path, layers: int, opset: int) -> Path:
    """A convolution and so many wide layers, 268 MB each, in external data."""
    rng = np.random.default_rng(0)
    kernel = numpy_helper.from_array(rng.standard_normal((32, 3, 3, 3)).astype(np.float32), "kernel")
    head = numpy_helper.from_array(rng.standard_normal((WIDTH, 10)).astype(np.float32), "head")
    block = rng.standard_normal((256, WIDTH)).astype(np.float32) * WIDTH**-0.5
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["maps"], pads=[1] * 4),
        helper.make_node("Flatten", ["maps"], ["relu"]),
    ]
    weights, x = [kernel, head], "relu"
    with (folder / "weights.bin").open("wb") as file:
        for i in range(layers):
            tensor = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[WIDTH, WIDTH], data_location=1)
            entries = {"location": "weights.bin", "offset": str(i * LAYER), "length": str(LAYER)}
            for key, value in entries.items():
                tensor.external_data.add(key=key, value=value)
            for row in range(WIDTH // len(block)):
                file.write(np.roll(block, row + i, 1).data)
            weights.append(tensor)
            nodes.append(helper.make_node("Gemm", [x, tensor.name], [f"gemm{i}"], transB=1))
            nodes.append(helper.make_node("Relu", [f"gemm{i}"], [x := f"relu{i}"]))
    nodes.append(helper.make_node("MatMul", [x, "head"], ["logits"]))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])
    graph = helper.make_graph(nodes, "large", [image], [logits], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Callable[[int, int], Path]]:
    """Makes a model of so many layers and that opset; it is deleted, with all that lies beside it."""
    import psutil

    def make(layers: int, opset: int) -> Path:
        needed = int(layers * LAYER * _SPARE)
        if shutil.disk_usage(tmp_path).free < needed or psutil.virtual_memory().available < needed:
            pytest.skip(f"needs {needed >> 30} GiB of disk and of memory")
        return stacked(tmp_path, layers, opset)

    yield make
    shutil.rmtree(tmp_path, ignore_errors=True)


def peak(*arguments: str | Path) -> int:
    """Runs xgraph in a process of its own; returns its peak resident set in bytes."""
    # In a folder of its own, where the package is found as it is installed.
    command = [sys.executable, "-m", "xgraph", *map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024


def test_compiling_and_explaining(large: Callable[[int, int], Path]) -> None:
    model = large(6, 18)
    folder, size = model.parent, 6 * LAYER
    assert peak("compile", model, "-m", "gradient", "-o", folder / "large.xgraph") < 2.5 * size
    np.save(folder / "image.npy", np.random.default_rng(1).standard_normal((1, 3, SIDE, SIDE)).astype(np.float32))
    # The engine packs the weights anew for each of two sessions: the forward pass and the explanation.
    explained = peak("explain", folder / "large.xgraph", folder / "image.npy", "-m", "gradient", "-o", folder / "out")
    assert explained < 3.5 * size


def test_more_than_two_gigabytes_of_an_old_opset(large: Callable[[int, int], Path]) -> None:
    """Opset 17: the model goes through conversion, checker, shape inference and a run against the original."""
    model = large(9, 17)
    size = 9 * LAYER
    assert size > onnx.checker.MAXIMUM_PROTOBUF
    assert peak("inspect", model) < 2.5 * size
