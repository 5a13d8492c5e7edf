"""The demo classifier: a small residual network for the *shapes* data, for Paddle 2.6 and 3.x alike."""

from __future__ import annotations

import paddle
from paddle import nn
from shapes import CLASSES


class Block(nn.Layer):  # type: ignore[misc]
    """Two 3x3 convolutions around a shortcut, which is projected where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2D(inputs, outputs, 3, stride, padding=1, bias_attr=False)
        self.bn1 = nn.BatchNorm2D(outputs)
        self.conv2 = nn.Conv2D(outputs, outputs, 3, padding=1, bias_attr=False)
        self.bn2 = nn.BatchNorm2D(outputs)
        self.shortcut = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2D(inputs, outputs, 1, stride, bias_attr=False), nn.BatchNorm2D(outputs)
            )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Map `(N, inputs, H, W)` to `(N, outputs, H / stride, W / stride)`."""
        kept = x if self.shortcut is None else self.shortcut(x)
        x = nn.functional.relu(self.bn1(self.conv1(x)))
        return nn.functional.relu(self.bn2(self.conv2(x)) + kept)


class ShapesCNN(nn.Layer):  # type: ignore[misc]
    """Stem, four residual blocks, global average pooling and a linear head; the last features are 8x8.

    The stem strides at once, since full resolution would cost most of the training time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2D(3, 16, 3, 2, padding=1, bias_attr=False)
        self.bn = nn.BatchNorm2D(16)
        self.layer1 = Block(16, 16, 1)
        self.pool = nn.MaxPool2D(2)
        self.layer2 = Block(16, 32, 1)
        self.layer3 = Block(32, 64, 2)
        self.layer4 = Block(64, 80, 1)
        self.average = nn.AdaptiveAvgPool2D(1)
        self.head = nn.Linear(80, len(CLASSES))

    def logits(self, image: paddle.Tensor) -> paddle.Tensor:
        """Return the scores before the softmax, `(N, 8)`."""
        x = nn.functional.relu(self.bn(self.conv(image)))
        x = self.pool(self.layer1(x))
        x = self.layer4(self.layer3(self.layer2(x)))
        return self.head(paddle.flatten(self.average(x), 1))

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        """Return the classes' probabilities `(N, 8)` for normalised images `(N, 3, 64, 64)`."""
        return nn.functional.softmax(self.logits(image), axis=-1)
