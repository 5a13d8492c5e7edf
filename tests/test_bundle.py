"""Bundles: what is read back explains the same, nothing is compiled again, and damage is said in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import builders
import numpy as np
import onnx
import pytest

import xgraph
from xgraph import Preprocess, bundle, program
from xgraph.errors import BundleError, ExportError, MethodError
from xgraph.model import Model

METHODS = [info.name for info in xgraph.list_methods()]
FEW = {info.name: {"samples": 20} if "samples" in info.parameters else {} for info in xgraph.list_methods()}
"""Parameters that only make results finer."""


@pytest.fixture(scope="module")
def full(save_onnx: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    """A model with preprocessing, and a bundle with every method."""
    spec = Preprocess(size=(16, 16), mean=(0.5,), labels=("a", "b", "c", "d", "e"))
    model = xgraph.load(save_onnx(builders.tiny_cnn()), preprocess=spec)
    path = tmp_path_factory.mktemp("full") / "full.xgraph"
    return model, bundle.write_bundle(model, [xgraph.compile(model, name) for name in METHODS], path)


@pytest.fixture
def copy(full: tuple[Model, Path], tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(full[1], tmp_path / "copy.xgraph"))


@pytest.fixture
def no_building(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError(f"compiled {arguments[1:]}")

    monkeypatch.setattr(program, "build", refuse)


def same(found: xgraph.Attribution, expected: xgraph.Attribution) -> None:
    assert found.target.labels == expected.target.labels
    np.testing.assert_array_equal(found.scores, expected.scores)
    for name, values in expected.values.items():
        np.testing.assert_array_equal(found.values[name], values)


def test_a_bundle_tells_what_the_model_tells(full: tuple[Model, Path]) -> None:
    model, path = full
    again = xgraph.load(path)
    for name in ("inputs", "outputs", "layers", "attention", "opset", "batch", "digest", "source", "preprocess"):
        assert getattr(again, name) == getattr(model, name), name
    assert [head.kind for head in again.heads.values()] == [head.kind for head in model.heads.values()]
    assert {(c.profile, c.precision) for c in again.compiled} == {("cpu", "fp32")}
    # Methods that ask the same of a model share a graph.
    recipes = {recipe.key() for name in METHODS for recipe in xgraph.compile(model, name).recipes}
    assert sorted(c.recipe for c in again.compiled) == sorted(recipes)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", [None, 3, [0, 1, 2, 3, 4, 0, 1]], ids=["predicted", "index", "per_row"])
def test_explained_without_compiling(
    full: tuple[Model, Path], images: np.ndarray, no_building: None, method: str, target: Any
) -> None:
    found = xgraph.explain(xgraph.load(full[1]), images, method, target, **FEW[method])
    assert found.method == method


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("of", ["logit", "probability", "loss"])
def test_the_same_results_as_the_model(full: tuple[Model, Path], images: np.ndarray, method: str, of: Any) -> None:
    """Whether the graph is in the bundle (logit) or is compiled on demand."""
    if method == "cam" and of != "logit":
        pytest.skip("the weights of CAM are those of the logits")
    model, path = full
    same(*(xgraph.explain(one, images, method, of=of, **FEW[method]) for one in (xgraph.load(path), model)))


def test_what_is_not_in_it_is_compiled_on_demand(full: tuple[Model, Path], images: np.ndarray) -> None:
    model, path = full
    again = xgraph.load(path)
    for arguments in (
        {"wrt": "layer:block.add"},
        {"target": xgraph.Target.contrast(1, 2)},
        {"target": xgraph.Target.top(2)},
    ):
        same(xgraph.explain(again, images, **arguments), xgraph.explain(model, images, **arguments))
    for found, expected in zip(
        *(xgraph.explain_each(m, images, "grad_cam", [0, 3]) for m in (again, model)), strict=True
    ):
        same(found, expected)


def test_a_loaded_bundle_can_be_saved_and_bundled_again(
    full: tuple[Model, Path], images: np.ndarray, tmp_path: Path
) -> None:
    model, path = full
    again = xgraph.load(path)
    ours = xgraph.compile(model, "gradient").save(tmp_path / "ours.onnx")
    theirs = xgraph.compile(again, "gradient").save(tmp_path / "theirs.onnx")
    assert ours.stat().st_size == theirs.stat().st_size
    second = bundle.write_bundle(again, [xgraph.compile(again, "grad_cam")], tmp_path / "second.xgraph")
    same(xgraph.explain(xgraph.load(second), images, "grad_cam"), xgraph.explain(model, images, "grad_cam"))


def test_a_bundle_may_be_written_over_itself(copy: Path, images: np.ndarray) -> None:
    model = xgraph.load(copy)
    expected = xgraph.explain(model, images, "grad_cam")
    bundle.write_bundle(model, [xgraph.compile(model, "grad_cam")], copy)
    same(xgraph.explain(xgraph.load(copy), images, "grad_cam"), expected)
    assert [p.name for p in copy.parent.iterdir()] == ["copy.xgraph"]


def test_weights_are_stored_once(full: tuple[Model, Path]) -> None:
    _, path = full
    graphs = {file.stem: onnx.load(file, load_external_data=False) for file in (path / "graphs").glob("*.onnx")}
    assert {"forward", "activations", "gradient", "integrated_gradients", "occlusion"} <= set(graphs)
    places: dict[str, set[tuple[str, ...]]] = {}
    for graph in graphs.values():
        for tensor in graph.graph.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                places.setdefault(tensor.name, set()).add(tuple(entry.value for entry in tensor.external_data))
    assert {"stem.conv.w", "block.conv.w"} & set(places)
    assert all(len(found) == 1 for found in places.values())
    assert all(file.stat().st_size < 60_000 for file in (path / "graphs").glob("*.onnx"))


def test_graphs_of_a_bundle_run_with_onnxruntime_alone(full: tuple[Model, Path], images: np.ndarray) -> None:
    import onnxruntime

    model, path = full
    session = onnxruntime.InferenceSession(path / "graphs" / "gradient.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["xg_attribution"], {"image": images, "xg_target": np.full(7, -1)})
    np.testing.assert_allclose(found, xgraph.explain(model, images).values["image"], rtol=1e-5, atol=1e-6)
    session = onnxruntime.InferenceSession(path / "graphs" / "activations.onnx", providers=["CPUExecutionProvider"])
    assert {layer.value for layer in model.layers} <= {output.name for output in session.get_outputs()}


def test_labels_and_preprocessing_come_along(full: tuple[Model, Path]) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), np.uint8)
    model, path = full
    found = xgraph.explain(xgraph.load(path), pictures)
    same(found, xgraph.explain(model, pictures))
    assert set(found.target.labels) <= set("abcde")
    assert json.loads((path / "manifest.json").read_text())["labels"] == list("abcde")
    contrast = xgraph.explain(model, pictures, target=xgraph.Target.contrast(0, 1))
    assert contrast.target.labels[0] == "a rather than b"


def test_another_spec_goes_before_the_stored_one(full: tuple[Model, Path]) -> None:
    spec = Preprocess(size=(16, 16))
    assert xgraph.load(full[1], preprocess=spec).preprocess == spec


def edit(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        document = json.loads((path / "manifest.json").read_text())
        change(document)
        (path / "manifest.json").write_text(json.dumps(document))

    return damage


def cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:size])


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no manifest": (lambda path: (path / "manifest.json").unlink(), "manifest.json"),
    "truncated manifest": (cut("manifest.json", 300), "damaged"),
    "manifest is a list": (lambda path: (path / "manifest.json").write_text("[]"), "damaged"),
    "manifest is binary": (lambda path: (path / "manifest.json").write_bytes(b"\xff\xfe\x00"), "damaged"),
    "no digest": (edit(lambda d: d.pop("digest")), "manifest.json lacks 'digest'"),
    "a program without a file": (
        edit(lambda d: [entry.update(file="") for entry in d["programs"]]),
        "no file in its folder",
    ),
    "no inputs": (edit(lambda d: d.update(inputs=[{}])), "manifest.json lacks 'name'"),
    "programs is a number": (edit(lambda d: d.update(programs=3)), "damaged"),
    "bad preprocessing": (edit(lambda d: d["preprocessing"].update(size=[0, 0])), "damaged .*size"),
    "another format": (edit(lambda d: d["format"].update(name="zip")), "not one of xgraph's"),
    "a newer format": (edit(lambda d: d["format"].update(version=2)), "bundle format 2, this xgraph reads 1"),
    "no forward graph": (lambda path: (path / "graphs/forward.onnx").unlink(), "forward.onnx"),
    "truncated forward graph": (cut("graphs/forward.onnx", 900), "forward.onnx"),
    "empty forward graph": (cut("graphs/forward.onnx", 0), "forward.onnx"),
    "no weights": (lambda path: (path / "graphs/weights.bin").unlink(), "weights.bin.* is missing"),
    "truncated weights": (cut("graphs/weights.bin", 100), "weights.bin"),
    "no graphs": (lambda path: shutil.rmtree(path / "graphs"), "forward.onnx"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_damage_is_found_on_loading(copy: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(copy)
    with pytest.raises(BundleError, match=message) as caught:
        xgraph.load(copy)
    assert str(copy) in str(caught.value)
    assert "compile it again" in str(caught.value)
    assert "\n" not in str(caught.value)


PROGRAM_DAMAGES: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: (path / "graphs/gradient.onnx").unlink(),
    "truncated": cut("graphs/gradient.onnx", 5000),
    "empty": cut("graphs/gradient.onnx", 0),
    "text": lambda path: (path / "graphs/gradient.onnx").write_text("no model"),
}


@pytest.mark.parametrize("damage", PROGRAM_DAMAGES.values(), ids=PROGRAM_DAMAGES)
def test_damage_to_a_program_is_found_when_it_is_used(
    copy: Path, images: np.ndarray, damage: Callable[[Path], None]
) -> None:
    damage(copy)
    model = xgraph.load(copy)
    xgraph.explain(model, images, "grad_cam")
    with pytest.raises(BundleError, match="compile the bundle again") as caught:
        xgraph.explain(model, images, "gradient")
    assert "\n" not in str(caught.value)


def test_weights_that_went_away_later(copy: Path, images: np.ndarray) -> None:
    model = xgraph.load(copy)
    (copy / "graphs/weights.bin").unlink()
    with pytest.raises(BundleError, match=r"weights\.bin .* is missing"):
        xgraph.explain(model, images)


def test_a_program_file_outside_the_bundle_is_not_read(copy: Path) -> None:
    shutil.move(copy / "graphs" / "gradient.onnx", copy.parent / "gradient.onnx")
    edit(lambda d: [entry.update(file="../gradient.onnx") for entry in d["programs"] if entry["method"] == "gradient"])(
        copy
    )
    with pytest.raises(BundleError, match="no file in its folder of graphs"):
        xgraph.load(copy)


class Failure(Exception):
    """Something that goes wrong, which no code of ours knows."""


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Failure(), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("older", [False, True], ids=["new", "over an older one"])
@pytest.mark.parametrize("where", ["attach", "_manifest", "rename"])
def test_nothing_is_left_half_written(
    copy: Path,
    full: tuple[Model, Path],
    images: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    older: bool,
    where: str,
) -> None:
    model, _ = full
    path = copy if older else copy.with_name("new.xgraph")
    program_ = xgraph.compile(model, "grad_cam")
    before = sorted((p.relative_to(copy), p.stat().st_size) for p in copy.rglob("*"))
    calls = 0

    def fail(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if where == "rename" and older and calls != 2:
            # The older bundle steps aside, the new one cannot take its place, the older one comes back.
            return rename(*arguments, **options)
        raise error

    rename = Path.rename
    owner: Any = {"attach": bundle.WeightStore, "_manifest": bundle, "rename": Path}[where]
    with monkeypatch.context() as patch:
        patch.setattr(owner, where, fail)
        with pytest.raises(BundleError if isinstance(error, OSError) else type(error)):
            bundle.write_bundle(model, [program_], path)
    assert [p.name for p in copy.parent.iterdir()] == ["copy.xgraph"]
    assert sorted((p.relative_to(copy), p.stat().st_size) for p in copy.rglob("*")) == before
    xgraph.explain(xgraph.load(copy), images)


@pytest.mark.parametrize("what", ["file", "folder", "empty folder", "bundle without manifest"])
def test_nothing_else_is_overwritten(tiny_model: Model, tmp_path: Path, what: str) -> None:
    path = tmp_path / "taken.xgraph"
    if what == "file":
        path.write_text("mine")
    else:
        path.mkdir()
        if what != "empty folder":
            (path / "graphs").mkdir()
    with pytest.raises(BundleError, match="exists and is no bundle; choose another name"):
        bundle.write_bundle(tiny_model, [], path)
    assert [p.name for p in tmp_path.iterdir()] == ["taken.xgraph"]


def test_a_path_below_a_file(tiny_model: Model, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BundleError, match="cannot be written"):
        bundle.write_bundle(tiny_model, [], tmp_path / "file" / "x.xgraph")


def test_a_model_folder_with_a_manifest_is_no_bundle(tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    shutil.copy(tiny_onnx, tmp_path / "model.onnx")
    assert xgraph.load(tmp_path).source == "onnx"


def test_a_bundle_takes_no_params(full: tuple[Model, Path]) -> None:
    with pytest.raises(ExportError, match="is a bundle, which holds its parameters"):
        xgraph.load(full[1], params="x.pdiparams")


def test_the_precision_of_a_bundle_is_kept(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stored with a program, and taken where that program runs; elsewhere float32."""
    from xgraph.runtime.providers import Provider

    def choose(device: str = "auto", precision: str = "fp32") -> Provider:
        return Provider("openvino" if device == "openvino" else "cpu", precision)  # type: ignore[arg-type]

    monkeypatch.setattr(program, "choose", choose)
    document = json.loads((copy / "manifest.json").read_text())
    for entry in document["programs"]:
        entry.update(profile="openvino", precision="bf16")
    (copy / "manifest.json").write_text(json.dumps(document))
    compiled = xgraph.compile(xgraph.load(copy), "gradient")
    assert str(compiled.settings("openvino").provider) == "openvino bf16"
    assert str(compiled.settings("openvino", "fp32").provider) == "openvino"
    assert str(compiled.settings("cpu").provider) == "cpu"
    assert (
        str(xgraph.compile(xgraph.load(copy), "gradient", precision="fp32").settings("openvino").provider) == "openvino"
    )


