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


def ort_errors() -> tuple[type[Exception], ...]:
    """Returns the exception types that the engine raises."""
    state = onnxruntime().capi.onnxruntime_pybind11_state
    named = [getattr(state, name) for name in dir(state) if isinstance(getattr(state, name), type)]
    return (RuntimeError, *[error for error in named if issubclass(error, Exception)])


def first_line(error: BaseException) -> str:
    """Returns what an exception says, without the engine's stack."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
