"""``xgraph explain``: what it writes, prints and refuses."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import builders
import numpy as np
import onnxruntime
import pytest
from PIL import Image

import xgraph
import xgraph.cli.runs
import xgraph.cli.sources

OPTIONS = ("--size", "16", "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25")


def written(folder: str = "explanations") -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*"))


def test_an_array(run: Any, tiny_onnx: Path, tiny_model: Any, array: Path) -> None:
    result = run("explain", tiny_onnx, array, "-m", "gradient", "-t", 2, "-o", "out")
    assert result.exit_code == 0, result.output
    assert written("out") == sorted(
        [f"samples_{i}_gradient_2.{kind}" for i in range(3) for kind in ("npz", "png")] + ["run.json"]
    )
    expected = xgraph.explain(tiny_model, np.load(array), target=2)
    for i in range(3):
        found = xgraph.Attribution.load(f"out/samples_{i}_gradient_2.npz")
        np.testing.assert_allclose(found.values["image"][0], expected.values["image"][i], rtol=1e-5, atol=1e-6)
    lines = result.stdout.splitlines()
    assert lines[-1] == "3 samples explained, files in out"
    assert lines[0].split("\t")[1:3] == ["gradient", "2"]
    assert result.stderr == ""


def test_pictures_of_different_sizes(run: Any, tiny_onnx: Path, pictures: Path, labels: Path) -> None:
    result = run(
        "explain",
        tiny_onnx,
        pictures,
        "-m",
        "gradient",
        "-m",
        "grad_cam",
        *OPTIONS,
        "--labels",
        labels,
        "-t",
        "fox/vixen",
    )
    assert result.exit_code == 0, result.output
    names = written()
    for stem in "abc":
        assert f"{stem}_gallery.png" in names
        for method in ("gradient", "grad_cam"):
            # The label is part of the file's name, whatever it holds.
            assert {f"{stem}_{method}_fox-vixen.png", f"{stem}_{method}_fox-vixen.npz"} <= set(names)
    assert len(names) == 3 * 5 + 1
    with Image.open("explanations/a_gallery.png") as gallery:
        gallery.load()


def test_options_mean_what_python_means(run: Any, tiny_onnx: Path, pictures: Path) -> None:
    assert run("explain", tiny_onnx, pictures / "a.png", "-m", "gradient", *OPTIONS, "-t", 1).exit_code == 0
    spec = xgraph.Preprocess(size=(16, 16), mean=(0.5,) * 3, std=(0.25,) * 3)
    expected = xgraph.explain(xgraph.load(tiny_onnx, preprocess=spec), pictures / "a.png", target=1)
    found = xgraph.Attribution.load("explanations/a_gradient_1.npz")
    np.testing.assert_allclose(found.values["image"], expected.values["image"], rtol=1e-5, atol=1e-6)


def test_json_is_one_document(run: Any, tiny_bundle: Path, array: Path) -> None:
    result = run("explain", tiny_bundle, array, "-m", "gradient", "--of", "loss", "--json", "-b", 2, "--threads", 1)
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document == json.loads(Path("explanations/run.json").read_text())
    assert [entry["row"] for entry in document["inputs"]] == [0, 1, 2]
    assert document["methods"][0]["of"] == "loss"
    first = document["inputs"][0]["results"][0]
    assert {"method", "label", "class", "score", "checks", "files"} == set(first)


def test_json_has_no_nan(run: Any, tiny_onnx: Path, array: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that is not defined for a row is NaN in an Attribution, which JSON does not know."""
    from dataclasses import replace

    explain = xgraph.Program.explain

    def undefined(self: Any, *arguments: Any) -> Any:
        return [replace(a, checks={"r2": np.full(len(a), np.nan)}) for a in explain(self, *arguments)]

    monkeypatch.setattr(xgraph.Program, "explain", undefined)
    result = run("explain", tiny_onnx, array, "-m", "gradient", "--json")

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is not JSON")

    document = json.loads(result.stdout, parse_constant=refuse)
    assert document["inputs"][0]["results"][0]["checks"] == {"r2": None}


def test_inputs_of_one_name_do_not_overwrite_each_other(run: Any, tiny_onnx: Path, array: Path, tmp_path: Path) -> None:
    paths = []
    for folder, name in (("x", "s.npy"), ("y", "s.npy"), ("z", "S.npy")):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / name)
        np.save(paths[-1], np.load(array)[:1])
    # Clashes with the first row of samples.npy.
    paths.append(tmp_path / "samples_0.npy")
    shutil.copy(paths[0], paths[-1])
    result = run("explain", tiny_onnx, array, *paths, "-m", "gradient", "-t", 0, "--json")
    files = [name for entry in json.loads(result.stdout)["inputs"] for r in entry["results"] for name in r["files"]]
    assert len(files) == len({name.lower() for name in files}) == 2 * 7
    assert all((Path("explanations") / name).is_file() for name in files)


