"""ONNX files: what they consist of, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from xgraph.errors import ExportError
from xgraph.exporters import find


def model(opset: int = 18, domain: str = "") -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])
    weights = numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", [x], [y], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(domain, opset)])


def external(location: str, folder: Path) -> Path:
    """Writes a model whose weights are said to lie at ``location``."""
    proto = model()
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_a_file_is_its_own_export(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(model(), str(path))
    exporter, files = find(tmp_path)
    exported = exporter.export(files, tmp_path / "out")
    assert (exported.path, exported.source, exported.files) == (path, "onnx", (path,))
    assert exported.check is None
    assert not (tmp_path / "out").exists()


def test_external_data_are_files_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = external("data/weights.bin", tmp_path)
    (tmp_path / "data" / "weights.bin").write_bytes(b"")
    assert find(path)[1] == (path, tmp_path / "data" / "weights.bin")


def test_missing_external_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"weights.bin.* does not exist"):
        find(external("weights.bin", tmp_path))


@pytest.mark.parametrize("location", ["/etc/hostname", "../weights.bin", "a/../../w", "..\\w", "C:\\w", ""])
def test_external_data_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    with pytest.raises(ExportError, match="outside its own folder"):
        find(external(location, tmp_path))


def test_external_data_behind_a_link_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"")
    (folder / "weights.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(ExportError, match="outside its own folder"):
        find(external("weights.bin", folder))


def test_external_data_inside_subgraphs_are_found(tmp_path: Path) -> None:
    inner = model().graph
    proto = model()
    tensor = inner.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="inner.bin")
    proto.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=inner))
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ExportError, match=r"inner\.bin"):
        find(tmp_path / "model.onnx")


@pytest.mark.parametrize("content", [b"this is a text file, not a model\n" * 9, b"", b"\x00" * 64])
def test_a_file_that_is_no_model_is_refused_in_a_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ExportError, match=r"is empty|no ONNX model") as caught:
        find(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", [0.2, 0.5, 0.8, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, part: float) -> None:
    whole = model().SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(ExportError, match="damaged"):
        find(path)


def test_an_opset_too_old_to_read_is_refused(tmp_path: Path) -> None:
    onnx.save(model(opset=6), str(tmp_path / "model.onnx"))
    with pytest.raises(ExportError, match="opset 6; 7 is the oldest"):
        find(tmp_path)


def test_a_model_without_standard_operators_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(model(opset=1, domain="ai.onnx.ml").SerializeToString())
    with pytest.raises(ExportError, match=r"ai\.onnx\.ml"):
        find(tmp_path)
