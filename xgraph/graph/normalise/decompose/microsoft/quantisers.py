"""QuantizeLinear and DequantizeLinear, which ONNX Runtime had for 16 and 4 bits before the standard did (opset 21)."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from xgraph.graph.emit import Emit, Value
from xgraph.graph.site import Site

_WIDTHS_OF_OLD = {ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT32}
_SINCE = 21


def quantize_linear(b: Emit, s: Site) -> Sequence[Value]:
    """QuantizeLinear."""
    return [b.QuantizeLinear(s.input(0), s.input(1), s.input(2) if s.has(2) else None, axis=s.attr("axis"))]


def dequantize_linear(b: Emit, s: Site) -> Sequence[Value]:
    """DequantizeLinear."""
    return [b.DequantizeLinear(s.input(0), s.input(1), s.input(2) if s.has(2) else None, axis=s.attr("axis"))]


def opset_of_quantisers(model: ir.Model) -> int:
    """Returns the oldest opset whose own quantisers know the integers that those of com.microsoft have here."""
    for node in model.graph.all_nodes():
        if node.domain == "com.microsoft" and node.op_type in QUANTISERS:
            values = (*node.inputs, *node.outputs)
            kinds = {value.dtype for value in values if value is not None and value.dtype is not None}
            if any(kind.is_integer() for kind in kinds - _WIDTHS_OF_OLD):
                return _SINCE
    return 0


QUANTISERS = {"DequantizeLinear": dequantize_linear, "QuantizeLinear": quantize_linear}
