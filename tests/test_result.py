"""Attributions: what they accept, and that a file gives back what was stored."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xgraph.errors import InputError
from xgraph.result import Attribution, Provenance, ResolvedTarget

PROVENANCE = Provenance(model_digest="sha256:0", opset=18, versions={"numpy": "2"}, provider="cpu", seed=7, samples=32)


def make(count: int = 3, **changes: Any) -> Attribution:
    rng = np.random.default_rng(0)
    fields: dict[str, Any] = {
        "values": {"image": rng.normal(size=(count, 3, 4, 5)), "layer4.1": rng.normal(size=(count, 2, 2))},
        "target": ResolvedTarget(
            kind="top",
            labels=tuple("abcdefgh"[:count]),
            classes=np.arange(count),
            of="probability",
            output="prob",
        ),
        "scores": np.linspace(0.0, 1.0, count),
        "checks": {"completeness_gap": np.linspace(0.0, np.nan, count)},
        "method": "lime",
        "parameters": {
            "window": [3, 15, 15],
            "baseline": np.ones(2),
            "mode": "mean",
            "seed": None,
            "rate": 0.5,
        },
        "provenance": PROVENANCE,
        "details": {
            "segments": rng.integers(0, 9, (count, 4, 5)),
            "tokens": [["x"] * (i + 1) for i in range(count)],
            "grid": {"height": 2, "scale": np.arange(2.0)},
        },
    }
    return Attribution(**(fields | changes))


def assert_same(one: Attribution, other: Attribution) -> None:
    assert list(one.values) == list(other.values)
    for name, value in one.values.items():
        assert other.values[name].dtype == np.float32
        np.testing.assert_array_equal(other.values[name], value)
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.target.classes, other.target.classes)
    assert one.target.labels == other.target.labels
    assert (one.target.kind, one.target.of, one.target.output) == (
        *(other.target.kind, other.target.of),
        other.target.output,
    )
    for name, check in one.checks.items():
        np.testing.assert_array_equal(other.checks[name], check)
    assert one.method == other.method
    assert one.parameters["window"] == other.parameters["window"] == (3, 15, 15)
    np.testing.assert_array_equal(one.parameters["baseline"], other.parameters["baseline"])
    np.testing.assert_array_equal(one.details["segments"], other.details["segments"])
    assert one.details["tokens"] == other.details["tokens"]
    np.testing.assert_array_equal(one.details["grid"]["scale"], other.details["grid"]["scale"])
    assert dict(one.provenance.versions) == dict(other.provenance.versions)
    assert one.provenance.seed == other.provenance.seed


def test_everything_is_a_read_only_copy() -> None:
    raw = np.ones((1, 2))
    attribution = make(1, values={"x": raw})
    raw[:] = 5
    assert attribution.values["x"].tolist() == [[1.0, 1.0]]
    for array in (attribution.values["x"], attribution.scores, attribution.details["segments"]):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(TypeError):
        attribution.values["y"] = raw  # type: ignore[index]
    with pytest.raises(AttributeError):
        attribution.method = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        attribution.details["grid"]["height"] = 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"values": {}}, "at least one array"),
        ({"values": {"x": np.zeros((2, 4))}}, r"values\['x'\] has 2 rows, but there are 3 scores"),
        ({"values": {"x": np.zeros(())}}, r"values\['x'\] has no rows"),
        ({"values": {"x": np.array([0.0, np.nan, np.inf])}}, r"values\['x'\]: 2 of 3 numbers are not finite"),
        ({"values": {"x": np.full(3, 1e300)}}, r"values\['x'\]: 3 of 3"),
        ({"values": {"x": np.array(["a", "b", "c"])}}, r"values\['x'\] holds <U1, not numbers"),
        ({"scores": np.array([1.0, np.inf, 0.0])}, "scores: 1 of 3"),
        ({"scores": np.zeros((3, 1))}, r"scores has the shape \(3, 1\)"),
        ({"checks": {"gap": [1.0]}}, r"checks\['gap'\] has 1 rows"),
        ({"target": ResolvedTarget(kind="index", labels=("a",))}, "target has 1 rows"),
        ({"details": {"tokens": ["a", "b"]}}, r"details\['tokens'\] has 2 rows"),
        ({"details": {"x": object()}}, r"details\['x'\] is of type object"),
        ({"parameters": {"f": [print]}}, r"parameters\['f'\]\[0\] is of type builtin_function_or_method"),
        ({"parameters": {"f": np.array([None])}}, "array of Python objects"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        make(**changes)
    assert "\n" not in str(caught.value)


def test_target_needs_a_label_per_class() -> None:
    with pytest.raises(InputError, match="2 classes for 1 labels"):
        ResolvedTarget(kind="index", labels=("a",), classes=np.array([1, 2]))


def test_rows_take_everything_along() -> None:
    attribution = make(4)
    assert len(attribution) == 4
    some = attribution.rows([3, 1])
    assert some.target.labels == ("d", "b")
    np.testing.assert_array_equal(some.target.classes, [3, 1])
    np.testing.assert_array_equal(some.values["image"], attribution.values["image"][[3, 1]])
    np.testing.assert_array_equal(some.details["segments"], attribution.details["segments"][[3, 1]])
    assert some.details["tokens"] == (("x",) * 4, ("x",) * 2)
    assert some.details["grid"]["height"] == 2
    assert len(attribution.rows(slice(1, None))) == 3
    assert len(attribution.rows(slice(0, 0))) == 0
    assert [row.target.labels for row in attribution] == [("a",), ("b",), ("c",), ("d",)]
    assert attribution[-1].target.labels == ("d",)
    with pytest.raises(IndexError, match="row 4 of 4"):
        attribution[4]
    with pytest.raises(InputError, match="there are 4 rows"):
        attribution.rows([4])


@pytest.mark.parametrize("count", [1, 3])
def test_npz_round_trip(tmp_path: Path, count: int) -> None:
    attribution = make(count)
    path = attribution.save(tmp_path / "new" / "out.npz")
    assert_same(attribution, Attribution.load(path))
    assert [file.name for file in path.parent.iterdir()] == ["out.npz"]
    with np.load(path, allow_pickle=False) as plain:
        np.testing.assert_array_equal(plain["values/image"], attribution.values["image"])


@pytest.mark.parametrize("kind", ["sensitivity", "attribution", "cam"])
def test_the_kind_is_kept(tmp_path: Path, kind: Any) -> None:
    attribution = make(2, kind=kind)
    assert attribution.rows([0]).kind == kind
    assert pickle.loads(pickle.dumps(attribution)).kind == kind
    assert Attribution.load(attribution.save(tmp_path / "a.npz")).kind == kind


def test_a_kind_that_does_not_exist_is_named() -> None:
    with pytest.raises(InputError, match="kind 'heat' is not one of sensitivity, attribution, cam"):
        make(1, kind="heat")


def test_a_file_without_a_kind_holds_an_attribution(tmp_path: Path) -> None:
    path = make(1, kind="cam").save(tmp_path / "a.npz")
    with np.load(path) as stored:
        entries = {name: stored[name] for name in stored.files}
    header = json.loads(entries["header"].tobytes())
    del header["kind"]
    entries["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, **entries)
    assert Attribution.load(path).kind == "attribution"


def test_a_target_without_classes_is_stored(tmp_path: Path) -> None:
    target = ResolvedTarget(kind="contrast", labels=("cat over dog",))
    loaded = Attribution.load(make(1, target=target).save(tmp_path / "a.npz"))
    assert loaded.target.classes is None
    assert loaded.target.labels == ("cat over dog",)


@pytest.mark.parametrize("clone", [lambda a: pickle.loads(pickle.dumps(a)), copy.deepcopy], ids=["pickle", "copy"])
def test_attributions_can_be_sent_and_copied(clone: Any) -> None:
    assert_same(make(2), clone(make(2)))


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(1).save(tmp_path / "a.npz")
    before = path.read_bytes()

    def fail(file: Any, **entries: Any) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(InputError, match=r"a\.npz: cannot write it \(disk full\)"):
        make(2).save(path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def foreign(folder: Path, kind: str) -> Path:
    path = folder / "f.npz"
    header = {"format": "xgraph.attribution", "version": 99}
    if kind == "npz":
        np.savez(path, x=np.zeros(2))
    elif kind == "pickle":
        np.savez(path, header=np.array([{}], dtype=object), allow_pickle=True)
    elif kind == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(2))
    elif kind == "version":
        np.savez(path, header=np.frombuffer(json.dumps(header).encode(), np.uint8))
    elif kind == "hollow":
        make(1).save(path)
        with np.load(path) as stored:
            kept = {name: stored[name] for name in stored.files if name != "values/image"}
        np.savez(path, **kept)
    elif kind == "cut":
        make(1).save(path)
        path.write_bytes(path.read_bytes()[:500])
    elif kind != "missing":
        path.write_bytes(kind.encode())
    return path


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("npz", "not an attribution"),
        ("pickle", "not an attribution"),
        ("npy", "not an attribution"),
        ("cut", "not an attribution"),
        ("text", "not an attribution"),
        ("", "not an attribution"),
        ("missing", "no such file"),
        ("version", "format 99, but 1 is read here"),
        ("hollow", "does not fit its arrays"),
    ],
)
def test_foreign_files_are_one_line(tmp_path: Path, kind: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        Attribution.load(foreign(tmp_path, kind))
    assert "f.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_repr_is_short() -> None:
    assert repr(make(2)) == "Attribution(lime, 2 rows, image: [2, 3, 4, 5], layer4.1: [2, 2, 2])"


def test_plot_and_html(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    picture = make(2).plot(path, row=1, name="layer4.1")
    assert path.stat().st_size > 0
    assert picture.mode == "RGB"
    assert make(2).plot(style="cam").tobytes() != make(2).plot().tobytes()
    view = np.zeros((4, 5, 3), np.uint8)
    assert make(2).plot(image=view, beside=True).width > make(2).plot(image=view).width
    assert "LIME" in make(2)._repr_html_()
