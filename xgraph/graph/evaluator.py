"""How rooms without a runtime get numbers out of a graph.

``graph`` and ``exporters`` may not import onnxruntime; whoever may (``api``, tests) hands in an Evaluator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import onnx_ir as ir

INLINE_BYTES = 1024
"""Weights below this size stay inside the serialized model: shape arithmetic needs their values."""


_FOREIGN = "V"
"""The kind of those NumPy dtypes that are not NumPy's own: 4 bits, bfloat16, float8."""


class Evaluator(Protocol):
    """Runs a model once."""

    def __call__(
        self, model: bytes, weights: Mapping[str, np.ndarray], feeds: Mapping[str, np.ndarray]
    ) -> Sequence[np.ndarray]:
        """Returns the model's outputs, in order.

        Args:
            model: A serialized ModelProto. Initializers named in ``weights`` are declared as external data.
            weights: Their values (for ONNX Runtime: ``SessionOptions.add_external_initializers``).
            feeds: One array per graph input.

        Raises:
            GraphError: The model cannot be loaded, or does not run on these feeds. Nothing else may escape: a model
                whose axes are not as dynamic as it says is tried with other sizes.
        """


def detach_weights(model: ir.Model) -> tuple[bytes, dict[str, np.ndarray]]:
    """Returns the serialized model without its large weights, and the weights by name.

    Serializing this way never meets protobuf's limit of 2 GB and copies no weight. The model is unchanged. Weights
    that nobody reads are left out (runtimes drop them, and then miss them), and numbers that NumPy does not have of
    its own stay inside: runtimes cannot take those from arrays.
    """
    light = model.clone()
    weights: dict[str, np.ndarray] = {}
    for name, value in list(light.graph.initializers.items()):
        tensor = value.const_value
        if tensor is None:
            continue
        if not (value.uses() or value.is_graph_output() or value.is_graph_input()):
            del light.graph.initializers[name]
            continue
        if tensor.nbytes < INLINE_BYTES or tensor.dtype.numpy().kind == _FOREIGN:
            if isinstance(tensor, ir.ExternalTensor):
                value.const_value = ir.tensor(np.array(tensor.numpy()), dtype=tensor.dtype, name=name)
            continue
        weights[name] = np.ascontiguousarray(tensor.numpy())
        value.const_value = ir.ExternalTensor(
            "weights", 0, tensor.nbytes, tensor.dtype, shape=ir.Shape(tensor.shape.numpy()), name=name
        )
    return ir.to_proto(light).SerializeToString(), weights
