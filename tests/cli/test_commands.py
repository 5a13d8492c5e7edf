"""The other commands, and what a shell sees."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import builders
import numpy as np
import onnxruntime
import pytest

import xgraph


def test_compile_goes_to_the_current_folder_under_the_models_name(run: Any, tiny_onnx: Path) -> None:
    result = run("compile", tiny_onnx)
    assert result.exit_code == 0, result.output
    assert result.stdout == "tiny.xgraph: activations, forward, gradient\n"
    assert [p.name for p in Path().iterdir()] == ["tiny.xgraph"]


def test_compile_then_explain(run: Any, tiny_onnx: Path, array: Path) -> None:
    arguments = ("-m", "grad_cam", "--set", "relu=false", "--of", "probability", "-o", "deploy/m.xgraph")
    assert run("compile", tiny_onnx, *arguments).exit_code == 0
    programs = json.loads(Path("deploy/m.xgraph/manifest.json").read_text())["programs"]
    assert [(p["method"], p["recipe"]["of"]) for p in programs] == [
        ("gradient", "probability"),
        ("grad_cam", "probability"),
    ]
    for of in ("probability", "logit"):  # in the bundle, and compiled on demand
        found = run("explain", "deploy/m.xgraph", array, "-m", "grad_cam", "--set", "relu=false", "--of", of, "-o", of)
        assert found.exit_code == 0, found.output


def test_compile_one_file(run: Any, tiny_onnx: Path, array: Path) -> None:
    result = run("compile", tiny_onnx, "-m", "grad_cam", "-o", "cam.onnx")
    assert result.stdout == "cam.onnx: grad_cam, runs with onnxruntime alone\n"
    session = onnxruntime.InferenceSession("cam.onnx", providers=["CPUExecutionProvider"])
    x = np.load(array)
    (found,) = session.run(["xg_attribution"], {"image": x, "xg_target": np.full(len(x), -1)})
    assert found.shape == (3, 8, 8)


def test_inspect(run: Any, tiny_onnx: Path) -> None:
    result = run("inspect", tiny_onnx)
    assert result.exit_code == 0
    assert "image  float32 batchx3x16x16, an image" in result.stdout
    assert "ends in softmax" in result.stdout
    assert "CAM layer  block.relu" in result.stdout
    layers = run("inspect", tiny_onnx, "--layers").stdout.splitlines()
    assert result.stdout.splitlines()[-len(layers) :] == layers
    assert layers[0].split("\t") == ["stem.conv", "Conv", "batchx8x16x16", "convolution"]
    nodes = run("inspect", tiny_onnx, "--coverage").stdout.splitlines()
    assert all("vjp: rule" in line for line in nodes)
    none = run("inspect", tiny_onnx, "--attention")
    assert (none.exit_code, none.stdout) == (0, "")
    assert "no attention maps" in none.stderr


def test_inspect_says_what_is_missing(run: Any, save_onnx: Any) -> None:
    result = run("inspect", save_onnx(builders.no_rule_model()))
    assert (
        "no rule for com.microsoft::MaxpoolWithMask (1), com.microsoft::CropAndResize (1); see --coverage"
        in result.stdout
    )
    assert "fixed: samples run 1 at a time" in run("inspect", save_onnx(builders.fixed_batch())).stdout


def test_inspect_a_bundle(run: Any, tiny_bundle: Path) -> None:
    assert "gradient for cpu, fp32" in run("inspect", tiny_bundle).stdout


@pytest.mark.parametrize("what", ["tiny_onnx", "tiny_bundle"])
def test_inspect_json(run: Any, request: pytest.FixtureRequest, what: str) -> None:
    document = json.loads(run("inspect", request.getfixturevalue(what), "--json").stdout)
    assert {"inputs", "outputs", "layers", "attention", "coverage", "batch", "opset", "source"} <= set(document)
    assert document["batch"] == "dynamic"
    assert document["outputs"][0]["head"] == "ends in softmax"


def test_methods(run: Any) -> None:
    listed = run("methods").stdout
    for info in xgraph.list_methods():
        assert f"\n{info.name} " in f"\n{listed}"
        described = run("methods", info.name).stdout
        assert described.startswith(f"{info.name} (")
        assert all(f"--set {parameter}=" in described for parameter in info.parameters)
    assert {m["name"] for m in json.loads(run("methods", "--json").stdout)} == {m.name for m in xgraph.list_methods()}
    assert json.loads(run("methods", "grad_cam", "--json").stdout)["parameters"]["relu"] is True


def test_printed_defaults_can_be_given_back(run: Any, tiny_onnx: Path, array: Path) -> None:
    lines = run("methods", "grad_cam").stdout.splitlines()
    defaults = [word for line in lines if line.strip().startswith("--set ") for word in line.split()]
    assert run("explain", tiny_onnx, array, "-m", "grad_cam", *defaults).exit_code == 0


def test_doctor(run: Any) -> None:
    result = run("doctor")
    assert result.exit_code == 0
    assert "CPUExecutionProvider" in result.stdout
    document = json.loads(run("doctor", "--json").stdout)
    assert {"xgraph", "python", "packages", "providers", "cpu", "missing", "optional"} <= set(document)
    assert document["missing"] == []


def test_a_device_that_does_not_start_hides_no_other(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from xgraph.errors import ProviderError
    from xgraph.runtime import providers

    def refuse(device: str) -> None:
        raise ProviderError(f"device {device}: does not start")

    monkeypatch.setattr(providers, "openvino_installed", lambda: True)
    monkeypatch.setattr(providers, "choose", refuse)
    document = json.loads(run("doctor", "--json").stdout)
    assert "CPUExecutionProvider" in document["providers"]
    assert "device openvino: does not start" in document["optional"]
    assert document["missing"] == []


def test_doctor_without_an_engine(shell: Any) -> None:
    done = shell("doctor", before="sys.modules['onnxruntime'] = None")
    assert done.returncode == 0
    assert 'missing    onnxruntime is not installed; install exactly one of: pip install "xgraph[cpu]"' in done.stdout


def test_bench(run: Any, tiny_onnx: Path) -> None:
    result = run("bench", tiny_onnx, "-m", "grad_cam", "-b", 2, "--rounds", 2, "--json", "-")
    figures = json.loads(result.stdout)
    assert (figures["method"], figures["batch"], figures["rounds"]) == ("grad_cam", 2, 2)
    assert figures["forward"]["median_ms"] > 0
    result = run("bench", tiny_onnx, "-b", 1, "--rounds", 1, "--json", "figures.json")
    assert "gradient / forward = " in result.stdout
    assert json.loads(Path("figures.json").read_text())["method"] == "gradient"


@pytest.mark.parametrize("make", [builders.token_model, builders.fixed_batch, builders.features_model])
def test_bench_makes_its_own_input(run: Any, save_onnx: Any, make: Any) -> None:
    assert run("bench", save_onnx(make()), "-b", 2, "--rounds", 1).exit_code == 0


def test_demo(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from xgraph.exporters import paddle

    monkeypatch.setattr(paddle, "installed", lambda: False)
    result = run("demo", "-o", "d")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("predicted") == 8
    for name in ("star_gallery.png", "run.json", "shapes_cnn.xgraph/manifest.json"):
        assert (Path("d") / name).is_file()


@pytest.mark.parametrize("command", ["", "bench", "compile", "demo", "doctor", "explain", "inspect", "methods"])
def test_help(run: Any, command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: xgraph {command}".rstrip())
    if not command:
        assert "..." not in result.stdout.split("Commands:")[1], "no description is cut off"


def test_a_shell_sees_the_exit_codes(shell: Any, tiny_onnx: Path, array: Path) -> None:
    done = shell("explain", tiny_onnx, array, "-m", "gradient", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["inputs"]
    assert done.stderr == ""
    done = shell("explain", tiny_onnx, "nope.npy", "-m", "gradient")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "xgraph explain: error: input file nope.npy does not exist\n"
    assert shell("explain").returncode == 2
    assert shell("--version").stdout == f"xgraph, version {xgraph.__version__}\n"


def test_no_engine_is_one_line(shell: Any, tiny_onnx: Path, array: Path) -> None:
    done = shell("explain", tiny_onnx, array, "-m", "gradient", before="sys.modules['onnxruntime'] = None")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert 'pip install "xgraph[cpu]"' in done.stderr


def test_a_terminal_without_greek(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = shell("methods")
    assert done.returncode == 0, done.stderr


def test_a_model_that_is_named_like_nothing(run: Any, tiny_onnx: Path) -> None:
    shutil.copy(tiny_onnx, "my.model v2.onnx")
    assert run("compile", "my.model v2.onnx").exit_code == 0
    assert Path("my.model v2.xgraph").is_dir()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c(tiny_onnx: Path, array: Path, tmp_path: Path) -> None:
    """A signal in the middle of a run: one line, 130, and no file that is half written."""
    code = (
        "import sys, time, xgraph\n"
        "from xgraph.cli import main\n"
        "def slow(*a, **k): print('running', flush=True); time.sleep(60)\n"
        "xgraph.Program.explain = slow\n"
        "main()"
    )
    command = [sys.executable, "-P", "-c", code, "explain", tiny_onnx, array, "-m", "gradient", "-o", tmp_path / "out"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "xgraph explain: interrupted\n"
    assert not (tmp_path / "out").exists()
