"""Loading executes nothing of what a model holds, and reads nothing outside its folder."""

from __future__ import annotations

import builtins
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import builders
import numpy as np
import onnx
import pytest
from onnx import TensorProto

import xgraph
from xgraph.errors import BundleError, ExportError, InputError
from xgraph.graph.io import read

OUTSIDE = ("/etc/hostname", "../weights.bin", "a/../../weights.bin", "..\\weights.bin", "C:\\weights.bin", "")


def located(folder: Path, location: str, attribute: bool = False) -> Path:
    """A model whose weight, or Constant in a body, is said to lie at ``location``."""
    model = builders.tiny_cnn()
    tensor = model.graph.initializer[0]
    if attribute:
        tensor = TensorProto(name="inner", data_type=TensorProto.FLOAT, dims=[1])
        body = onnx.parser.parse_graph("b () => (float[1] q) { q = Constant<value = float[1] {1.0}>() }")
        body.node[0].attribute[0].t.CopyFrom(tensor)
        tensor = body.node[0].attribute[0].t
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "yes"))
        branches = {"then_branch": body, "else_branch": body}
        node = onnx.helper.make_node("If", ["yes"], ["extra"])
        model.graph.output.add(name="extra")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    if attribute:
        node.attribute.extend(onnx.helper.make_attribute(name, graph) for name, graph in branches.items())
        model.graph.node.append(node)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that Python code opens from here on."""
    found: list[str] = []
    for module, name in ((builtins, "open"), (io, "open"), (os, "open")):
        real = getattr(module, name)

        def noting(file: Any, *arguments: Any, _real: Any = real, **options: Any) -> Any:
            found.append(str(file))
            return _real(file, *arguments, **options)

        monkeypatch.setattr(module, name, noting)
    return found


@pytest.mark.parametrize("attribute", [False, True], ids=["weight", "constant in a body"])
@pytest.mark.parametrize("location", OUTSIDE)
@pytest.mark.parametrize("load", [xgraph.load, read], ids=["load", "read"])
def test_weights_outside_the_folder_are_refused_unopened(
    tmp_path: Path, location: str, attribute: bool, load: Callable[[Path], object], opened: list[str]
) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(1 << 12))
    folder = tmp_path / "model"
    folder.mkdir()
    path = located(folder, location, attribute)
    opened.clear()
    with pytest.raises(ExportError, match="outside"):
        load(path)
    assert set(opened) <= {str(path)}


@pytest.mark.parametrize("load", [xgraph.load, read], ids=["load", "read"])
@pytest.mark.parametrize("through", ["file", "folder"])
def test_links_out_of_the_folder_are_refused(tmp_path: Path, through: str, load: Callable[[Path], object]) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "weights.bin").write_bytes(bytes(1 << 12))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "data").symlink_to(secret if through == "folder" else secret / "weights.bin")
    with pytest.raises(ExportError, match="outside"):
        load(located(folder, "data/weights.bin" if through == "folder" else "data"))


def test_a_second_name_of_a_file_elsewhere_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(1 << 12))
    folder = tmp_path / "model"
    folder.mkdir()
    os.link(secret, folder / "weights.bin")
    with pytest.raises(ExportError, match="hard link"):
        xgraph.load(located(folder, "weights.bin"))


def test_links_within_the_folder_are_followed(tmp_path: Path) -> None:
    whole = tmp_path / "whole.onnx"
    onnx.save(builders.tiny_cnn(), whole, save_as_external_data=True, location="real.bin", size_threshold=0)
    model = onnx.load(whole, load_external_data=False)
    for tensor in model.graph.initializer:
        tensor.external_data[0].value = "link.bin"
    (tmp_path / "link.bin").symlink_to("real.bin")
    whole.write_bytes(model.SerializeToString())
    assert xgraph.load(whole).outputs


@pytest.mark.parametrize("file", ["../graphs/gradient.onnx", "/etc/hostname", "gradient.onnx", "graphs/..", "", None])
def test_a_bundle_names_no_file_outside_it(tiny_bundle: Path, tmp_path: Path, file: Any) -> None:
    path = Path(shutil.copytree(tiny_bundle, tmp_path / "copy.xgraph"))
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["programs"][0]["file"] = file
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="damaged"):
        xgraph.load(path)


@pytest.mark.parametrize("name", ["gradient.onnx", "weights.bin", "forward.onnx"])
def test_a_bundle_links_to_no_file_outside_it(tiny_bundle: Path, tmp_path: Path, name: str) -> None:
    path = Path(shutil.copytree(tiny_bundle, tmp_path / "copy.xgraph"))
    (path / "graphs" / name).rename(tmp_path / name)
    (path / "graphs" / name).symlink_to(tmp_path / name)
    with pytest.raises(BundleError, match=r"outside|no file in its folder"):
        xgraph.load(path)


def test_a_graph_that_was_exchanged_is_noticed(tiny_bundle: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(tiny_bundle, tmp_path / "copy.xgraph"))
    shutil.copy(path / "graphs" / "forward.onnx", path / "graphs" / "gradient.onnx")
    model = xgraph.load(path)
    with pytest.raises(BundleError, match=r"gradient\.onnx .*not the file that was written"):
        xgraph.explain(model, np.zeros((1, 3, builders.SIZE, builders.SIZE), np.float32), "gradient")


def test_yaml_builds_no_objects(tmp_path: Path) -> None:
    path = tmp_path / "inference.yml"
    path.write_text(f"PreProcess: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']\n")
    with pytest.raises(InputError, match="not YAML"):
        xgraph.Preprocess.from_paddle(path)
    assert not (tmp_path / "made").exists()


class Pickled:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("save", [np.save, lambda path, array: np.savez(path, image=array)], ids=["npy", "npz"])
def test_arrays_are_read_without_pickle(tiny_onnx: Path, tmp_path: Path, save: Any) -> None:
    from click.testing import CliRunner

    from xgraph.cli import command

    path = tmp_path / ("samples.npy" if save is np.save else "samples.npz")
    save(path, np.array([Pickled(tmp_path / "made")], dtype=object))
    done = CliRunner().invoke(command, ["explain", str(tiny_onnx), str(path), "-o", str(tmp_path / "out")])
    assert done.exit_code != 0
    assert not (tmp_path / "made").exists()


def test_nothing_of_a_model_is_run_by_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python operator of a framework names code; it is refused for being unknown, and nothing is imported."""
    (tmp_path / "evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'made')!r})\n")
    monkeypatch.syspath_prepend(tmp_path)
    model = builders.tiny_cnn()
    node = model.graph.node[-1]
    node.op_type, node.domain = "PythonOp", "evil"
    node.attribute.add(name="module", type=onnx.AttributeProto.STRING, s=b"evil")
    model.opset_import.add(domain="evil", version=1)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(xgraph.XGraphError):
        xgraph.explain(xgraph.load(path), np.zeros((1, 3, builders.SIZE, builders.SIZE), np.float32), "gradient")
    assert not (tmp_path / "made").exists()
