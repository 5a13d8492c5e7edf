"""Reading files."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from xgraph.errors import ExportError, GraphError
from xgraph.graph.evaluator import detach_weights
from xgraph.graph.io import opset, read


@pytest.fixture
def saved(tmp_path, parse):
    model = parse(
        "g (float[N, 40] x) => (float[N, 30] y) { y = MatMul(x, w) }", weights={"w": np.ones((40, 30), np.float32)}
    )
    path = tmp_path / "model.onnx"
    ir.save(model, path, external_data="model.bin")
    return path


def test_external_data_is_not_loaded(saved):
    model = read(saved)
    assert isinstance(model.graph.initializers["w"].const_value, ir.ExternalTensor)
    assert opset(model) == 18


@pytest.mark.parametrize("content", [b"", b"this is no model" * 50, b"\x08\x07\x12"])
def test_garbage_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ExportError) as error:
        read(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ExportError, match="no such file"):
        read(tmp_path / "none.onnx")


def test_missing_and_short_external_data_are_refused(saved):
    data = saved.with_name("model.bin")
    content = data.read_bytes()
    data.write_bytes(content[:100])
    with pytest.raises(ExportError, match="ends before weight 'w'"):
        read(saved)
    data.unlink()
    with pytest.raises(ExportError, match="missing"):
        read(saved)


def test_external_data_outside_the_folder_is_refused(saved):
    proto = onnx.load(saved, load_external_data=False)
    for entry in proto.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../elsewhere.bin"
    saved.write_bytes(proto.SerializeToString())
    with pytest.raises(ExportError, match="outside"):
        read(saved)


def test_no_default_opset(parse):
    model = parse("g (float[N] x) => (float[N] y) { y = Relu(x) }")
    del model.opset_imports[""]
    with pytest.raises(GraphError, match="operator set"):
        opset(model)


def test_detached_weights_leave_the_model_alone(saved):
    model = read(saved)
    graph, weights = detach_weights(model)
    assert len(graph) < 1000
    assert weights["w"].shape == (40, 30)
    assert model.graph.initializers["w"].const_value.numpy().shape == (40, 30)


def test_small_external_weights_are_carried_inside(tmp_path, parse, run):
    model = parse("g (float[N, 4] x) => (float[N, 4] y) { y = Mul(x, s) }", weights={"s": np.full(4, 3, np.float32)})
    ir.save(model, tmp_path / "model.onnx", external_data="model.bin", size_threshold_bytes=0)
    loaded = read(tmp_path / "model.onnx")
    assert isinstance(loaded.graph.initializers["s"].const_value, ir.ExternalTensor)
    assert detach_weights(loaded)[1] == {}
    np.testing.assert_array_equal(run(loaded, {"x": np.ones((2, 4), np.float32)})[0], np.full((2, 4), 3))
