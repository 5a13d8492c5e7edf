"""Paddle models: PIR programs (``.json``) and legacy ones (``.pdmodel``), with ``.pdiparams``.

Paddle and its converter run in a child process (``paddle_child.py``): the converter aborts on an operator
that it does not know, and may crash on others. This side imports neither.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx

from xgraph.errors import ExportError
from xgraph.exporters.base import Check, Exported
from xgraph.exporters.paddle_failure import LONGEST, describe
from xgraph.exporters.paddle_gelu import repair_gelu
from xgraph.exporters.paddle_names import scopes
from xgraph.exporters.paddle_program import read_program
from xgraph.exporters.paddle_rnn import repair_rnn

log = logging.getLogger(__name__)

LARGEST = 2**31 - 1
PYTHON = sys.version_info[:2]
CHILD = Path(__file__).with_name("paddle_child.py")


@dataclass(frozen=True, slots=True)
class PaddleExporter:
    """Reads one of Paddle's two program formats."""

    source: str
    suffix: str
    timeout: float = 1800.0
    """Seconds the conversion may take; VGG-16 takes 5."""

    def recognises(self, path: Path) -> bool:
        """Tells a Paddle program from any other ``.json``; a ``.pdmodel`` is always one."""
        if path.suffix != self.suffix:
            return False
        if self.suffix == ".pdmodel":
            return True
        with path.open("rb") as file:
            head = file.read(4096)
        return b'"base_code"' in head and b'"pir"' in head

    def files(self, path: Path) -> tuple[Path, ...] | None:
        """Returns the program and its parameters."""
        if not self.recognises(path):
            return None
        params = path.with_suffix(".pdiparams")
        if params.is_file():
            return path, params
        if self.suffix == ".json" and '"#":"p"' not in path.read_text(encoding="utf-8", errors="replace"):
            return (path,)
        raise ExportError(f"{path} needs its parameters, and {params.name} does not exist beside it")

    def export(self, files: tuple[Path, ...], out: Path, *, verify: bool = True) -> Exported:
        """Converts to ONNX opset 17 below ``out``; with ``verify``, Paddle also runs the model itself."""
        _require_paddle()
        if sum(file.stat().st_size for file in files) > LARGEST:
            raise ExportError(f"{files[0]} is larger than the 2 GiB that its converter can hand over")
        for file in files:
            if not file.stat().st_size:
                raise ExportError(f"{file} is empty")
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".paddle-", dir=out) as folder:
            work = Path(folder).resolve()
            self._convert(files, work, verify)
            result = json.loads((work / "result.json").read_text())
            inputs = tuple(result["inputs"])
            check = None
            if result["unchecked"]:
                reason = " ".join(result["unchecked"].split())[-300:]
                log.warning(
                    "%s did not run on any made-up input, so its conversion is unchecked: %s",
                    files[0],
                    reason,
                )
            elif verify:
                check = _read_check(work / "check.npz", inputs)
            converted = work / "model.onnx"
            program = read_program(work / "program.json")
            repair_gelu(program, converted)
            repair_rnn(program, converted)
            _require_valid(converted, files[0])
            layer_paths = scopes(program, converted)
            target = out / "model.onnx"
            converted.replace(target)
        return Exported(
            path=target,
            source=self.source,
            files=files,
            inputs=inputs,
            scopes=layer_paths,
            check=check,
            versions=result["versions"],
        )

    def _convert(self, files: tuple[Path, ...], work: Path, verify: bool) -> None:
        model = files[0]
        request = {
            "model": str(_under_one_prefix(files, work)),
            "work": str(work),
            "verify": verify,
            "path": sys.path,
        }
        # -P: the script's own folder would come first on the path, and it holds a module named onnx.
        command = [sys.executable, "-P", "-W", "ignore", str(CHILD), json.dumps(request)]
        try:
            done = subprocess.run(
                command,
                cwd=work,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=self.timeout,
                check=False,
                encoding="utf-8",
                errors="replace",
            )
        except subprocess.TimeoutExpired:
            raise ExportError(f"converting {model} took longer than {self.timeout:g} s and was stopped") from None
        log.debug("conversion of %s ended with %d:\n%s", model, done.returncode, done.stdout)
        if done.returncode or not (work / "result.json").is_file():
            stage = work / "stage"
            doing = stage.read_text() if stage.is_file() else "starting"
            unknown = work / "unsupported.json"
            unsupported = json.loads(unknown.read_text()) if unknown.is_file() else []
            raise ExportError(describe(model, doing, done.returncode, done.stdout, unsupported))


def _under_one_prefix(files: tuple[Path, ...], work: Path) -> Path:
    """Returns a model file that its parameters lie beside, under its name, as the converter wants them."""
    model = files[0].resolve()
    if len(files) == 1 or files[1].resolve() == model.with_suffix(".pdiparams"):
        return model
    together = work / f"given{model.suffix}"
    shutil.copy(model, together)
    shutil.copy(files[1], together.with_suffix(".pdiparams"))
    return together


def installed() -> bool:
    """Tells whether Paddle and its converter are there."""
    return find_spec("paddle") is not None and find_spec("paddle2onnx") is not None


def _require_paddle() -> None:
    if installed():
        return
    if PYTHON >= (3, 13):
        raise ExportError(
            "reading Paddle models needs paddle2onnx, which has no build for "
            f"Python {PYTHON[0]}.{PYTHON[1]}: use Python 3.11 or 3.12"
        )
    raise ExportError('reading Paddle models needs the paddle extra: pip install "xgraph[paddle]"')


def _require_valid(converted: Path, model: Path) -> None:
    """The converter also writes graphs that mean nothing: values that no node makes, types that do not fit."""
    graph = onnx.load(str(converted))
    try:
        onnx.checker.check_model(graph)
        for output in graph.graph.output:  # where only the shape that Paddle noted is wrong, the numbers are right
            output.type.tensor_type.ClearField("shape")
        onnx.shape_inference.infer_shapes(graph, check_type=True, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())[:LONGEST]
        raise ExportError(
            f"{model} cannot become ONNX: what the converter wrote is not valid ({reason}); "
            "pass an .onnx file converted by other means"
        ) from None


def _read_check(path: Path, inputs: tuple[str, ...]) -> Check:
    with np.load(path, allow_pickle=False) as stored:
        feeds = {name: stored[f"feed_{name}"] for name in inputs}
        count = len(stored.files) - len(inputs)
        outputs = tuple(stored[f"output_{k}"] for k in range(count))
    return Check(feeds=feeds, outputs=outputs)


PADDLE = PaddleExporter(source="paddle", suffix=".json")
PADDLE_LEGACY = PaddleExporter(source="paddle-legacy", suffix=".pdmodel")
