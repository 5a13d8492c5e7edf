"""The methods on the network that comes with xgraph, over pictures it knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import xgraph

DATA = Path(xgraph.__file__).parent / "data"


@pytest.fixture(scope="module")
def shapes() -> xgraph.Model:
    return xgraph.load(DATA / "shapes_cnn" / "shapes_cnn.onnx")


@pytest.fixture(scope="module")
def pictures() -> list[str]:
    return [str(DATA / "shapes" / f"{name}.png") for name in ("heart", "star", "ring")]


def test_integrated_gradients_are_complete(shapes: xgraph.Model, pictures: list[str]) -> None:
    found = xgraph.explain(shapes, pictures, "integrated_gradients", baseline="blur", steps=3, tolerance=0.02)
    covered = found.checks["score_difference"]
    total = found.values[next(iter(found.values))].reshape(3, -1).sum(1)
    np.testing.assert_allclose(total, covered, atol=0.021 * np.abs(covered).max())
    assert (found.checks["completeness_gap"] <= 0.02 * np.abs(covered)).all()


def test_cam_and_grad_cam_agree(shapes: xgraph.Model, pictures: list[str]) -> None:
    (layer, cam), *rest = xgraph.explain(shapes, pictures, "cam").values.items()
    assert not rest
    grad_cam = xgraph.explain(shapes, pictures, "grad_cam", layer=layer).values[layer]
    np.testing.assert_allclose(np.maximum(cam, 0) / cam[0].size, grad_cam, rtol=1e-4, atol=1e-6 * grad_cam.max())
