"""However a graph is lowered, and wherever it runs, the gradient is the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import xgraph

torch = pytest.importorskip("torch")

from e2e.closeness import assert_as_good  # noqa: E402
from e2e.models_torch import MODELS  # noqa: E402
from e2e.oracle_torch import feeds, reference  # noqa: E402

from xgraph.runtime.providers import openvino_installed  # noqa: E402

pytestmark = pytest.mark.torch

CLASSES = (0, 3, 6, 1, 1)
OPENVINO = pytest.param(
    "openvino",
    marks=[
        pytest.mark.openvino,
        pytest.mark.skipif(not openvino_installed(), reason="needs the OpenVINO plugin"),
    ],
)
NETS = [name for name, case in MODELS.items() if case.maps]


def check(name: str, values: np.ndarray) -> None:
    single, double = (reference(name, CLASSES, "logit", dtype) for dtype in (torch.float32, torch.float64))
    key = next(iter(feeds(name)))
    assert_as_good(values, single.gradients[key], double.gradients[key])


@pytest.mark.parametrize("profile", ["portable", "cpu"])
@pytest.mark.parametrize("name", NETS)
def test_profiles_agree(name: str, profile: str, from_torch: Callable[[str, str], xgraph.Model]) -> None:
    position = MODELS[name].position
    target = list(CLASSES) if position is None else xgraph.Target.index(position)
    program = xgraph.Program(
        from_torch(name, "script17"),
        xgraph.methods.create("gradient", {}),
        xgraph.Target.parse(target),
        profile=profile,
    )
    (values,) = program(feeds(name), target, device="cpu").values.values()
    check(name, values)


@pytest.mark.parametrize("device", [OPENVINO])
@pytest.mark.parametrize("name", NETS)
def test_devices_agree(name: str, device: str, from_torch: Callable[[str, str], xgraph.Model]) -> None:
    position = MODELS[name].position
    target = list(CLASSES) if position is None else xgraph.Target.index(position)
    (values,) = xgraph.explain(
        from_torch(name, "script17"), feeds(name), "gradient", target, device=device
    ).values.values()
    check(name, values)
