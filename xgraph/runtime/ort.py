"""onnxruntime, imported when it is first used."""

from __future__ import annotations

from functools import cache
from typing import Any

from xgraph.errors import ProviderError


@cache
def onnxruntime() -> Any:
    """Returns the onnxruntime module.

    Raises:
        ProviderError: It is not installed.
    """
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise ProviderError(
            'onnxruntime is not installed; install exactly one of: pip install "xgraph[cpu]" (CPU) or '
            'pip install "xgraph[cuda]" (NVIDIA GPU)'
        ) from error
    if not hasattr(ort, "InferenceSession"):
        raise ProviderError(
            "the installed onnxruntime is broken (two variants installed over each other?); reinstall one"
        )
    # Warnings of the engine are about its own optimiser; what matters reaches the user as an exception.
    ort.set_default_logger_severity(3)
    return ort
