"""Adjoint operators: what a derivation says, before it is decided how it runs.

Each takes ``(g, weight or nothing, forward value or its Shape)`` and the attributes of the forward operator
unchanged, lives in the domain ``xgraph``, and is turned into standard ONNX by ``xgraph.graph.lower``. The output
has the shape and dtype of the forward operator's input, so that later rules and the lowering see static sizes.
"""

from __future__ import annotations

import onnx_ir as ir

from xgraph.graph.emit import ADJOINT_DOMAIN, Emit
from xgraph.graph.site import Site


def conv_input_grad(b: Emit, s: Site, g: ir.Value) -> ir.Value:
    """Emits the gradient of Conv with respect to its input: (g, weight, Shape(x))."""
    return _adjoint(b, s, "ConvInputGrad", g, s.input(1), b.Shape(s.input(0)))


def max_pool_grad(b: Emit, s: Site, g: ir.Value) -> ir.Value:
    """Emits the gradient of MaxPool: (g, nothing, x). Ties give everything to the first maximum."""
    return _adjoint(b, s, "MaxPoolGrad", g, None, s.input(0))


def average_pool_grad(b: Emit, s: Site, g: ir.Value) -> ir.Value:
    """Emits the gradient of AveragePool: (g, nothing, Shape(x))."""
    return _adjoint(b, s, "AveragePoolGrad", g, None, b.Shape(s.input(0)))


def resize_grad(b: Emit, s: Site, g: ir.Value) -> ir.Value:
    """Emits the gradient of Resize: (g, nothing, Shape(x), roi, scales, sizes)."""
    rest = [s.x[i] if s.has(i) else None for i in (1, 2, 3)]
    return _adjoint(b, s, "ResizeGrad", g, None, b.Shape(s.input(0)), *rest)


def step_mul(b: Emit, g: ir.Value, value: ir.Value, *, low: float = 0.0, high: float | None = None) -> ir.Value:
    """Emits ``g`` where ``low < value < high`` and 0 elsewhere: (g, nothing, value)."""
    attributes = {"low": low} if high is None else {"low": low, "high": high}
    return b.op("StepMul", [g, None, value], attributes, domain=ADJOINT_DOMAIN, like=[value])[0]


def _adjoint(b: Emit, s: Site, op: str, *inputs: ir.Value | None) -> ir.Value:
    return b.op(op, inputs, s.attributes(), domain=ADJOINT_DOMAIN, like=[s.input(0)])[0]


__all__ = ["average_pool_grad", "conv_input_grad", "max_pool_grad", "resize_grad", "step_mul"]
