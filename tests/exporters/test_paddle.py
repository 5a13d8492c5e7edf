"""Paddle models become ONNX that computes the same, with layer names and inputs as the model had them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from xgraph.exporters import Exported

pytestmark = pytest.mark.paddle

MODELS = ["cnn", "vit", "vit_fused", "bert", "lstm", "double", "quirks"]
Export = Callable[[str, str], Exported]


def run(exported: Exported, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(exported.path, options, providers=["CPUExecutionProvider"]).run(None, feeds)


def assert_same(actual: list[np.ndarray], expected: tuple[np.ndarray, ...]) -> None:
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * np.abs(other).max())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", ["pir", "legacy"])
def test_onnx_computes_what_paddle_computes(exported: Export, kind: str, name: str) -> None:
    result = exported(kind, name)
    assert result.source == {"pir": "paddle", "legacy": "paddle-legacy"}[kind]
    assert result.path.name == "model.onnx"
    assert result.check is not None
    assert all(np.abs(output).max() > 0.1 for output in result.check.outputs)
    assert_same(run(result, dict(result.check.feeds)), result.check.outputs)


@pytest.mark.parametrize("kind", ["pir", "legacy"])
def test_gelu_keeps_its_tanh_form(exported: Export, kind: str) -> None:
    result = exported(kind, "quirks")
    assert result.check is not None
    (output,) = result.check.outputs
    # The erf form differs by a few 1e-4: within the tolerance of an import.
    np.testing.assert_allclose(run(result, dict(result.check.feeds))[0], output, rtol=0, atol=3e-6)
    kinds = {node.op_type for node in onnx.load(str(result.path)).graph.node}
    assert "Tanh" in kinds
    assert "Erf" not in kinds


@pytest.mark.parametrize("name", MODELS)
def test_legacy_models_compute_what_their_own_paddle_computed(exported: Export, legacy: Path, name: str) -> None:
    result = exported("legacy", name)
    with np.load(legacy / name / f"{name}.npz") as stored:
        feeds = {key: stored[key] for key in result.inputs}
        assert_same(run(result, feeds), (stored["outputs"],))


@pytest.mark.parametrize("kind", ["pir", "legacy"])
def test_inputs_keep_the_order_of_the_model(exported: Export, kind: str) -> None:
    # The converter reverses those of a model saved again.
    assert exported(kind, "bert").inputs == ("input_ids", "attention_mask")


@pytest.mark.parametrize("kind", ["pir", "legacy"])
def test_token_ids_stay_within_their_table_and_masks_are_bits(exported: Export, kind: str) -> None:
    check = exported(kind, "bert").check
    assert check is not None
    ids, mask = check.feeds["input_ids"], check.feeds["attention_mask"]
    assert ids.dtype == np.int64
    assert ids.min() >= 1
    assert 30 < ids.max() < 40  # a table of 40 rows, not the positions' 32
    assert set(np.unique(mask)) == {0, 1}
    assert mask[:, 0].all()


def test_only_the_model_is_left_in_the_output_folder(exported: Export) -> None:
    result = exported("pir", "cnn")
    assert [path.name for path in result.path.parent.iterdir()] == ["model.onnx"]
    assert {"paddle2onnx"} < set(result.versions)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "cnn",
            {
                "Sequential/Conv2D": "Conv",
                "Sequential/BatchNorm2D": "BatchNormalization",
                "Sequential/MaxPool2D": "MaxPool",
                "Sequential_1/Conv2D_1": "Add",
                "Conv2D": "Add",
                "AdaptiveAvgPool2D": "GlobalAveragePool",
                "Linear": "Add",
            },
        ),
        (
            "vit",
            {
                "Conv2D": "Add",
                "TransformerEncoder/TransformerEncoderLayer_1/LayerNorm": "LayerNormalization",
                "TransformerEncoder/TransformerEncoderLayer_1/MultiHeadAttention/Linear_2": "Add",
                "TransformerEncoder/TransformerEncoderLayer_1": "Add",
                "Linear": "Add",
            },
        ),
        ("vit_fused", {"Sequential/FusedBlock_1/FusedAttention/Linear": "Add"}),
        ("bert", {"Embedding": "Gather", "LayerNorm": "LayerNormalization", "Linear_1": "Add"}),
        ("lstm", {"LSTM": "Transpose", "Linear": "Add"}),
        ("double", {"LeakyReLU": "LeakyRelu", "GroupNorm": "Add"}),
    ],
)
def test_layers_of_a_program_have_their_paths(exported: Export, name: str, expected: dict[str, str]) -> None:
    outputs = layer_outputs(exported("pir", name))
    assert expected.items() <= outputs.items()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "cnn",
            {
                "conv2d_0": "Conv",
                "conv2d_1": "Add",
                "batch_norm2d_2": "BatchNormalization",
                "linear_0": "Add",
            },
        ),
        ("vit_fused", {"linear_0": "Add", "layer_norm_2": "LayerNormalization"}),
        ("bert", {"embedding_0": "Gather", "embedding_1": "Gather", "layer_norm_0": "LayerNormalization"}),
    ],
)
def test_layers_of_a_legacy_program_have_their_parameters_names(
    exported: Export, name: str, expected: dict[str, str]
) -> None:
    outputs = layer_outputs(exported("legacy", name))
    assert expected.items() <= outputs.items()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", ["pir", "legacy"])
def test_scopes_name_computed_values_without_stray_slashes(exported: Export, kind: str, name: str) -> None:
    result = exported(kind, name)
    graph = onnx.load(str(result.path)).graph
    computed = [value for node in graph.node if node.op_type != "Constant" for value in node.output]
    assert set(result.scopes) <= set(computed)
    assert list(result.scopes) == [value for value in computed if value in result.scopes]
    assert all(path and path.strip("/") == path and "//" not in path for path in result.scopes.values())


@pytest.mark.parametrize("kind", ["pir", "legacy"])
@pytest.mark.parametrize("name", ["vit", "bert", "lstm", "double"])
def test_an_output_carries_the_name_of_the_layer_it_comes_from(exported: Export, kind: str, name: str) -> None:
    layer = exported(kind, name).scopes["fetch_name_0"]
    assert layer.startswith({"pir": "Linear", "legacy": "linear_"}[kind])


@pytest.mark.parametrize("kind", ["pir", "legacy"])
def test_a_classifier_still_ends_in_its_softmax(exported: Export, kind: str) -> None:
    # Paddle 2 saves a multiplication by 1 and an addition of 0 behind it.
    assert onnx.load(str(exported(kind, "cnn").path)).graph.node[-1].op_type == "Softmax"


def layer_outputs(exported: Exported) -> dict[str, str]:
    """Layer path -> operator of its last value, helpers that only rename aside."""
    graph = onnx.load(str(exported.path)).graph
    return {
        exported.scopes[value]: node.op_type
        for node in graph.node
        for value in node.output
        if value in exported.scopes and node.op_type != "Identity"
    }
