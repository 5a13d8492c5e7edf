"""Shape inference of those operators of com.microsoft that stay in a model."""

from __future__ import annotations

import onnx_ir as ir
import onnx_shape_inference as inference


def inverse(context: inference.ShapeInferenceContext, node: ir.Node) -> None:
    """As the input."""
    x = node.inputs[0]
    if x is not None:
        context.set_shape_and_dtype(node.outputs[0], x.shape, x.dtype)


def dynamic_quantize_lstm(context: inference.ShapeInferenceContext, node: ir.Node) -> None:
    """As LSTM, whose weights are transposed here: (T, directions, N, H) and twice (directions, N, H)."""
    x, recurrent = node.inputs[0], node.inputs[2]
    if x is None or x.shape is None or recurrent is None or recurrent.shape is None:
        return
    steps, batch = x.shape[0], x.shape[1]
    directions, hidden = recurrent.shape[0], recurrent.shape[1]
    for i, value in enumerate(node.outputs):
        state = [directions, batch, hidden]
        context.set_shape_and_dtype(value, ir.Shape([steps, *state] if i == 0 else state), x.dtype)


inference.registry.collect()
inference.registry.register("com.microsoft", "Inverse")(inverse)
inference.registry.register("com.microsoft", "DynamicQuantizeLSTM")(dynamic_quantize_lstm)
