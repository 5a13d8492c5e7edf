"""Where converters are silently wrong or give up, the import is right: both formats, against Paddle 2.6 itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from tolerances import IMPORT

from xgraph.exporters import Exported

pytestmark = pytest.mark.paddle

TRAPS = ("pools", "activations", "rearranged", "recurrent", "reversed")
DATA = Path(__file__).parents[1] / "data" / "traps"
Export = Callable[[str, str], Exported]


@pytest.mark.parametrize("name", TRAPS)
@pytest.mark.parametrize("kind", ["pir", "traps"])
def test_onnx_computes_what_paddle_computed(exported: Export, kind: str, name: str) -> None:
    result = exported(kind, name)
    with np.load(DATA / name / f"{name}.npz") as stored:
        feeds = {key: stored[key] for key in result.inputs}
        expected = [stored[f"output_{k}"] for k in range(len(stored.files) - len(feeds))]
    assert_same(result, feeds, expected)
    assert result.check is not None
    assert_same(result, dict(result.check.feeds), list(result.check.outputs))


def assert_same(result: Exported, feeds: dict[str, np.ndarray], expected: list[np.ndarray]) -> None:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    found = ort.InferenceSession(result.path, options, providers=["CPUExecutionProvider"]).run(None, feeds)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert np.abs(other).max() > 0.1
        np.testing.assert_allclose(one, other, rtol=0, atol=IMPORT * np.abs(other).max())


@pytest.mark.parametrize("kind", ["pir", "traps"])
def test_steps_behind_the_end_of_a_row_are_zero(exported: Export, kind: str) -> None:
    result = exported(kind, "recurrent")
    feeds = {"sequence": np.ones((2, 7, 6), np.float32), "seq_len": np.array([7, 2])}
    steps = ort.InferenceSession(result.path, providers=["CPUExecutionProvider"]).run(["fetch_name_0"], feeds)[0]
    assert (steps[0] != 0).all()
    assert (steps[1, :2] != 0).all()
    assert not steps[1, 2:].any()


@pytest.mark.parametrize("kind", ["pir", "traps"])
def test_recurrent_layers_stay_whole(exported: Export, kind: str) -> None:
    kinds = [node.op_type for node in onnx.load(str(exported(kind, "recurrent").path)).graph.node]
    assert {each: kinds.count(each) for each in ("LSTM", "GRU", "RNN")} == {"LSTM": 2, "GRU": 1, "RNN": 1}


def test_what_was_rewritten_keeps_its_layer(exported: Export) -> None:
    layers = set(exported("pir", "pools").scopes.values())
    assert {"AdaptiveAvgPool2D", "AdaptiveMaxPool2D", "AdaptiveAvgPool1D"} <= layers
    assert {"LSTM", "GRU", "SimpleRNN"} <= set(exported("pir", "recurrent").scopes.values())