def test_a_method_named_twice_is_run_once(run: Any, tiny_onnx: Path, array: Path) -> None:
    result = run("explain", tiny_onnx, array, "-m", "gradient", "-m", "gradient", "--json")
    assert [m["method"] for m in json.loads(result.stdout)["methods"]] == ["gradient"]


def test_draws_do_not_depend_on_groups(
    run: Any, tiny_onnx: Path, tiny_model: Any, array: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["xgraph.cli.runs"], "_TOGETHER", 2)
    same = tmp_path / "same.npy"
    np.save(same, np.load(array)[:1].repeat(3, axis=0))
    result = run("explain", tiny_onnx, same, "-m", "smooth_grad", "--set", "samples=2", "-t", 0, "-o", "out")
    assert result.exit_code == 0, result.output
    expected = xgraph.explain(tiny_model, np.load(same), "smooth_grad", 0, samples=2)
    for i in range(3):
        found = xgraph.Attribution.load(f"out/same_{i}_smooth_grad_0.npz")
        np.testing.assert_allclose(found.values["image"][0], expected.values["image"][i], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("together", [1, 2, 256])
def test_targets_per_row_over_files_and_groups(
    run: Any,
    tiny_onnx: Path,
    tiny_model: Any,
    array: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    together: int,
) -> None:
    monkeypatch.setattr(sys.modules["xgraph.cli.runs"], "_TOGETHER", together)
    other = tmp_path / "other.npy"
    np.save(other, np.load(array)[:2] * 2)
    result = run("explain", tiny_onnx, array, other, "-m", "gradient", "-t", "4,3,2,1,0", "--json")
    assert result.exit_code == 0, result.output
    entries = json.loads(result.stdout)["inputs"]
    assert [e["results"][0]["class"] for e in entries] == [4, 3, 2, 1, 0]
    assert [e["row"] for e in entries] == [0, 1, 2, 0, 1]
    x = np.concatenate([np.load(array), np.load(other)])
    expected = xgraph.explain(tiny_model, x, target=[4, 3, 2, 1, 0])
    np.testing.assert_allclose([e["results"][0]["score"] for e in entries], expected.scores, rtol=1e-5)


def test_large_arrays_are_taken_in_parts(
    run: Any, tiny_onnx: Path, array: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["xgraph.cli.sources"], "_MAPPED", 1)
    monkeypatch.setattr(sys.modules["xgraph.cli.runs"], "_TOGETHER", 2)
    result = run("explain", tiny_onnx, array, "-m", "gradient", "-t", 0)
    assert result.exit_code == 0
    assert "samples_2_gradient_0.npz" in written()


@pytest.mark.parametrize(
    ("target", "label"),
    [
        ("top:2", None),
        ("contrast:1,0", "dog rather than cat"),
        ("contrast:dog,cat", "dog rather than cat"),
        ("index:3", "entry 3"),
        ("dog", "dog"),
        ("0", "cat"),
        (None, None),
    ],
)
def test_targets_as_text(run: Any, tiny_onnx: Path, pictures: Path, labels: Path, target: Any, label: Any) -> None:
    extra = () if target is None else ("-t", target)
    result = run(
        "explain", tiny_onnx, pictures / "a.png", "-m", "gradient", *OPTIONS, "--labels", labels, "--json", *extra
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["inputs"][0]["results"][0]["label"]
    assert label is None or found == label


def test_arrays_by_name(run: Any, save_onnx: Any, tmp_path: Path) -> None:
    model = save_onnx(builders.token_model(mask=True))
    np.savez(tmp_path / "text.npz", ids=np.ones((2, 5), np.int32), attention_mask=np.ones((2, 5), np.int32))
    result = run("explain", model, tmp_path / "text.npz", "-m", "input_x_gradient", "--set", "reduce=sum")
    assert result.exit_code == 0, result.output
    assert xgraph.Attribution.load(sorted(Path("explanations").glob("*.npz"))[0]).values["ids"].shape == (1, 5)


def test_several_float_inputs(run: Any, save_onnx: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "ab.npz", a=np.ones((1, 4), np.float32), b=np.ones((1, 4), np.float32))
    result = run("explain", save_onnx(builders.features_model()), tmp_path / "ab.npz", "-m", "gradient")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("where", ["explain", "write"])
def test_interrupted(run: Any, tiny_onnx: Path, array: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def stop(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    if where == "explain":
        monkeypatch.setattr(xgraph.Program, "explain", stop)
    else:
        monkeypatch.setattr(np, "savez", stop)
    result = run("explain", tiny_onnx, array, "-m", "gradient")
    assert result.exit_code == 130
    assert result.stderr == "xgraph explain: interrupted\n"
    assert not Path("explanations").exists() or written() == []


def test_shapes_of_the_demo_model(run: Any) -> None:
    data = Path(xgraph.__file__).parent / "data"
    result = run("explain", data / "shapes_cnn" / "shapes_cnn.onnx", data / "shapes", "-m", "grad_cam", "--json")
    assert result.exit_code == 0, result.output
    entries = json.loads(result.stdout)["inputs"]
    assert [Path(e["input"]).stem for e in entries] == [e["results"][0]["label"] for e in entries]


@pytest.fixture
def maps(save_onnx: Any, tmp_path: Path) -> tuple[Path, Path]:
    """A model with the outputs map (N, 4, 8, 8), boxes (N, 64, 4) and others, and two samples for it."""
    sample = tmp_path / "two.npy"
    np.save(sample, np.random.default_rng(5).standard_normal((2, 3, 8, 8)).astype(np.float32))
    return save_onnx(builders.multi_output()), sample


REGION = np.zeros((8, 8), np.float32)
REGION[2:5, 3:7] = 1


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("map=pixel:1,4,6", xgraph.Target.pixel(1, 4, 6, output="map")),
        ("map=index:3,0,7", xgraph.Target.index((3, 0, 7), output="map")),
        ("boxes=box:10,2", xgraph.Target.box(10, 2, output="boxes")),
        ("map=region:2,{folder}/mask.png", xgraph.Target.region(2, REGION, output="map")),
        ("map=region:2,{folder}/a,b=c.npy", xgraph.Target.region(2, REGION / 2, output="map")),
    ],
)
def test_targets_on_any_output(
    run: Any, maps: tuple[Path, Path], tmp_path: Path, text: str, target: xgraph.Target
) -> None:
    Image.fromarray((REGION * 255).astype(np.uint8)).save(tmp_path / "mask.png")
    np.save(tmp_path / "a,b=c.npy", REGION / 2)
    model, sample = maps
    result = run("explain", model, sample, "-m", "gradient", "-t", text.format(folder=tmp_path))
    assert result.exit_code == 0, result.output
    found = [xgraph.Attribution.load(path) for path in sorted(Path("explanations").glob("*.npz"))]
    expected = xgraph.explain(xgraph.load(model), np.load(sample), target=target)
    assert [one.target.output for one in found] == [target.output] * 2
    np.testing.assert_allclose([one.values["image"][0] for one in found], expected.values["image"], rtol=1e-6)


def test_compiled_for_another_output(run: Any, maps: tuple[Path, Path]) -> None:
    model, sample = maps
    result = run("compile", model, "-m", "gradient", "-t", "map=pixel:0,0,0", "-o", "map.onnx")
    assert result.exit_code == 0, result.output
    session = onnxruntime.InferenceSession("map.onnx")
    seed = np.zeros((2, 4, 8, 8), np.float32)
    seed[:, 1, 4, 6] = 1
    (found,) = session.run(["xg_attribution"], {"image": np.load(sample), "xg_seed": seed})
    expected = xgraph.explain(xgraph.load(model), np.load(sample), target=xgraph.Target.pixel(1, 4, 6, output="map"))
    np.testing.assert_allclose(found, expected.values["image"], rtol=1e-6)


def test_an_array_as_a_parameter(run: Any, tiny_onnx: Path, array: Path) -> None:
    """``--set segments=FILE.npy``; run.json tells its shape, the .npz has it whole."""
    cut = np.arange(256).reshape(16, 16) // 64
    np.save("cut.npy", cut)
    result = run(
        "explain", tiny_onnx, array, "-m", "lime", "--set", "segments=cut.npy", "--set", "samples=30", "-o", "out"
    )
    assert result.exit_code == 0, result.output
    told = json.loads(Path("out/run.json").read_text())["methods"][0]
    assert told["parameters"]["segments"] == {"dtype": "int64", "shape": [16, 16]}
    assert told["samples"] == 30
    found = xgraph.Attribution.load(next(Path("out").glob("samples_0_lime_*.npz")))
    np.testing.assert_array_equal(found.parameters["segments"], cut)
    assert found.details["coefficients"][0].shape == (4,)
    missing = run("explain", tiny_onnx, array, "-m", "lime", "--set", "segments=none.npy")
    assert missing.exit_code == 1
    assert "none.npy: no array can be read from it" in missing.stderr


def test_all_samples_of_a_run_go_together_where_a_method_says_so(
    run: Any, tiny_onnx: Path, array: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def values(folder: str) -> list[np.ndarray]:
        result = run("explain", tiny_onnx, array, "-m", "norm_lime", "-t", 1, "--set", "samples=40", "-o", folder)
        assert result.exit_code == 0, result.output
        return [xgraph.Attribution.load(f"{folder}/samples_{i}_norm_lime_1.npz").values["image"] for i in range(3)]

    whole = values("whole")
    monkeypatch.setattr(xgraph.cli.runs, "_TOGETHER", 2)
    np.testing.assert_array_equal(values("parts"), whole)
