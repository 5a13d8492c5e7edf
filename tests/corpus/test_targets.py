"""Targets on outputs of every shape, against torch's autograd: maps, boxes, positions, single numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from e2e.closeness import assert_as_good, distance
from tolerances import IMPORT

import xgraph
from xgraph import Target
from xgraph.errors import TargetError

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

pytestmark = pytest.mark.torch

ROWS, SIDE, CLASSES, TOKENS, WORDS = 3, 12, 4, 5, 20


class Vision(nn.Module):
    """One backbone with the heads of a segmenter, a detector, a depth estimator and regressors."""

    outputs = ("classes", "map", "softmap", "boxes", "scores", "depth", "number", "column", "numbers")

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.GELU(), nn.Conv2d(8, 8, 3, padding=1), nn.Tanh())
        self.map, self.depth = nn.Conv2d(8, CLASSES, 1), nn.Conv2d(8, 1, 1)
        self.box, self.score = nn.Conv2d(8, 4, 1), nn.Conv2d(8, CLASSES, 1)
        self.head, self.number = nn.Linear(8, CLASSES), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.body(x)
        pooled, found = x.mean((2, 3)), self.map(x)
        maps = F.interpolate(found, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        boxes, scores = (head(x).flatten(2).transpose(1, 2) for head in (self.box, self.score))
        number, depth = self.number(pooled), self.depth(x)[:, 0]
        return (
            *(F.softmax(self.head(pooled), dim=1), maps, F.softmax(found, dim=1), boxes, torch.sigmoid(scores)),
            *(depth, number[:, 0], number, pooled),
        )


class Tagger(nn.Module):
    """A class per token, behind Softmax, and one number per sentence."""

    outputs = ("tags", "length")

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 8)
        self.mix, self.head, self.length = nn.Linear(8 * TOKENS, 8 * TOKENS), nn.Linear(8, CLASSES), nn.Linear(8, 1)

    def forward(self, ids: Tensor) -> tuple[Tensor, ...]:
        x = torch.tanh(self.mix(self.words(ids).flatten(1))).reshape(-1, TOKENS, 8)
        return F.softmax(self.head(x), dim=-1), self.length(x.mean(1))[:, 0]


class Mixed(nn.Module):
    """Class numbers, which nobody can differentiate, in front of what can be."""

    outputs = ("winner", "logits")

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, CLASSES)

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        logits = self.head(torch.tanh(features))
        return logits.argmax(1), logits


NETS: Mapping[str, tuple[Callable[[], nn.Module], Callable[[], Tensor], str]] = {
    "vision": (Vision, lambda: torch.randn(ROWS, 3, SIDE, SIDE), "image"),
    "tagger": (Tagger, lambda: torch.randint(0, WORDS, (ROWS, TOKENS)), "ids"),
    "mixed": (Mixed, lambda: torch.randn(ROWS, 6), "features"),
}
MASK = np.zeros((SIDE, SIDE), bool)
MASK[2:7, 3:9] = True
SMALL = np.linspace(0, 1, 36, dtype=np.float32).reshape(6, 6)
Pick = Callable[[Tensor], Tensor]
CASES: dict[str, tuple[str, Target, Pick]] = {
    "pixel": ("vision", Target.pixel(2, 5, 7, output="map"), lambda y: y[:, 2, 5, 7]),
    "region": ("vision", Target.region(1, MASK, output="map"), lambda y: (y[:, 1] * torch.tensor(MASK)).sum((1, 2))),
    "contrast of pixels": (
        "vision",
        Target.contrast((1, 5, 7), (3, 5, 7), output="map"),
        lambda y: y[:, 1, 5, 7] - y[:, 3, 5, 7],
    ),
    "pixel before softmax": ("vision", Target.pixel(2, 1, 4, output="softmap"), lambda y: y[:, 2, 1, 4]),
    "region before softmax": (
        "vision",
        Target.region(0, SMALL, output="softmap"),
        lambda y: (y[:, 0] * torch.tensor(SMALL)).sum((1, 2)),
    ),
    "a side of a box": ("vision", Target.index((11, 2), output="boxes"), lambda y: y[:, 11, 2]),
    "box": ("vision", Target.box(17, 3, output="scores"), lambda y: y[:, 17, 3]),
    "contrast of boxes": (
        "vision",
        Target.contrast((17, 3), (4, 3), output="scores"),
        lambda y: y[:, 17, 3] - y[:, 4, 3],
    ),
    "depth": ("vision", Target.index((2, 3), output="depth"), lambda y: y[:, 2, 3]),
    "region of depth": (
        "vision",
        Target.region(0, SMALL, output="depth"),
        lambda y: (y * torch.tensor(SMALL)).sum((1, 2)),
    ),
    "a number per row": ("vision", Target.index(0, output="number"), lambda y: y),
    "predicted of one number": ("vision", Target.top(output="number"), lambda y: y),
    "a column": ("vision", Target.index(0, output="column"), lambda y: y[:, 0]),
    "one of several numbers": ("vision", Target.index(5, output="numbers"), lambda y: y[:, 5]),
    "first output": ("vision", Target.index(1), lambda y: y[:, 1]),
    "contrast": ("vision", Target.contrast(3, 0), lambda y: y[:, 3] - y[:, 0]),
    "one class per row": ("vision", Target.per_row([3, 0, 1]), lambda y: y[range(ROWS), [3, 0, 1]]),
    "a position": ("tagger", Target.index((4, 2)), lambda y: y[:, 4, 2]),
    "contrast of tags": ("tagger", Target.contrast((1, 2), (1, 0)), lambda y: y[:, 1, 2] - y[:, 1, 0]),
    "a number from tokens": ("tagger", Target.index(0, output="length"), lambda y: y),
    "first float output": ("mixed", Target.index(2), lambda y: y[:, 2]),
}
HEADS = {"classes": 1, "softmap": 1, "tags": -1, "map": 1, "logits": 1}
"""Class axes; ``scores`` are sigmoids."""


def build(name: str, dtype: Any) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(3)
    make, draw, _ = NETS[name]
    model, x = make(), draw()
    return model.to(dtype).eval(), x.to(dtype) if x.is_floating_point() else x


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, xgraph.Model]:
    folder, found = tmp_path_factory.mktemp("targets"), {}
    for name, (_, _, key) in NETS.items():
        model, x = build(name, torch.float32)
        names: Any = list(model.outputs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns about itself
            torch.onnx.export(
                model, (x,), folder / f"{name}.onnx", dynamo=False, opset_version=17, input_names=[key],
                output_names=names, dynamic_axes={each: {0: "batch"} for each in (key, *names)},
            )  # fmt: skip
        found[name] = xgraph.load(folder / f"{name}.onnx")
    return found


def explained(output: str, y: Tensor, of: str) -> Tensor:
    """Returns logits, probabilities or losses, from sigmoids or from logits."""
    if output == "scores":
        return {"logit": torch.logit, "probability": lambda p: p, "loss": lambda p: -p.log()}[of](y)
    if of == "logit":
        return y
    logs = F.log_softmax(y, HEADS[output])
    return logs.exp() if of == "probability" else -logs


def backward(name: str, target: Target, pick: Pick, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns scores and gradient at the input or the embedding."""
    model, x = build(name, dtype)
    output = target.output or next(o for o in model.outputs if o != "winner")
    seen: dict[str, Tensor] = {}

    def keep(key: str) -> Callable[..., None]:
        return lambda _module, _arguments, value: seen.__setitem__(key, value)

    heads = {"classes": "head", "softmap": "map", "tags": "head"}
    if output in heads:
        model.get_submodule(heads[output]).register_forward_hook(keep("logits"))
    if name == "tagger":
        model.words.register_forward_hook(keep("place"))
    else:
        seen["place"] = x.requires_grad_()
    y = dict(zip(model.outputs, model(x), strict=True))[output]
    if output in heads:
        y = seen["logits"]
    scores = pick(explained(output, y, target.of))
    (gradient,) = torch.autograd.grad(scores.sum(), seen["place"])
    return scores.detach().numpy(), gradient.numpy()


