"""Model-local functions become plain nodes."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common


def inline_functions(model: ir.Model) -> None:
    """Replaces every call of a model-local function by the function's body, in place.

    Acts on all functions, torch's ``pkg.onnxscript`` ones included. A node whose domain has no function here
    (``com.microsoft`` ...) is left alone.
    """
    if not model.functions:
        return
    common.InlinePass()(model)
    common.RemoveUnusedFunctionsPass()(model)  # type: ignore[no-untyped-call]
