"""Small seeded torch models of every kind of input, with no scale or shift at its default."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

CLASSES, TOKENS, VOCABULARY = 5, 6, 20


class SmallCnn(nn.Module):
    """Conv-BN-ReLU, max pool, a residual block, global average pooling, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.pool = nn.MaxPool2d(2)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.act = nn.ReLU()
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.stem(x))
        return self.head(self.act(x + self.block(x)).mean((2, 3)))


class FlatCnn(nn.Module):
    """Flattens its maps into two linear layers, so that every position has its own gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.SiLU(), nn.AvgPool2d(2))
        self.hidden = nn.Sequential(nn.Linear(64, 8), nn.Tanh())
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(self.conv(x).flatten(1)))


class Tokens(nn.Module):
    """Embeds, mixes features, averages over tokens, classifies."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, 6)
        self.mix = nn.Linear(6, 8)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.tanh(self.mix(self.words(ids))).mean(1))


class Mlp(nn.Module):
    """Eight features, two hidden layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(8, 12), nn.ReLU())
        self.second = nn.Sequential(nn.Linear(12, 10), nn.Sigmoid())
        self.head = nn.Linear(10, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x)))


class Linear(nn.Module):
    """z = W x + c."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)


class Quadratic(nn.Module):
    """z = V (W x)² + c, the square taken entry by entry: its gradient is linear along any path."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(8, 6, bias=False), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.head(y * y)


NETS: dict[str, Callable[[], nn.Module]] = {
    "cnn": SmallCnn,
    "flat": FlatCnn,
    "tokens": Tokens,
    "mlp": Mlp,
    "linear": Linear,
    "quadratic": Quadratic,
}
EXAMPLES = {"cnn": (3, 8, 8), "flat": (3, 8, 8), "tokens": (TOKENS,), "mlp": (8,), "linear": (8,), "quadratic": (8,)}
INPUTS = {"cnn": "image", "flat": "image", "tokens": "ids", "mlp": "x", "linear": "x", "quadratic": "x"}


@cache
def net(name: str) -> nn.Module:
    """Returns the net in evaluation mode; the same one at every call."""
    torch.manual_seed(sorted(NETS).index(name))
    made = NETS[name]().eval()
    with torch.no_grad():
        for key, value in (*made.named_parameters(), *made.named_buffers()):
            if "running_var" in key:
                value.uniform_(0.5, 1.5)
            elif "running_mean" in key:
                value.normal_(0, 0.2)
            elif value.ndim == 1 and value.is_floating_point():
                value.uniform_(-0.3, 0.3).add_(1.0 if key.endswith("1.weight") else 0.0)
            elif key.endswith("head.weight"):
                value.mul_(3)
    return made


def examples(name: str, rows: int = 3) -> Tensor:
    """Returns seeded samples."""
    generator = torch.Generator().manual_seed(11)
    shape = (rows, *EXAMPLES[name])
    if name == "tokens":
        return torch.randint(0, VOCABULARY, shape, generator=generator)
    return torch.randn(shape, generator=generator)


def export(name: str, path: Path) -> Path:
    """Writes the net as ONNX with a free batch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about itself
        torch.onnx.export(
            net(name),
            (examples(name),),
            path,
            dynamo=False,
            opset_version=17,
            input_names=[INPUTS[name]],
            output_names=["logits"],
            dynamic_axes={INPUTS[name]: {0: "batch"}},
        )
    return path
