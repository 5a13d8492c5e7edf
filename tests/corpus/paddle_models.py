"""Every family of ``paddle.vision.models``, and the other kinds of net that Paddle deploys, at sizes that run quickly.

Weights keep activations of order 1, and running statistics are those of the inputs: a freshly made MobileNet returns
1e-7, where any tolerance passes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import paddle
from data import paddle_zoo
from e2e.models_paddle import calibrate, draw
from paddle import nn
from paddle.nn import functional as F
from paddle.static import InputSpec

CLASSES = 5
CHOSEN = 3
"""The class that is explained."""
Outputs = paddle.Tensor | list[paddle.Tensor] | tuple[paddle.Tensor, ...]


def of_class(outputs: Outputs) -> paddle.Tensor:
    """Returns each row's score of the class that is explained."""
    return (outputs if isinstance(outputs, paddle.Tensor) else outputs[0])[:, CHOSEN]


@dataclass(frozen=True)
class Case:
    """A model, its inputs and the number of each row that is explained."""

    make: Callable[[], nn.Layer]
    inputs: Mapping[str, tuple[tuple[int, ...], str]]
    """Shape behind the batch, and dtype."""
    score: Callable[[Outputs], paddle.Tensor] = of_class

    def specs(self) -> list[InputSpec]:
        return [InputSpec([None, *shape], dtype, name) for name, (shape, dtype) in self.inputs.items()]

    def feeds(self, rows: int) -> dict[str, np.ndarray]:
        random = np.random.Generator(np.random.Philox(11))
        return {name: _array(random, (rows, *shape), dtype) for name, (shape, dtype) in self.inputs.items()}

    def build(self) -> nn.Layer:
        paddle.seed(0)
        model = self.make()
        draw(model)
        model.eval()
        calibrate(model, [paddle.to_tensor(value) for value in self.feeds(8).values()])
        return model

    def explained(self, model: nn.Layer, feeds: Mapping[str, np.ndarray]) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Returns what is explained, the first input, and each row's score."""
        leaf, *others = (paddle.to_tensor(value) for value in feeds.values())
        leaf = leaf.astype(next(iter(model.parameters())).dtype)
        leaf.stop_gradient = False
        return leaf, self.score(model(leaf, *others))


class Text(Case):
    """The encoder of ``paddle_zoo``: token ids and a mask; what is explained are the word embeddings."""

    def specs(self) -> list[InputSpec]:
        return paddle_zoo.TEXT

    def feeds(self, rows: int) -> dict[str, np.ndarray]:
        return paddle_zoo.feeds("bert", rows, length=16)

    def build(self) -> nn.Layer:
        return paddle_zoo.build("bert")[0]

    def explained(self, model: nn.Layer, feeds: Mapping[str, np.ndarray]) -> tuple[paddle.Tensor, paddle.Tensor]:
        ids, mask = (paddle.to_tensor(value) for value in feeds.values())
        words = model.words(ids).detach()
        words.stop_gradient = False
        return words, self.score(model.after_embedding(words, ids, mask))


