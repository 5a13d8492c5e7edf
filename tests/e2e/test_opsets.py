"""A model gives the same gradient whichever opset it was exported at."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import xgraph

torch = pytest.importorskip("torch")

from e2e.closeness import assert_as_good  # noqa: E402
from e2e.oracle_torch import NEWEST, feeds, reference  # noqa: E402

pytestmark = pytest.mark.torch

CLASSES = (0, 3, 6, 1, 1)
EXPORTS = [
    # torch cannot write its resizing before opset 9.
    *(("plainest" if opset < 9 else "plain", f"script{opset:02}") for opset in range(7, 21)),
    *(("dense", f"script{opset:02}") for opset in range(7, 21)),
    *(
        pytest.param(name, f"dynamo{opset}", marks=() if opset in (18, NEWEST) else pytest.mark.slow)
        for name in ("plain", "dense")
        for opset in range(18, NEWEST + 1)
    ),
]


@pytest.mark.parametrize(("name", "exporter"), EXPORTS)
def test_gradient_at_every_opset(name: str, exporter: str, from_torch: Callable[[str, str], xgraph.Model]) -> None:
    model = from_torch(name, exporter)
    assert model.opset == max(18, int(exporter[-2:]))
    found = xgraph.explain(model, feeds(name), "gradient", list(CLASSES))
    single, double = (reference(name, CLASSES, "logit", dtype) for dtype in (torch.float32, torch.float64))
    for key, values in found.values.items():
        assert_as_good(values, single.gradients[key], double.gradients[key], key)