def feeds(name: str) -> dict[str, np.ndarray]:
    return {NETS[name][2]: build(name, torch.float32)[1].numpy()}


DEFINED = [
    (case, of)
    for case, (name, target, _) in CASES.items()
    for of in ("logit", "probability", "loss")
    if of == "logit" or target.output in ("map", "softmap", "scores") or (target.output is None and name != "mixed")
]


@pytest.mark.parametrize(("case", "of"), DEFINED)
def test_gradient_is_as_good_as_torchs(case: str, of: Any, models: Any) -> None:
    name, target, pick = CASES[case]
    target = Target(target.kind, target.value, target.output, of)
    (_, single), (scores, double) = (backward(name, target, pick, dtype) for dtype in (torch.float32, torch.float64))
    found = xgraph.explain(models[name], feeds(name), "gradient", target)
    assert distance(found.scores, scores) < IMPORT
    assert_as_good(found.values[NETS[name][2]], single, double, case)


@pytest.mark.parametrize("case", ["region", "box", "contrast of pixels", "a position", "a number per row", "depth"])
def test_methods_that_sample_take_the_same_targets(case: str, models: Any) -> None:
    name, target, pick = CASES[case]
    _, double = backward(name, target, pick, torch.float64)
    key = NETS[name][2]
    smooth = xgraph.explain(models[name], feeds(name), "smooth_grad", target, samples=4, noise=1e-4)
    assert distance(smooth.values[key], double) < 1e-2
    along = xgraph.explain(models[name], feeds(name), "integrated_gradients", target, steps=32)
    assert (along.checks["completeness_gap"] < 0.02 * np.abs(along.checks["score_difference"]).max()).all()


