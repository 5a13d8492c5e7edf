"""However a graph is lowered, and wherever it runs, the gradient is the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import xgraph
from xgraph.compiler import attribution_names, build, seed_name
from xgraph.errors import ProviderError
from xgraph.graph.lower import PROFILES
from xgraph.methods import create
from xgraph.program import Program
from xgraph.runtime.providers import choose
from xgraph.runtime.session import open_session

torch = pytest.importorskip("torch")

from e2e.closeness import assert_as_good  # noqa: E402
from e2e.models_torch import MODELS  # noqa: E402
from e2e.oracle_torch import feeds, reference  # noqa: E402

pytestmark = pytest.mark.torch

Loaded = Callable[[str, str], xgraph.Model]
CLASSES = (0, 3, 6, 1, 1)
NETS = [name for name, case in MODELS.items() if case.maps]


def check(name: str, values: np.ndarray) -> None:
    single, double = (reference(name, CLASSES, "logit", dtype) for dtype in (torch.float32, torch.float64))
    key = next(iter(feeds(name)))
    assert_as_good(values, single.gradients[key], double.gradients[key])


def explained(name: str) -> xgraph.Target:
    position = MODELS[name].position
    return xgraph.Target.per_row(CLASSES) if position is None else xgraph.Target.index(position)


@pytest.mark.parametrize("batch", [None, 5])
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NETS)
def test_every_lowering_computes_the_same(name: str, profile: str, batch: int | None, from_torch: Loaded) -> None:
    """All of them on the CPU, which runs what was lowered for other devices too, only not as fast."""
    model, target = from_torch(name, "script17"), explained(name)
    recipe = Program(model, create("gradient", {}), target).recipes[0]
    shape = reference(name, CLASSES, "logit", torch.float32).outputs.shape
    seed = target.classes(5, shape[1]) if target.seed == "index" else target.seeds(shape)
    session = open_session(build(model, recipe, profile), choose("cpu"), batch=batch)
    (output,) = attribution_names(recipe)
    check(name, session.run({**feeds(name), seed_name(recipe): seed}, [output])[output])


@pytest.mark.openvino
@pytest.mark.parametrize("name", NETS)
def test_openvino_computes_the_same(name: str, from_torch: Loaded) -> None:
    try:
        choose("openvino")
    except ProviderError as error:
        pytest.skip(str(error))
    found = xgraph.explain(from_torch(name, "script17"), feeds(name), "gradient", explained(name), device="openvino")
    (values,) = found.values.values()
    check(name, values)
