"""Importing the package, and asking for help, costs next to nothing."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import xgraph

HEAVY = (
    "numpy", "onnxruntime", "onnx", "onnx_ir", "onnxscript", "onnx_shape_inference", "numba", "matplotlib", "paddle",
    "torch", "skimage", "sklearn", "scipy", "PIL", "yaml", "psutil", "tqdm",
)  # fmt: skip


@pytest.mark.parametrize(
    "code",
    [
        "import xgraph; xgraph.__version__; dir(xgraph)",
        "from xgraph.cli import command; command.main(['--help'], standalone_mode=False)",
        "from xgraph.cli import command; command.main(['explain', '--help'], standalone_mode=False)",
        "from xgraph.cli import command; command.main(['compile', '--help'], standalone_mode=False)",
    ],
    ids=["import", "--help", "explain --help", "compile --help"],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    report = f"import sys; found = [n for n in {HEAVY!r} if n in sys.modules]; print('heavy:', found)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"{code}\n{report}"], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_import_xgraph_needs_no_numpy() -> None:
    code = "import sys, xgraph; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("name", [n for n in xgraph.__all__ if n != "__version__"])
def test_public_names_have_docs(name: str) -> None:
    item = getattr(xgraph, name)
    assert inspect.getdoc(item)
    if not inspect.isfunction(item):
        return
    doc = inspect.getdoc(item) or ""
    for parameter in inspect.signature(item).parameters:
        assert f"    {parameter}: " in doc or len(inspect.signature(item).parameters) == 1, parameter


def test_unknown_names_are_attribute_errors() -> None:
    assert not hasattr(xgraph, "explian")
