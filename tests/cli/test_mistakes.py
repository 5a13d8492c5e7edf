"""What users get wrong: exit code 1 or 2, one line that says what to do, nothing on stdout, nothing half written."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import builders
import numpy as np
import pytest

import xgraph

DATA = Path(xgraph.__file__).parent / "data" / "shapes_cnn"


@dataclass
class Place:
    """A folder with a model, a sample, and whatever a case breaks."""

    folder: Path
    model: Path

    @property
    def sample(self) -> Path:
        return self.folder / "sample.npy"

    def file(self, name: str, data: bytes | str = b"") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def array(self, array: Any, name: str = "bad.npy") -> Path:
        np.save(self.folder / name, np.asarray(array))
        return self.folder / name

    def arrays(self, **arrays: Any) -> Path:
        np.savez(self.folder / "bad.npz", **arrays)
        return self.folder / "bad.npz"

    def save(self, proto: Any) -> Path:
        return self.file("other.onnx", proto.SerializeToString())


SHAPE = (1, 3, builders.SIZE, builders.SIZE)
ZEROS = np.zeros(SHAPE, np.float32)


@pytest.fixture
def place(tmp_path: Path, tiny_onnx: Path) -> Place:
    shutil.copy(tiny_onnx, tmp_path / "model.onnx")
    found = Place(tmp_path, tmp_path / "model.onnx")
    found.array(ZEROS, "sample.npy")
    return found


def explain(
    *more: Any, model: Any = None, sample: Any = None, method: str = "gradient"
) -> Callable[[Place], list[Any]]:
    """The arguments of ``xgraph explain``; functions are given the place."""

    def make(place: Place) -> list[Any]:
        def of(item: Any) -> Any:
            return item(place) if callable(item) else item

        return [
            "explain",
            of(model) if model else place.model,
            of(sample) if sample else place.sample,
            "-m",
            method,
            *map(of, more),
        ]

    return make


def with_model(command: str, make: Callable[[Place], Any], *more: Any) -> Callable[[Place], list[Any]]:
    return lambda place: [command, make(place), *more]


def without_parameters(place: Place) -> Path:
    return Path(shutil.copy(DATA / "legacy" / "shapes_cnn.pdmodel", place.folder / "alone.pdmodel"))


def labels(place: Place) -> list[Any]:
    return ["--size", "16", "--labels", place.file("labels.txt", "cat\ndog\nfox\ncrane\ncrane\n")]


def labelled(target: str) -> Callable[[Place], list[Any]]:
    return lambda place: [*explain("-t", target)(place), *labels(place)]


CASES: dict[str, tuple[Callable[[Place], list[Any]], int, str]] = {
    # The model.
    "no such model": (explain(model="nope.onnx"), 1, r"model file nope.onnx does not exist"),
    "no such prefix": (explain(model="nope"), 1, r"nope does not exist"),
    "a model name that is too long": (explain(model="x" * 300), 1, r"too long|does not exist"),
    "no parameters": (with_model("inspect", without_parameters), 1, r"alone\.pdiparams"),
    "truncated onnx": (explain(model=lambda p: p.file("t.onnx", p.model.read_bytes()[:900])), 1, r"t\.onnx"),
    "empty onnx": (explain(model=lambda p: p.file("t.onnx")), 1, r"t\.onnx"),
    "text as onnx": (with_model("inspect", lambda p: p.file("t.onnx", "hello, world\n" * 9)), 1, r"t\.onnx"),
    "text as pdmodel": (with_model("inspect", lambda p: p.file("t.pdmodel", "hello\n" * 9)), 1, r"t\.pdi?"),
    "no model at all": (
        with_model("inspect", lambda p: p.file("t.txt", "hello")),
        1,
        r"suffix '\.txt'; models are read",
    ),
    "empty folder": (with_model("inspect", lambda p: p.file("empty/sub/x").parent.parent), 1, r"holds no model"),
    "damaged bundle": (
        explain(model=lambda p: p.file("m.xgraph/x").parent),
        1,
        r"m\.xgraph is damaged.*compile it again",
    ),
    "no rule": (
        explain(
            model=lambda p: p.save(builders.no_rule_model()), sample=lambda p: p.array(np.zeros((1, 3, 8, 8), "f"))
        ),
        1,
        r"no rule for com.microsoft::MaxpoolWithMask .*CropAndResize .*inspect --coverage",
    ),
    # The method.
    "no method": (
        lambda p: ["explain", p.model, p.sample],
        2,
        r"give at least one --method M; `xgraph methods` lists them",
    ),
    "unknown method": (explain(method="grad_cm"), 1, r"no method 'grad_cm'; did you mean 'grad_cam'"),
    "unknown parameter": (explain("--set", "wtr=x"), 1, r"no parameter 'wtr' in gradient; did you mean 'wrt'"),
    "parameter of the wrong type": (explain("--set", "relu=3", method="grad_cam"), 1, r"relu=3 should be bool"),
    "parameter that is a number": (explain("--set", "layer=3", method="grad_cam"), 1, r"layer=3 should be str or None"),
    "set without a value": (explain("--set", "wrt"), 2, r"--set wrt: write key=value"),
    "set without a key": (explain("--set", "=x"), 2, r"write key=value"),
    "set of bad yaml": (explain("--set", "wrt=[1"), 2, r"the value is not understood"),
    "no such layer": (
        explain("--set", "layer=stem.rel", method="grad_cam"),
        1,
        r"'stem\.rel'.*did you mean 'stem\.relu'",
    ),
    "a layer without axes": (explain("--set", "layer=logits", method="grad_cam"), 1, r"without spatial axes"),
    # The input.
    "no input": (lambda p: ["explain", p.model, "-m", "gradient"], 2, r"Missing argument 'INPUT"),
    "no such input": (explain(sample="nope.npy"), 1, r"input file nope\.npy does not exist"),
    "an input of no kind": (explain(sample=lambda p: p.file("t.txt")), 1, r"t\.txt is no picture, \.npy or \.npz"),
    "an empty input folder": (explain(sample=lambda p: p.file("empty/.hidden").parent), 1, r"holds no pictures"),
    "a wrong name": (
        explain(sample=lambda p: p.arrays(img=ZEROS)),
        1,
        r"bad\.npz: the model has no input 'img'.*image",
    ),
    "a missing name": (explain(sample=lambda p: p.arrays()), 1, r"bad\.npz: the input 'image' is missing"),
    "a wrong shape": (explain(sample=lambda p: p.array(np.zeros((1, 3, 8, 8), "f"))), 1, r"bad\.npy: .*\[1, 3, 8, 8\]"),
    "no batch axis": (explain(sample=lambda p: p.array(ZEROS[0])), 1, r"add it with x\[None\]"),
    "channels last": (explain(sample=lambda p: p.array(np.zeros((1, 16, 16, 3), "f"))), 1, r"transpose to NCHW"),
    "a wrong dtype": (
        explain(sample=lambda p: p.array(np.zeros(SHAPE, int))),
        1,
        r"dtype int64, the model takes float32",
    ),
    "text": (explain(sample=lambda p: p.array(["a", "b"])), 1, r"bad\.npy"),
    "uint8 without a spec": (explain(sample=lambda p: p.array(np.zeros(SHAPE, "u1"))), 1, r"need a preprocessing spec"),
    "nan": (explain(sample=lambda p: p.array(ZEROS * np.nan)), 1, r"holds nan at \[0, 0, 0, 0\]"),
    "no samples": (explain(sample=lambda p: p.array(ZEROS[:0])), 1, r"no samples"),
    "pickles": (
        explain(sample=lambda p: p.array(np.array([{}], object))),
        1,
        r"not a readable NumPy file of plain arrays",
    ),
    "a damaged npy": (
        explain(sample=lambda p: p.file("t.npy", p.sample.read_bytes()[:200])),
        1,
        r"t\.npy: not a readable",
    ),
    "an empty npy": (explain(sample=lambda p: p.file("t.npy")), 1, r"t\.npy: not a readable NumPy file"),
    "a damaged npz": (
        explain(sample=lambda p: p.file("t.npz", p.arrays(image=ZEROS).read_bytes()[:-60])),
        1,
        r"t\.npz: not a readable NumPy file",
    ),
    "an npz named npy": (explain(sample=lambda p: p.arrays(image=ZEROS).rename(p.folder / "t.npy")), 1, r"t\.npy"),
    "a damaged picture": (
        explain("--size", "16", sample=lambda p: p.file("t.png", b"\x89PNG\r\n\x1a\nxx")),
        1,
        r"t\.png: not a readable picture",
    ),
    "a picture without a spec": (
        explain(sample=DATA.parent / "shapes" / "star.png"),
        1,
        r"image files need a preprocessing spec.*--size",
    ),
    "one array for two inputs": (
        explain(model=lambda p: p.save(builders.features_model())),
        1,
        r"one array for a model with the inputs 'a', 'b'; give an \.npz",
    ),
    # The target.
    "target out of range": (explain("-t", "5"), 1, r"target 5 does not exist: the output has 5 classes, 0 to 4"),
    "negative target": (explain("-t", "-1"), 1, r"leave the target out for the predicted class"),
    "target that is no number": (explain("-t", "cat"), 1, r"target 'cat' is not understood; write a class"),
    "label typo": (labelled("catt"), 1, r"target 'catt' is not understood; did you mean 'cat'"),
    "label of two classes": (labelled("crane"), 1, r"'crane' stands for the classes 3, 4; give the number"),
    "too few targets": (explain("-t", "1,2"), 1, r"2 targets were given for 1 samples"),
    "unknown form": (explain("-t", "best:1"), 1, r"'best:1' is not understood; write"),
    "contrast of one": (explain("-t", "contrast:1"), 1, r"not understood"),
    "a region without a mask": (explain("-t", "region:1"), 1, r"write region:C,MASK\.png or region:C,MASK\.npy"),
    "a mask that is not there": (explain("-t", "region:1,no.png"), 1, r"no\.png"),
    "a mask of another kind": (explain("-t", "region:1,mask.txt"), 1, r"mask\.txt is no picture and no \.npy file"),
    "a mask that is broken": (
        lambda p: explain("-t", f"region:1,{p.file('m.npy', 'x')}")(p),
        1,
        r"m\.npy is not a readable NumPy file",
    ),
    "no such output": (explain("-t", "logit=3"), 1, r"the model has no output 'logit'; (did you mean|it has) '?\w+"),
    "rank out of range": (explain("-t", "top:6"), 1, r"rank 6 does not exist"),
    "a pixel of a classifier": (explain("-t", "pixel:1,2,3"), 1, r"there is no entry \[1, 2, 3\]"),
    "a class of a map": (
        explain(model=lambda p: p.save(map_only()), sample=lambda p: p.array(np.zeros((1, 3, 8, 8), "f"))),
        1,
        r"a class number alone does not say what to explain",
    ),
    # Devices and preprocessing.
    "unknown device": (explain("-d", "tpu"), 2, r"'tpu' is not one of"),
    "no cuda": (explain("-d", "cuda"), 1, r"no CUDA provider"),
    "bf16 on the cpu": (explain("--precision", "bf16"), 1, r"use --device openvino"),
    "batch of 0": (explain("-b", "0"), 2, r"0 is not in the range"),
    "mean in grey levels": (explain("--mean", "123,116,103"), 1, r"divided by 255"),
    "bad size": (explain("--size", "big"), 1, r"size 'big' is not 224 or 224x320"),
    "bad layout": (explain("--layout", "CHWN"), 1, r"layout 'CHWN' is not one of"),
    "no labels file": (explain("--labels", "nope.txt"), 1, r"nope\.txt: cannot read labels"),
    "spec twice": (explain("--preprocess", "a.yml", "--size", "3"), 2, r"exclude each other"),
    "no spec file": (explain("--preprocess", "nope.yml"), 1, r"nope\.yml"),
    # The output.
    "output below a file": (
        explain("-o", lambda p: p.sample / "x"),
        1,
        r"cannot be written: .*sample\.npy is no folder",
    ),
    "output is a file": (explain("-o", lambda p: p.sample), 1, r"cannot be written"),
    "output with a long name": (explain("-o", "x" * 300), 1, r"cannot be written"),
    "compile below a file": (lambda p: ["compile", p.model, "-o", p.sample / "m.xgraph"], 1, r"cannot be written"),
    "compile over a file": (lambda p: ["compile", p.model, "-o", p.sample], 1, r"exists and is no bundle"),
    "compile over a folder": (lambda p: ["compile", p.model, "-o", p.folder], 1, r"exists and is no bundle"),
    "compile onnx over a folder": (
        lambda p: ["compile", p.model, "-m", "gradient", "-o", p.file("d.onnx/x").parent],
        1,
        r"d\.onnx is a folder",
    ),
    "one file, two methods": (
        lambda p: ["compile", p.model, "-m", "gradient", "-m", "grad_cam", "-o", "x.onnx"],
        2,
        r"x\.onnx holds one method: give exactly one --method, or name a folder NAME\.xgraph",
    ),
    "one file, no method": (lambda p: ["compile", p.model, "-o", "x.onnx"], 2, r"give exactly one --method"),
    "compile an unknown method": (lambda p: ["compile", p.model, "-m", "lrpp"], 1, r"no method 'lrpp'"),
    "compile what has no rule": (
        with_model("compile", lambda p: p.save(builders.no_rule_model())),
        1,
        r"no rule for com.microsoft::MaxpoolWithMask",
    ),
    "compile for an unknown profile": (lambda p: ["compile", p.model, "--profile", "gpu"], 2, r"'gpu' is not one of"),
    "compile bf16 for the cpu": (lambda p: ["compile", p.model, "--precision", "bf16"], 1, r"openvino only"),
    "bench into a file's folder": (
        lambda p: ["bench", p.model, "--json", p.sample / "b.json"],
        1,
        r"cannot be written",
    ),
    "bench of no model": (lambda p: ["bench", "nope.onnx"], 1, r"nope\.onnx does not exist"),
    "demo below a file": (lambda p: ["demo", "-o", p.sample / "x"], 1, r"cannot be written"),
    "describe no method": (lambda p: ["methods", "occlusionn"], 1, r"no method 'occlusionn'"),
    "no such command": (lambda p: ["explane"], 2, r"No such command 'explane'"),
    "no such option": (lambda p: ["inspect", p.model, "--layer"], 2, r"No such option.*--layer"),
}


def map_only() -> Any:
    proto = builders.multi_output()
    kept = [output for output in proto.graph.output if output.name == "map"]
    del proto.graph.output[:]
    proto.graph.output.extend(kept)
    return proto


@pytest.mark.parametrize(("arguments", "code", "message"), CASES.values(), ids=CASES)
def test_mistakes(run: Any, place: Place, arguments: Callable[[Place], list[Any]], code: int, message: str) -> None:
    given = arguments(place)
    before = sorted(place.folder.rglob("*"))
    result = run(*given)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert re.search(message, result.stderr), result.stderr
    if code == 1:
        assert result.stderr.startswith(f"xgraph {given[0]}: error: ")
        assert result.stderr.count("\n") == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(place.folder.rglob("*")) == before


def test_debug_shows_where(run: Any, place: Place) -> None:
    result = run("explain", place.model, place.sample, "-m", "gradient", "-t", "9", "--debug")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("xgraph explain: error: target 9 does not exist")
    assert result.stdout == ""


def test_an_error_with_json_prints_no_document(run: Any, place: Place) -> None:
    for arguments in (("inspect", "nope.onnx"), ("explain", place.model, "nope.npy", "-m", "gradient")):
        result = run(*arguments, "--json")
        assert (result.exit_code, result.stdout) == (1, "")