def test_two_programs_of_one_method(tiny_model: Model, images: np.ndarray, tmp_path: Path) -> None:
    programs = [xgraph.compile(tiny_model, "grad_cam", layer=layer) for layer in ("stem.relu", "block.relu")]
    path = bundle.write_bundle(tiny_model, programs, tmp_path / "two.xgraph")
    again = xgraph.load(path)
    for layer in ("stem.relu", "block.relu"):
        same(
            xgraph.explain(again, images, "grad_cam", layer=layer),
            xgraph.explain(tiny_model, images, "grad_cam", layer=layer),
        )


@pytest.mark.parametrize(
    "make", [builders.token_model, builders.multi_output, builders.features_model, builders.fixed_batch]
)
def test_models_of_every_kind(load_proto: Callable[..., Model], tmp_path: Path, make: Any) -> None:
    from xgraph.graph.normalise.verify import random_feeds

    model = load_proto(make())
    path = bundle.write_bundle(model, [xgraph.compile(model, "gradient")], tmp_path / "m.xgraph")
    x = random_feeds(model.graph)
    again = xgraph.load(path)
    assert (again.inputs, again.outputs, again.batch) == (model.inputs, model.outputs, model.batch)
    same(xgraph.explain(again, x), xgraph.explain(model, x))


def test_a_method_of_several_graphs_is_no_single_file(tiny_model: Model, tmp_path: Path) -> None:
    compiled = xgraph.compile(tiny_model, "gradient")
    compiled.plan = replace(compiled.plan, stages=compiled.plan.stages * 2)
    with pytest.raises(MethodError, match="no single ONNX file; compile a bundle"):
        compiled.save(tmp_path / "x.onnx")
