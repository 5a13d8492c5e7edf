"""Numba is imported when masks are first made, and not missed where it is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numba
import pytest

from xgraph.kernels import backend, backend_name, jit


def run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-P", "-W", "error::RuntimeWarning", "-c", code, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


def test_the_backend_is_numba() -> None:
    assert backend() is jit
    assert backend() is backend()
    assert backend_name() == f"numba {numba.__version__}"


def test_kernels_are_imported_without_numba() -> None:
    assert run("import sys, xgraph, xgraph.kernels; print('numba' in sys.modules)").strip() == "False"


def test_a_gradient_does_without_numba(tiny_onnx: Path) -> None:
    code = """
import sys
import numpy as np
import xgraph
import xgraph.kernels
model = xgraph.load(sys.argv[1])
shape = [size if isinstance(size, int) else 2 for size in model.inputs[0].shape]
values = xgraph.explain(model, np.ones(shape, np.float32), method="gradient").values
print(all(np.isfinite(own).all() for own in values.values()), "numba" in sys.modules)
"""
    assert run(code, str(tiny_onnx)).strip() == "True False"


@pytest.mark.parametrize("error", ["ImportError", "OSError", "AttributeError"])
def test_without_numba_the_reference_is_taken_with_a_reason(error: str) -> None:
    """Not installed, a library of its own that does not load, and a user's module that hides one that it imports."""
    code = """
import logging, sys
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "numba":
            raise getattr(__builtins__, sys.argv[1])("no numba\\nhere")
sys.meta_path.insert(0, Broken())
logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(name)s %(message)s")
import numpy as np
from xgraph import kernels
print(kernels.backend().__name__, kernels.backend_name())
print(kernels.backend().words(3, 1, np.arange(2), np.arange(2), 1).shape)
"""
    warning, *found = run(code, error).splitlines()
    assert warning.startswith("WARNING xgraph.kernels ")
    assert warning.endswith(": no numba here")
    assert found == ["xgraph.kernels.reference numpy", "(2, 1)"]


def test_where_nothing_can_be_kept_loops_are_compiled_anyway() -> None:
    code = """
import sys
from numba.core import caching
caching.CacheImpl._locator_classes = []
import numpy as np
from xgraph.kernels import backend
print(backend().segment_sizes(np.array([0, 1, 1], np.int32), 2).tolist())
"""
    assert run(code).strip() == "[1, 2]"
