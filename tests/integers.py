"""Whether this CPU's 8-bit integer products are exact."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper


@cache
def exact_products() -> bool:
    """Tells whether ONNX Runtime multiplies uint8 by int8 without saturation.

    CPUs with AVX2 but no VNNI add pairs of products in 16 bits, so that large ones are cut off. What a quantised model
    computes there is not what its operators are defined to compute, and says nothing about ours.
    """
    weight = numpy_helper.from_array(np.full((64, 16), 127, np.int8), "w")
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    graph = helper.make_graph(
        [node],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [1, 16])],
        [weight],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.full((1, 64), 255, np.uint8)})
    return bool((found == 64 * 255 * 127).all())


needs_exact_products = pytest.mark.skipif(
    not exact_products(), reason="8-bit integer products saturate on this CPU (no VNNI)"
)
