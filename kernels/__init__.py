"""Numeric kernels that run beside or inside ONNX Runtime.

An explanation graph never needs a kernel of ours to run: a compiled custom operator is an optimisation that
has a decomposition into standard operators, and every compiled function has a twin in NumPy.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

_LOG = logging.getLogger(__name__)


def library_path() -> Path | None:
    """Returns the compiled ONNX Runtime custom-operator library, or None where none was built."""
    here = Path(__file__).parent
    return next((path for path in sorted(here.glob("libxgraph_ops*")) if path.is_file()), None)


@cache
def backend() -> ModuleType:
    """Returns the kernels to call: ``xgraph.kernels.jit``, or ``xgraph.kernels.reference`` where Numba is missing.

    Both have the same functions, and the same random numbers.
    """
    try:
        import_module("numba")
    except (AttributeError, ImportError, OSError) as error:
        # Besides a missing package: a library that does not load, and modules of the user's named like Numba's own.
        reason = " ".join(str(error).split())
        _LOG.warning(
            "masks are made and painted by NumPy, which is slower, because Numba cannot be imported: %s", reason
        )
        return import_module("xgraph.kernels.reference")
    return import_module("xgraph.kernels.jit")


def backend_name() -> str:
    """Returns what makes the masks, with its version: ``"numba 0.61.0"``, or ``"numpy"``."""
    if backend().__name__.endswith(".reference"):
        return "numpy"
    return f"numba {import_module('numba').__version__}"
