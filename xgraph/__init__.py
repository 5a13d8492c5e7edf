"""xgraph explains the predictions of exported inference models.

It is a compiler: the model graph (Paddle or ONNX) is normalised, rewritten into explanation graphs, and
those run on ONNX Runtime. ``xgraph.load``, ``xgraph.explain`` and ``xgraph.compile`` are the way in.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xgraph.api import compile, coverage, explain, explain_each, list_methods, load
    from xgraph.errors import XGraphError
    from xgraph.model import Model
    from xgraph.preprocess import Preprocess
    from xgraph.program import Program
    from xgraph.reducing.prior import Prior
    from xgraph.result import Attribution
    from xgraph.target import Target

__version__ = "0.1.0"

# Names are looked up on first use, so that importing xgraph costs next to nothing.
_HOME = {
    "Attribution": "xgraph.result",
    "Model": "xgraph.model",
    "Preprocess": "xgraph.preprocess",
    "Prior": "xgraph.reducing.prior",
    "Program": "xgraph.program",
    "Target": "xgraph.target",
    "XGraphError": "xgraph.errors",
    "compile": "xgraph.api",
    "coverage": "xgraph.api",
    "explain": "xgraph.api",
    "explain_each": "xgraph.api",
    "list_methods": "xgraph.api",
    "load": "xgraph.api",
}

__all__ = [
    "Attribution",
    "Model",
    "Preprocess",
    "Prior",
    "Program",
    "Target",
    "XGraphError",
    "__version__",
    "compile",
    "coverage",
    "explain",
    "explain_each",
    "list_methods",
    "load",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'xgraph' has no attribute '{name}'")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