def _array(random: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if dtype == "float32":
        return random.standard_normal(shape).astype(np.float32)
    return 1 + (STEPS - 1 - np.arange(shape[0])) % STEPS  # lengths of sequences, the longest first


class WithHead(nn.Layer):
    """Features whose own classifier is millions of weights wide, with a small one instead."""

    def __init__(self, features: nn.Layer, width: int) -> None:
        super().__init__()
        self.features, self.head = features, nn.Linear(width, CLASSES)

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        return self.head(paddle.flatten(self.features(image), 1))


class Block(nn.Layer):
    def __init__(self, inputs: int, outputs: int, stride: int = 1, activation: type[nn.Layer] = nn.ReLU) -> None:
        super().__init__()
        self.conv = nn.Conv2D(inputs, outputs, 3, stride, 1, bias_attr=False)
        self.norm, self.activation = nn.BatchNorm2D(outputs), activation()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.activation(self.norm(self.conv(x)))


class Segmenter(nn.Layer):
    """U-Net: halved twice and back by a transposed convolution and by interpolation, with a pyramid pool below."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = Block(3, 8), Block(8, 12), Block(12, 16)
        self.pyramid = nn.AdaptiveAvgPool2D(3)  # of 8 x 8: windows of different sizes
        self.up = nn.Conv2DTranspose(16, 12, 2, 2)
        self.inner, self.outer = Block(24, 12), Block(20, 8)
        self.head = nn.Conv2D(8, CLASSES, 1)

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        first = self.first(image)
        second = self.second(F.max_pool2d(first, 2))
        third = self.third(F.max_pool2d(second, 2))
        third = third + F.interpolate(self.pyramid(third), size=third.shape[2:], mode="bilinear")
        inner = self.inner(paddle.concat([self.up(third), second], 1))
        wide = F.interpolate(inner, scale_factor=2, mode="bilinear", align_corners=True)
        return self.head(self.outer(paddle.concat([wide, first], 1)))


class Detector(nn.Layer):
    """One-stage head at two strides: decoded boxes (N, places, 4) and class scores (N, places, classes)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(Block(3, 8, 2, nn.LeakyReLU), Block(8, 12, 2, nn.Hardswish))
        self.deep = nn.Sequential(Block(12, 16, 2, nn.Mish), nn.MaxPool2D(5, 1, 2))
        self.neck = Block(28, 16)
        self.boxes, self.scores = (nn.LayerList([nn.Conv2D(16, width, 1) for _ in "ab"]) for width in (4, CLASSES))

    def forward(self, image: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        shallow = self.stem(image)
        deep = self.deep(shallow)
        fused = self.neck(paddle.concat([F.interpolate(deep, scale_factor=2, mode="nearest"), shallow], 1))
        boxes, scores = [], []
        for level, (maps, stride) in enumerate(((fused, 4), (deep, 8))):
            side = maps.shape[2]
            y, x = paddle.meshgrid(paddle.arange(side, dtype=maps.dtype), paddle.arange(side, dtype=maps.dtype))
            middle = (paddle.stack([x, y], -1).reshape([1, -1, 2]) + 0.5) * stride
            raw = self.boxes[level](maps).flatten(2).transpose([0, 2, 1])
            size = paddle.exp(paddle.clip(raw[:, :, 2:], -4, 4)) * stride
            boxes.append(paddle.concat([middle + raw[:, :, :2] * stride - size / 2, middle + size / 2], -1))
            scores.append(F.sigmoid(self.scores[level](maps)).flatten(2).transpose([0, 2, 1]))
        return paddle.concat(boxes, 1), paddle.concat(scores, 1)


class Recurrent(nn.Layer):
    """Two layers in both directions; ends in the mean over time, or over each row's own length, and the last state."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.net = getattr(nn, kind)(6, 8, 2, "bidirect")
        self.head = nn.Linear(24, CLASSES)

    def forward(self, sequence: paddle.Tensor) -> paddle.Tensor:
        return self.classify(sequence, None)

    def classify(self, sequence: paddle.Tensor, lengths: paddle.Tensor | None) -> paddle.Tensor:
        steps, last = self.net(sequence, sequence_length=lengths)
        last = last[1] if isinstance(last, tuple) else last  # the cell of an LSTM
        return self.head(paddle.concat([steps.mean(1), last[2]], 1))


class WithLengths(Recurrent):
    def forward(self, sequence: paddle.Tensor, seq_len: paddle.Tensor) -> paddle.Tensor:
        return self.classify(sequence, seq_len)


def vision(name: str, size: int, channels: int = 3, **options: float) -> Case:
    options = {"num_classes": CLASSES, **options}
    make = getattr(paddle.vision.models, name)
    return Case(partial(make, **options), {"image": ((channels, size, size), "float32")})


def headless(name: str, size: int, width: int) -> Case:
    make = getattr(paddle.vision.models, name)
    return Case(lambda: WithHead(make(num_classes=0), width), {"image": ((3, size, size), "float32")})


def residual(size: int, **options: int) -> Case:
    """Returns a ResNet of bottlenecks, of half the usual depth: 50 layers meet too many kinks to compare gradients."""
    from paddle.vision.models.resnet import BottleneckBlock, ResNet

    make = partial(ResNet, BottleneckBlock, 18, num_classes=CLASSES, **options)
    return Case(make, {"image": ((3, size, size), "float32")})


STEPS = 7
IMAGE = {"image": ((3, 32, 32), "float32")}
SEQUENCE = {"sequence": ((STEPS, 6), "float32")}
LENGTHS = {**SEQUENCE, "seq_len": ((), "int64")}
CASES: Mapping[str, Case] = {
    "lenet": vision("LeNet", 28, 1),
    "alexnet": headless("alexnet", 80, 256),
    "vgg11": headless("vgg11", 32, 25088),
    "resnet18": vision("resnet18", 48),
    "resnext": residual(32, width=16, groups=8),
    "wide_resnet": residual(32, width=96),
    "densenet121": vision("densenet121", 32),
    "googlenet": vision("googlenet", 192),
    "inception_v3": vision("inception_v3", 80),
    "mobilenet_v1": vision("mobilenet_v1", 48, scale=0.25),
    "mobilenet_v2": vision("mobilenet_v2", 48, scale=0.25),
    "mobilenet_v3_small": vision("mobilenet_v3_small", 64),
    "mobilenet_v3_large": vision("mobilenet_v3_large", 64),
    "shufflenet_v2": vision("shufflenet_v2_x0_25", 64),
    "squeezenet1_1": vision("squeezenet1_1", 64),
    "segmenter": Case(Segmenter, IMAGE, lambda outputs: outputs[:, CHOSEN, 7, 9]),
    "detector": Case(Detector, IMAGE, lambda outputs: outputs[1][:, 37, CHOSEN]),
    "lstm": Case(lambda: Recurrent("LSTM"), SEQUENCE),
    "gru": Case(lambda: Recurrent("GRU"), SEQUENCE),
    "lstm_lengths": Case(lambda: WithLengths("LSTM"), LENGTHS),
    "gru_lengths": Case(lambda: WithLengths("GRU"), LENGTHS),
    "bert": Text(paddle_zoo.Bert, {}),
}
