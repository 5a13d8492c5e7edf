"""Running small models: an evaluator on ONNX Runtime, and models written as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as state

from xgraph.errors import GraphError
from xgraph.graph.evaluator import Evaluator, detach_weights

_FAILURES = (state.Fail, state.InvalidArgument, state.RuntimeException, state.NotImplemented, state.InvalidGraph)


def run_session(
    model: bytes, weights: Mapping[str, np.ndarray], feeds: Mapping[str, np.ndarray]
) -> Sequence[np.ndarray]:
    try:
        return _run(model, weights, feeds)
    except _FAILURES as error:
        raise GraphError(" ".join(str(error).split())) from error


def _run(model: bytes, weights: Mapping[str, np.ndarray], feeds: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # as xgraph runs models
    if weights:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(feeds))


@pytest.fixture(scope="session")
def evaluator() -> Evaluator:
    return run_session


@pytest.fixture(scope="session")
def run() -> Callable[[ir.Model, Mapping[str, np.ndarray]], Sequence[np.ndarray]]:
    return lambda model, feeds: run_session(*detach_weights(model), feeds)


@pytest.fixture(scope="session")
def parse() -> Callable[..., ir.Model]:
    """Builds a model from ONNX's text syntax: ``graph`` without the header, and weights by name."""

    def build(
        text: str, *, opset: int = 18, weights: Mapping[str, np.ndarray] | None = None, domains: str = ""
    ) -> ir.Model:
        header = f'<ir_version: 8, opset_import: ["" : {opset}{domains}]>\n'
        proto = onnx.parser.parse_model(header + text)
        for name, array in (weights or {}).items():
            proto.graph.initializer.append(ir.to_proto(ir.tensor(array, name=name)))
        return ir.from_proto(proto)

    return build
