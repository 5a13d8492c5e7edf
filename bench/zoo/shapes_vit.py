"""The demo vision transformer: for the *shapes* data, for Paddle 2.6 and 3.x alike.

Built the usual way: patch embedding, a class token expanded to the batch, learnt positions, blocks that
normalise first and attend through one fused query-key-value projection, and logits without a softmax.
Patches are 8 pixels apart, embedded by four convolutions rather than one, since those learn far faster from little
data.
"""

from __future__ import annotations

import paddle
from paddle import nn
from shapes import CLASSES, SIZE

PATCH = 8
TOKENS = (SIZE // PATCH) ** 2 + 1
"""Length of the sequence: the class token, then the patches row by row."""


def _convolve(inputs: int, outputs: int, stride: int) -> list[nn.Layer]:
    """Return the layers of a convolution that is normalised and rectified."""
    convolution = nn.Conv2D(inputs, outputs, 3, stride, padding=1, bias_attr=False)
    return [convolution, nn.BatchNorm2D(outputs), nn.ReLU()]


class Attention(nn.Layer):  # type: ignore[misc]
    """Multi-head self-attention with one projection for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.softmax = nn.Softmax(axis=-1)
        self.project = nn.Linear(width, width)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Map `(N, tokens, width)` to the same shape."""
        tokens, width = x.shape[1:]
        qkv = self.qkv(x).reshape((-1, tokens, 3, self.heads, width // self.heads)).transpose((2, 0, 3, 1, 4))
        query, key, value = qkv.unbind(0)  # indexing would do, but its gradient takes thrice as long
        weights = self.softmax(query.matmul(key.transpose((0, 1, 3, 2))) * self.scale)
        return self.project(weights.matmul(value).transpose((0, 2, 1, 3)).reshape((-1, tokens, width)))


class Block(nn.Layer):  # type: ignore[misc]
    """Attention and a two-layer perceptron, each behind its normalisation and around a shortcut."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, epsilon=1e-6)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, epsilon=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Map `(N, tokens, width)` to the same shape."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ShapesViT(nn.Layer):  # type: ignore[misc]
    """Convolutional patch embedding, class token, three blocks and a linear head on the class token."""

    def __init__(self, width: int = 64, heads: int = 4, hidden: int = 128, depth: int = 3) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            *_convolve(3, 16, 2), *_convolve(16, 32, 2), *_convolve(32, width, 2), nn.Conv2D(width, width, 3, padding=1)
        )
        spread = nn.initializer.TruncatedNormal(std=0.02)
        self.token = self.create_parameter([1, 1, width], default_initializer=spread)
        self.positions = self.create_parameter([1, TOKENS, width], default_initializer=spread)
        self.blocks = nn.LayerList([Block(width, heads, hidden) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, epsilon=1e-6)
        self.head = nn.Linear(width, len(CLASSES))

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        """Return the classes' scores before the softmax, `(N, 8)`, for normalised images `(N, 3, 64, 64)`."""
        x = self.embed(image).flatten(2).transpose((0, 2, 1))
        x = paddle.concat([self.token.expand([x.shape[0], -1, -1]), x], axis=1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])
