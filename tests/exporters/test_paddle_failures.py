"""What cannot be converted fails with one line that says why."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from xgraph.errors import ExportError
from xgraph.exporters import find
from xgraph.exporters.paddle import PADDLE
from xgraph.exporters.paddle_failure import describe

MODEL = Path("m.json")
TRAPS = Path(__file__).parents[1] / "data" / "traps"


def fails(path: Path, out: Path) -> str:
    exporter, files = find(path)
    with pytest.raises(ExportError) as caught:
        exporter.export(files, out)
    message = str(caught.value)
    assert "\n" not in message
    assert "Traceback" not in message
    assert not list(out.glob("*"))
    return message


def cut(source: Path, folder: Path, suffix: str) -> Path:
    """Copies a model with its file of this suffix cut in half; returns the model file."""
    folder.mkdir()
    for file in source.iterdir():
        data = file.read_bytes()
        (folder / file.name).write_bytes(data[: len(data) // 2] if file.suffix == suffix else data)
    return folder


@pytest.mark.paddle
def test_an_unknown_operator_is_named(pir: Path, tmp_path: Path) -> None:
    message = fails(pir / "unknown", tmp_path / "out")
    assert "does not know the Paddle operator cummax" in message


@pytest.mark.paddle
@pytest.mark.parametrize(
    ("kind", "suffix", "words"),
    [
        ("pir", ".json", "damaged or no Paddle program"),
        ("pir", ".pdiparams", "one is damaged or they do not belong together"),
        ("legacy", ".pdmodel", "damaged or no Paddle program"),
        ("legacy", ".pdiparams", "one is damaged or they do not belong together"),
    ],
)
def test_a_truncated_file_is_reported(
    pir: Path, legacy: Path, tmp_path: Path, kind: str, suffix: str, words: str
) -> None:
    source = {"pir": pir, "legacy": legacy}[kind] / "lstm"
    assert words in fails(cut(source, tmp_path / "cut", suffix), tmp_path / "out")


@pytest.mark.paddle
def test_a_legacy_slice_backwards_to_a_computed_end_is_refused(tmp_path: Path) -> None:
    message = fails(TRAPS / "computed_end", tmp_path / "out")
    assert "backwards to a computed end" in message
    assert "export it with Paddle 3" in message


@pytest.mark.paddle
def test_parameters_of_another_model_are_reported(legacy: Path, tmp_path: Path) -> None:
    shutil.copy(legacy / "lstm" / "lstm.pdmodel", tmp_path / "m.pdmodel")
    shutil.copy(legacy / "cnn" / "cnn.pdiparams", tmp_path / "m.pdiparams")
    assert "do not belong together" in fails(tmp_path / "m", tmp_path / "out")


@pytest.mark.paddle
def test_a_conversion_that_takes_too_long_is_stopped(pir: Path, tmp_path: Path) -> None:
    _, files = find(pir / "cnn")
    with pytest.raises(ExportError, match=r"longer than 0\.05 s"):
        replace(PADDLE, timeout=0.05).export(files, tmp_path)


@pytest.mark.paddle
def test_parameters_may_lie_elsewhere(legacy: Path, tmp_path: Path) -> None:
    model, params = tmp_path / "__model__.pdmodel", tmp_path / "weights" / "params"
    params.parent.mkdir()
    shutil.copy(legacy / "lstm" / "lstm.pdmodel", model)
    shutil.copy(legacy / "lstm" / "lstm.pdiparams", params)
    exporter, files = find(model, params)
    assert files == (model, params)
    assert exporter.export(files, tmp_path / "out").path.is_file()


@pytest.mark.paddle
def test_a_model_without_weights_converts(pir: Path, tmp_path: Path) -> None:
    exporter, files = find(pir / "no_weights")
    assert len(files) == 1
    exported = exporter.export(files, tmp_path, verify=False)
    assert exported.path.is_file()
    assert exported.check is None


def test_an_empty_file_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xgraph.exporters.paddle.find_spec", lambda name: object())
    (tmp_path / "m.pdmodel").write_bytes(b"program")
    (tmp_path / "m.pdiparams").write_bytes(b"")
    assert "m.pdiparams is empty" in fails(tmp_path / "m", tmp_path / "out")


@pytest.mark.parametrize(
    ("version", "words"),
    [((3, 12), 'pip install "xgraph[paddle]"'), ((3, 13), "no build for Python 3.13")],
    ids=["3.12", "3.13"],
)
def test_without_paddle_the_extra_is_named(
    legacy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], words: str
) -> None:
    monkeypatch.setattr("xgraph.exporters.paddle.find_spec", lambda name: None)
    monkeypatch.setattr("xgraph.exporters.paddle.PYTHON", version)
    assert words in fails(legacy / "cnn", tmp_path)


def test_importing_the_exporters_imports_no_framework() -> None:
    code = (
        "import sys, xgraph.exporters, xgraph.exporters.paddle, xgraph.exporters.onnx;"
        "sys.exit(str({'paddle', 'paddle2onnx', 'torch'} & set(sys.modules)).replace('set()', '') or 0)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_converter_errors_are_told_once_each() -> None:
    output = "[ERROR][Paddle2ONNX] [OP: a] no.\n[ERROR][Paddle2ONNX] [OP: a] no.\n[ERROR][Paddle2ONNX] more\n"
    message = describe(MODEL, "converting", -6, output, [])
    assert "cannot become ONNX: [OP: a] no; more; change that layer" in message


def test_a_crash_without_words_tells_the_signal() -> None:
    output = "\nFatalError: `Segmentation fault` is detected by the operating system.\n"
    assert "ended with SIGSEGV" in describe(MODEL, "converting", -11, output, [])
    assert "exit code 255" in describe(MODEL, "converting", 255, "", [])


def test_coloured_error_lines_are_plain_text() -> None:
    output = "\x1b[1;31;40m2026-01-01 00:00:00 [ERROR]\tno such thing\x1b[0m\n"
    assert "no such thing;" in describe(MODEL, "converting", 255, output, [])


def test_long_words_are_shortened() -> None:
    message = describe(MODEL, "running", 1, f"ValueError: {'x' * 5000}\n", [])
    assert len(message) < 500
    assert message.startswith("Paddle cannot run m.json")


def test_a_paddle_that_does_not_start_is_reported() -> None:
    message = describe(MODEL, "importing Paddle", 1, "ImportError: libcblas.so.3: cannot open\n", [])
    assert message == "Paddle does not start, so m.json cannot be read: libcblas.so.3: cannot open"
