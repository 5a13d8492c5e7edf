"""float16 models: explained in the precision that the file says, close to the float32 model."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from e2e.closeness import distance

import xgraph
from xgraph.errors import ExportError

torch = pytest.importorskip("torch")
float16 = pytest.importorskip("onnxruntime.transformers.float16")

from e2e.models_torch import build  # noqa: E402
from e2e.oracle_torch import export, feeds, inputs, write  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]

CLASSES = [0, 3, 6, 1, 1]
SMOOTH = ("vit", "bert", "norms")
KINKED = ("resnet", "mobilenet")
"""ReLUs and pools, some of which half precision flips: their gradients agree in the mean only."""
HALF = 1e-2
"""Some twenty roundings of 5e-4, of the largest entry."""
FLIPPED = 0.1
"""Of the gradient's Euclidean norm."""
METHODS: dict[str, dict[str, Any]] = {
    "gradient": {},
    "input_x_gradient": {},
    "integrated_gradients": {"steps": 8},
    "smooth_grad": {"samples": 4, "noise": 0.01},
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Returns the function (model, form) -> file; forms: ``float32``, ``whole``, ``inside`` and ``torch``."""
    folder = tmp_path_factory.mktemp("half")

    @cache
    def make(name: str, form: str) -> Path:
        path = folder / f"{name}-{form}.onnx"
        if form == "float32":
            return export(name, "script17", path)
        if form == "torch":
            example = {k: v[:2].half() if v.is_floating_point() else v[:2] for k, v in inputs(name).items()}
            return write(build(name).half(), example, {0: "batch"}, path, dynamo=True, opset=18)
        wide = onnx.load(make(name, "float32"))
        onnx.save(float16.convert_float_to_float16(wide, keep_io_types=form == "inside"), path)
        return path

    return make


def explained(path: Path, name: str, method: str) -> dict[str, np.ndarray]:
    found = xgraph.explain(xgraph.load(path), feeds(name), method, CLASSES, **METHODS[method])
    assert all(array.dtype == np.float32 for array in found.values.values())
    return dict(found.values)


@pytest.mark.parametrize("form", ["whole", "inside"])
@pytest.mark.parametrize("name", [*SMOOTH, *KINKED])
def test_half_is_close_to_single(name: str, form: str, exported: Any) -> None:
    model = xgraph.load(exported(name, form))
    assert {port.dtype for port in model.outputs} == {"float16" if form == "whole" else "float32"}
    for method in METHODS:
        half, single = (explained(exported(name, one), name, method) for one in (form, "float32"))
        for key, exact in single.items():
            if name in SMOOTH:
                assert distance(half[key], exact) < HALF, method
            else:
                assert np.linalg.norm(half[key] - exact) < FLIPPED * np.linalg.norm(exact), method


def test_torchs_own_half_export(exported: Any) -> None:
    half, single = (explained(exported("vit", form), "vit", "gradient") for form in ("torch", "float32"))
    assert distance(half["image"], single["image"]) < HALF


def test_bfloat16_is_refused_in_one_line(tmp_path: Path) -> None:
    example = {key: value[:2].bfloat16() for key, value in inputs("vit").items()}
    path = write(build("vit").bfloat16(), example, {0: "batch"}, tmp_path / "b.onnx", dynamo=False, opset=18)
    with pytest.raises(ExportError, match=r"computes in bfloat16 .* float32 or float16$"):
        xgraph.load(path)
