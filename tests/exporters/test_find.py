"""How a path becomes one model's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from xgraph.errors import ExportError
from xgraph.exporters import FORMATS, find

PROGRAM = '{"base_code":{"magic":"pir","trainable":true,"version":4},"program":{"regions":[{"#":"p"}]}}'
CONTENT = {".json": PROGRAM, ".pdmodel": "program", ".pdiparams": "parameters"}


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CONTENT.get(path.suffix, ""))


def names(files: tuple[Path, ...]) -> list[str]:
    return [file.name for file in files]


@pytest.mark.parametrize(
    ("given", "model"),
    [
        ("m.json", "m.json"),
        ("m.pdmodel", "m.pdmodel"),
        ("m", "m.json"),
        ("m.pdiparams", "m.json"),
        ("", "m.json"),
    ],
    ids=["json", "pdmodel", "prefix", "params", "folder"],
)
def test_every_path_to_a_paddle_model_finds_it_with_its_parameters(tmp_path: Path, given: str, model: str) -> None:
    write(tmp_path, "m.json", "m.pdmodel", "m.pdiparams")
    _, files = find(tmp_path / given)
    assert names(files) == [model, "m.pdiparams"]


def test_a_folder_or_prefix_with_only_a_legacy_model_finds_that(tmp_path: Path) -> None:
    write(tmp_path, "inference.v2.pdmodel", "inference.v2.pdiparams")
    for given in (tmp_path, tmp_path / "inference.v2", tmp_path / "inference.v2.pdiparams"):
        assert names(find(given)[1]) == ["inference.v2.pdmodel", "inference.v2.pdiparams"]


def test_other_json_files_in_a_folder_are_not_models(tmp_path: Path) -> None:
    write(tmp_path, "m.json", "m.pdiparams")
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    assert find(tmp_path)[1][0].name == "m.json"


@pytest.mark.parametrize(
    ("written", "given", "words"),
    [
        ([], "nothing.onnx", "nothing.onnx does not exist"),
        ([], "nothing", "nothing.onnx, nothing.json, nothing.pdmodel"),
        ([], "", "holds no model"),
        (["__model__", "weights"], "", "Paddle 1 model"),
        (["a.json", "a.pdiparams", "b.pdmodel", "b.pdiparams"], "", "several models: a.json, b.pdmodel"),
        (["m.pt"], "m.pt", "suffix '.pt'; models are read from .onnx, .json, .pdmodel"),
        (["m"], "m", "no suffix"),
        (["m.json"], "m.json", "m.pdiparams does not exist beside it"),
        (["m.pdmodel"], "", "m.pdiparams does not exist beside it"),
        (["m.pdiparams"], "m.pdiparams", "no model file .m.json, m.pdmodel. beside it"),
    ],
)
def test_a_path_without_one_whole_model_says_so_in_a_line(
    tmp_path: Path, written: list[str], given: str, words: str
) -> None:
    write(tmp_path, *written)
    with pytest.raises(ExportError, match=words) as caught:
        find(tmp_path / given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"model_type": "bert"}'])
def test_a_json_that_is_no_program_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ExportError, match="not a Paddle program"):
        find(path)


def test_a_program_without_parameters_needs_no_file_of_them(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(PROGRAM.replace('{"#":"p"}', ""))
    assert names(find(tmp_path / "m.json")[1]) == ["m.json"]


def test_every_registered_format_has_its_exporter(tmp_path: Path) -> None:
    for suffix in FORMATS:
        path = tmp_path / f"absent{suffix}"
        with pytest.raises(ExportError, match="does not exist"):
            find(path)


def test_parameters_of_another_name_go_with_a_paddle_model_file_only(tmp_path: Path) -> None:
    write(tmp_path, "m.json", "m.onnx", "weights/params")
    params = tmp_path / "weights" / "params"
    assert find(tmp_path / "m.json", params)[1] == (tmp_path / "m.json", params)
    with pytest.raises(ExportError, match="does not exist"):
        find(tmp_path / "m.json", tmp_path / "absent")
    with pytest.raises(ExportError, match="no Paddle model file"):
        find(tmp_path / "m.onnx", params)