@pytest.mark.parametrize("case", ["region", "contrast of boxes", "a number per row", "one class per row"])
def test_a_saved_program_takes_the_same_targets(case: str, models: Any, tmp_path: Path) -> None:
    import onnxruntime

    name, target, _ = CASES[case]
    path = xgraph.compile(models[name], "gradient", target=target).save(tmp_path / "program.onnx")
    session = onnxruntime.InferenceSession(path)
    asked = {port.name for port in session.get_inputs()} - set(feeds(name))
    assert asked == {"xg_seed" if target.seed == "given" else "xg_target"}
    shape = {"map": (ROWS, CLASSES, SIDE, SIDE), "scores": (ROWS, 36, CLASSES)}.get(target.output or "")
    seed = target.seeds(shape) if shape else target.classes(ROWS, CLASSES)
    (found,) = session.run(["xg_attribution"], {**feeds(name), asked.pop(): seed})
    expected = xgraph.explain(models[name], feeds(name), "gradient", target).values[NETS[name][2]]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Target.index(0, output="number", of="probability"), "one number per row"),
        (Target.index(1, output="number"), "target 1 does not exist"),
        (Target.contrast(0, 1, output="map"), r"give the two entries: Target\.contrast"),
        (Target.contrast((0, 0, 0), (9, 0, 0), output="map"), r"no entry \[9, 0, 0\]"),
        (Target.contrast((0, 1), (1, 1)), r"no entry \[0, 1\]"),
        (Target.region(1, SMALL, output="depth"), "target 1 does not exist"),
        (Target.region(0, MASK, output="softmap"), "must have the output's height and width"),
        (Target.box(36, 0, output="scores"), r"no entry \[36, 0\]"),
        (Target.index(0, output="masks"), "no output 'masks'"),
        (Target.index((1, 2), output="boxes", of="probability"), "its class axis is not known|not defined"),
    ],
)
def test_refused(target: Target, message: str, models: Any) -> None:
    with pytest.raises(TargetError, match=message):
        xgraph.explain(models["vision"], feeds("vision"), "gradient", target)


def test_class_numbers_are_refused_by_name(models: Any) -> None:
    with pytest.raises(TargetError, match="only float outputs"):
        xgraph.explain(models["mixed"], feeds("mixed"), "gradient", Target.index(0, output="winner"))
