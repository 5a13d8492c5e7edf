"""Paddle models whose outputs are of order 1: what ``paddle.vision`` offers, and the small ones of the other tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import paddle
from data import paddle_zoo
from paddle import nn
from paddle.nn import functional as F
from paddle.static import InputSpec

CLASSES = 5
BATCH_NORMS = (nn.BatchNorm2D, nn.BatchNorm)
"""DenseNet still has the old one."""


class Vgg(nn.Layer):
    """Plain stack of convolutions and pools, flattened into two linear layers; ends in Softmax."""

    def __init__(self) -> None:
        super().__init__()
        widths, layers = (3, 16, 24, 32, 32), []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2D(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2D(2, 2)]
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2D((2, 2))
        self.classifier = nn.Sequential(nn.Linear(128, 48), nn.ReLU(), nn.Dropout(), nn.Linear(48, CLASSES))

    def logits(self, image: paddle.Tensor) -> paddle.Tensor:
        return self.classifier(paddle.flatten(self.pool(self.features(image)), 1))

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        return F.softmax(self.logits(image))


@dataclass(frozen=True)
class Case:
    """A model and where its explanation is checked."""

    last: str | None = None
    """The module whose maps are the last ones; Grad-CAM weighs them by default."""
    size: int = 0
    """Of the square image; 0: a model of ``paddle_zoo`` with feeds of its own."""


MODELS: Mapping[str, Case] = {
    "resnet18": Case("layer4", 64),
    "mobilenet_v2": Case("features", 48),
    "mobilenet_v3_small": Case("lastconv", 64),
    "shufflenet_v2_x0_25": Case("_last_conv", 64),
    "squeezenet1_1": Case(None, 64),
    "vgg": Case("pool", 64),
    "cnn": Case(),
    "vit": Case(),
    "vit_fused": Case(),
    "bert": Case(),
    "lstm": Case(),
    "double": Case(),
    "quirks": Case(),
}


def build(name: str) -> tuple[nn.Layer, list[InputSpec]]:
    """Returns the seeded model in evaluation mode, and its input specs."""
    case = MODELS[name]
    if not case.size:
        model, specs = paddle_zoo.build(name)
        return model, specs
    paddle.seed(0)
    model = _make(name)
    draw(model)
    model.eval()
    calibrate(model, [paddle.to_tensor(candidates(name, 8)["image"])])
    return model, [InputSpec([None, 3, case.size, case.size], "float32", "image")]


def double(name: str, model: nn.Layer) -> nn.Layer:
    """Returns a copy in float64. (``Layer.to`` cannot convert an LSTM.)"""
    paddle.set_default_dtype("float64")
    copy = _make(name)
    copy.set_state_dict({key: value.astype("float64") for key, value in model.state_dict().items()})
    paddle.set_default_dtype("float32")
    copy.eval()
    return copy


def _make(name: str) -> nn.Layer:
    if not MODELS[name].size:
        return paddle_zoo.MODELS[name][0]()
    if name == "vgg":
        return Vgg()
    narrow = {"scale": 0.25} if name.startswith("mobilenet_v2") else {}
    return getattr(paddle.vision.models, name)(num_classes=CLASSES, **narrow)


def draw(model: nn.Layer) -> None:
    """Draws weights that keep the size of activations; scales and shifts differ from their defaults."""
    random = np.random.Generator(np.random.Philox(7))
    for layer in model.sublayers():
        if isinstance(layer, BATCH_NORMS):
            layer.weight.set_value(random.uniform(0.5, 1.5, layer.weight.shape).astype(np.float32))
            layer.bias.set_value(random.normal(0.0, 0.3, layer.bias.shape).astype(np.float32))
        elif isinstance(layer, nn.Conv2D | nn.Linear):
            shape = layer.weight.shape
            summed = shape[0] if isinstance(layer, nn.Linear) else int(np.prod(shape[1:]))
            layer.weight.set_value(random.normal(0.0, (2 / summed) ** 0.5, shape).astype(np.float32))


def calibrate(model: nn.Layer, inputs: Sequence[paddle.Tensor]) -> None:
    """Sets every running statistic to what it is on the inputs, for otherwise deep nets vanish or blow up."""
    norms = [layer for layer in model.sublayers() if isinstance(layer, BATCH_NORMS)]
    for norm in norms:
        norm.train()
        norm._momentum, kept = 0.0, norm._momentum
        norm._kept = kept
    with paddle.no_grad():
        model(*inputs)
    for norm in norms:
        norm._momentum = norm._kept
        norm.eval()


def candidates(name: str, rows: int) -> dict[str, np.ndarray]:
    """Returns seeded inputs."""
    size = MODELS[name].size
    if not size:
        return paddle_zoo.feeds(name, rows)
    random = np.random.Generator(np.random.Philox(11))
    return {"image": random.standard_normal((rows, 3, size, size)).astype(np.float32)}
