"""Models of ``transformers`` as torch's two exporters write them, against torch's autograd."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from e2e.closeness import assert_as_good, distance
from tolerances import FORMULA, IMPORT

import xgraph

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from corpus.transformers_nets import NETS, ROWS, build, inputs  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.slow]

NEWEST = min(onnx.defs.onnx_opset_version(), 23)
EXPORTERS = {"script17": (False, 17), "script20": (False, 20), f"dynamo{NEWEST}": (True, NEWEST)}
"""torch's older exporter and the one on torch.export, each with an opset."""
CLASSES = [0, 3, 6]
TARGETS = [(name, output) for name, net in NETS.items() for output in net.outputs]
Loaded = Callable[..., xgraph.Model]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """Returns the function (model, exporter, rows baked in or None) -> loaded model."""
    torch.set_num_threads(1)  # small models; waiting threads would take the cores from the tests beside this one
    folder = tmp_path_factory.mktemp("transformers")

    @cache
    def load(name: str, exporter: str, rows: int | None = None) -> xgraph.Model:
        (dynamo, opset), net = EXPORTERS[exporter], NETS[name]
        example = {key: value[: rows or 2] for key, value in inputs(name).items()}
        options: dict[str, Any] = {"input_names": list(example), "output_names": list(net.outputs)}
        if dynamo and not rows:
            options["dynamic_shapes"] = (tuple({0: torch.export.Dim("batch")} for _ in example),)
        elif not rows:
            options["dynamic_axes"] = {key: {0: "batch"} for key in (*example, *net.outputs)}
        path = folder / f"{name}-{exporter}-{rows}.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # both exporters warn about themselves
            torch.onnx.export(
                build(name), tuple(example.values()), path, dynamo=dynamo, opset_version=opset, verbose=False, **options
            )
        return xgraph.load(path)

    return load


def entry(name: str, output: str) -> tuple[int, ...] | None:
    return (NETS[name].entries or {}).get(output)


def target(name: str, output: str) -> xgraph.Target:
    position = entry(name, output)
    if position is None:
        return xgraph.Target.per_row(CLASSES, output=output)
    return xgraph.Target.index(position if len(position) > 1 else position[0], output=output)


@cache
def backward(name: str, output: str, dtype: Any) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns the scores, and values and gradients of the image and of the embedded tokens, row by row.

    Each row goes through alone: CLIP compares every sample of a batch with every other.
    """
    net, model, rows = NETS[name], build(name).to(dtype), []
    for row in range(ROWS):
        seen: dict[str, Any] = {}
        given = [
            value[row : row + 1].to(dtype) if value.is_floating_point() else value[row : row + 1]
            for value in inputs(name).values()
        ]
        for key, value in zip(inputs(name), given, strict=True):
            if value.is_floating_point():
                seen[key] = value.requires_grad_()

        def keep(_module: Any, _arguments: Any, value: Any, seen: dict[str, Any] = seen) -> None:
            value.retain_grad()
            seen["ids"] = value

        hooks = [model.inner.get_submodule(net.embedding).register_forward_hook(keep)] if net.embedding else []
        outputs = dict(zip(net.outputs, model(*given), strict=True))
        for hook in hooks:
            hook.remove()
        score = outputs[output][(0, *(entry(name, output) or (CLASSES[row],)))]
        score.backward()
        rows.append((score.detach().numpy(), {k: v for k, v in seen.items() if v.grad is not None}))
    gradients = {key: np.concatenate([seen[key].grad.numpy() for _, seen in rows]) for key in rows[0][1]}
    values = {key: np.concatenate([seen[key].detach().numpy() for _, seen in rows]) for key in rows[0][1]}
    return np.stack([score for score, _ in rows]), values, gradients


def feeds(name: str) -> dict[str, np.ndarray]:
    return {key: value.numpy() for key, value in inputs(name).items()}


def places(name: str, output: str) -> dict[str, str]:
    """Returns what carries a gradient: key of the results -> ``wrt``."""
    _, _, gradients = backward(name, output, torch.float64)
    return {key: f"{'embedding' if key == 'ids' else 'input'}:{key}" for key in gradients}


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize(("name", "output"), TARGETS)
def test_gradient_is_as_good_as_torchs(name: str, output: str, exporter: str, exported: Loaded) -> None:
    model = exported(name, exporter)
    (_, _, single), (scores, _, double) = (backward(name, output, dtype) for dtype in (torch.float32, torch.float64))
    for key, wrt in places(name, output).items():
        found = xgraph.explain(model, feeds(name), "gradient", target(name, output), wrt=wrt)
        assert distance(found.scores, scores) < IMPORT
        assert_as_good(found.values[key], single[key], double[key], key)


@pytest.mark.parametrize(("name", "output"), TARGETS)
def test_other_methods(name: str, output: str, exported: Loaded) -> None:
    model, chosen = exported(name, "script17"), target(name, output)
    _, values, gradients = backward(name, output, torch.float64)
    for key, wrt in places(name, output).items():
        product = xgraph.explain(model, feeds(name), "input_x_gradient", chosen, wrt=wrt).values[key]
        assert distance(product, gradients[key] * values[key]) < IMPORT
        smooth = xgraph.explain(model, feeds(name), "smooth_grad", chosen, wrt=wrt, samples=4, noise=1e-4)
        assert distance(smooth.values[key], gradients[key]) < 1e-2
        along = xgraph.explain(model, feeds(name), "integrated_gradients", chosen, wrt=wrt, steps=64)
        covered = np.abs(along.checks["score_difference"]).max()
        assert (along.checks["completeness_gap"] < 0.05 * covered).all()


@pytest.mark.parametrize("name", NETS)
def test_exports_for_one_row(name: str, exported: Loaded) -> None:
    model, output = exported(name, "script17", 1), NETS[name].outputs[-1]
    _, _, single = backward(name, output, torch.float32)
    _, _, double = backward(name, output, torch.float64)
    for key, wrt in places(name, output).items():
        found = xgraph.explain(model, feeds(name), "gradient", target(name, output), wrt=wrt)
        assert_as_good(found.values[key], single[key], double[key], key)


def test_samples_that_are_compared_with_each_other_run_alone(exported: Loaded) -> None:
    """CLIP's logits are images times texts: in a batch a row would hold other samples' texts."""
    model = exported("clip", "script17")
    assert [port.shape for port in model.outputs][:2] == [("batch", "batch")] * 2
    assert model.batch == 1
    together = xgraph.explain(model, feeds("clip"), "gradient", 0, wrt="embedding:ids").values["ids"]
    for row in range(ROWS):
        one = {key: value[row : row + 1] for key, value in feeds("clip").items()}
        alone = xgraph.explain(model, one, "gradient", 0, wrt="embedding:ids").values["ids"]
        np.testing.assert_allclose(together[row], alone[0], rtol=FORMULA)
