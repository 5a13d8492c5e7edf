"""Models of ``transformers`` that ONNX Runtime's optimisers have rewritten have the gradients of the exported ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from corpus.deployed import optimised
from tolerances import FORMULA

import xgraph

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from corpus.transformers_nets import build, inputs  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]

EXPORTERS = {"script": (False, 17), "dynamo": (True, 20)}
# Model -> what the optimiser for transformers knows it as, and the entry of each row that is explained.
KINDS = {"bert": ("bert", (3,)), "distilbert": ("bert", (3,)), "gpt2": ("gpt2", (4, 3)), "vit": ("vit", (3,))}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Returns the function (model, exporter) -> file."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("exported")

    @cache
    def export(name: str, exporter: str) -> Path:
        dynamo, opset = EXPORTERS[exporter]
        example = {key: value[:2] for key, value in inputs(name).items()}
        options: dict[str, Any] = {"input_names": list(example), "output_names": ["logits"]}
        # Optimisers write elsewhere, and leave references to files of weights as they are.
        options["external_data"] = False
        if dynamo:
            options["dynamic_shapes"] = (tuple({0: torch.export.Dim("batch")} for _ in example),)
        else:
            options["dynamic_axes"] = {key: {0: "batch"} for key in (*example, "logits")}
        path = folder / f"{name}.{exporter}.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # both exporters warn about themselves
            torch.onnx.export(
                build(name), tuple(example.values()), path, dynamo=dynamo, opset_version=opset, verbose=False, **options
            )
        return path

    return export


def for_transformers(path: Path, kind: str, folder: Path) -> Path:
    """Returns what the optimiser for transformers writes."""
    from onnxruntime.transformers import optimizer

    model = optimizer.optimize_model(str(path), model_type=kind, num_heads=4, hidden_size=32, opt_level=0)
    written = folder / f"{path.stem}.fused.onnx"
    model.save_model_to_file(str(written))
    return written


def explained(path: Path, name: str) -> xgraph.Attribution:
    feeds = {key: value.numpy() for key, value in inputs(name).items()}
    entry = KINDS[name][1]
    target = xgraph.Target.index(entry if len(entry) > 1 else entry[0])
    return xgraph.explain(xgraph.load(path), feeds, "gradient", target)


@pytest.mark.parametrize("way", ["extended", "all", "transformers"])
@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", KINDS)
def test_same_gradient(name, exporter, way, exported, tmp_path):
    path = exported(name, exporter)
    if way == "transformers":
        written = for_transformers(path, KINDS[name][0], tmp_path)
    else:
        written = optimised(path, way, tmp_path)
    assert any(node.domain == "com.microsoft" for node in onnx.load(written).graph.node)
    before, after = explained(path, name), explained(written, name)
    assert before.values.keys() == after.values.keys()
    for key, expected in before.values.items():
        np.testing.assert_allclose(after.values[key], expected, rtol=0, atol=FORMULA * np.abs(expected).max())
