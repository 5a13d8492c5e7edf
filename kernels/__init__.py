"""Numeric kernels that run beside or inside ONNX Runtime.

An explanation graph never needs a kernel of ours to run: a compiled custom operator is an optimisation that
has a decomposition into standard operators.
"""

from __future__ import annotations

from pathlib import Path


def library_path() -> Path | None:
    """Returns the compiled ONNX Runtime custom-operator library, or None where none was built."""
    here = Path(__file__).parent
    return next((path for path in sorted(here.glob("libxgraph_ops*")) if path.is_file()), None)
