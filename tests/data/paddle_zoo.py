"""Small Paddle models for the tests, the same under Paddle 2.6 and 3.3.

Each has ``logits``, which its ``forward`` ends in or applies a softmax to. Weights are drawn so that logits
are of order 1, and every scale, shift and running statistic differs from its default: a converter or a
gradient that ignores one is found out.
"""

from __future__ import annotations

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F
from paddle.static import InputSpec

CLASSES = 5


class ConvNet(nn.Layer):
    """Residual, pooled, ends in Softmax."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2D(3, 8, 3, padding=1, bias_attr=False), nn.BatchNorm2D(8), nn.ReLU(), nn.MaxPool2D(2)
        )
        self.body = nn.Sequential(
            nn.Conv2D(8, 8, 3, padding=1, groups=8),
            nn.BatchNorm2D(8),
            nn.ReLU(),
            nn.Conv2D(8, 8, 1),
            nn.BatchNorm2D(8),
        )
        self.reduce = nn.Conv2D(8, 12, 3, stride=2, padding=1)
        self.pool = nn.AdaptiveAvgPool2D(1)
        self.head = nn.Linear(12, CLASSES)

    def logits(self, image):
        x = self.stem(image)
        x = F.relu(x + self.body(x))
        x = self.pool(F.relu(self.reduce(x)))
        return self.head(paddle.flatten(x, 1))

    def forward(self, image):
        return F.softmax(self.logits(image))


class DoubleAttributes(nn.Layer):
    """The layers whose attributes Paddle 3.3 writes as double."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2D(3, 8, 3, padding=1)
        self.leaky = nn.LeakyReLU(0.3)
        self.norm = nn.GroupNorm(4, 8, epsilon=0.1)
        self.head = nn.Linear(8, CLASSES)

    def logits(self, image):
        x = self.norm(self.leaky(self.conv(image)))
        return self.head(self.leaky(x).mean([2, 3]))

    def forward(self, image):
        return self.logits(image)


class Quirks(nn.Layer):
    """GELU in its tanh form, which converters take for the other one, and a norm over two axes."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm([7, 6])
        self.hidden = nn.Linear(6, 12)
        self.gelu = nn.GELU(approximate=True)
        self.head = nn.Linear(12, CLASSES)

    def logits(self, sequence):
        return self.head(self.gelu(2 * self.hidden(self.norm(sequence)))[:, 0])

    def forward(self, sequence):
        return self.logits(sequence)


class FusedAttention(nn.Layer):
    """One linear layer makes queries, keys and values."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.each = heads, width // heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x):
        tokens, width = x.shape[1], x.shape[2]
        qkv = self.qkv(x).reshape([-1, tokens, 3, self.heads, self.each]).transpose([2, 0, 3, 1, 4])
        query, key, value = qkv[0], qkv[1], qkv[2]
        weights = F.softmax(paddle.matmul(query, key.transpose([0, 1, 3, 2])) * self.each**-0.5)
        return self.out(paddle.matmul(weights, value).transpose([0, 2, 1, 3]).reshape([-1, tokens, width]))


class FusedBlock(nn.Layer):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), FusedAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Layer):
    """Class token expanded to a dynamic batch; ends in logits."""

    def __init__(self, blocks):
        super().__init__()
        width = 16
        self.patches = nn.Conv2D(3, width, 4, stride=4)
        normal = nn.initializer.Normal(0.0, 0.5)
        self.token = self.create_parameter([1, 1, width], default_initializer=normal)
        self.position = self.create_parameter([1, 17, width], default_initializer=normal)
        self.blocks = blocks
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, CLASSES)

    def logits(self, image):
        x = self.patches(image).flatten(2).transpose([0, 2, 1])
        x = paddle.concat([self.token.expand([x.shape[0], -1, -1]), x], axis=1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])

    def forward(self, image):
        return self.logits(image)


class Bert(nn.Layer):
    """Token ids and a mask of ones and zeros; post-norm encoder, pooled first token."""

    def __init__(self):
        super().__init__()
        width = 16
        self.words = nn.Embedding(40, width)
        self.positions = nn.Embedding(32, width)
        self.norm = nn.LayerNorm(width)
        layer = nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.0, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.pooler = nn.Linear(width, width)
        self.head = nn.Linear(width, CLASSES)

    def after_embedding(self, words, input_ids, attention_mask):
        ones = paddle.ones_like(input_ids)
        x = self.norm(words + self.positions(paddle.cumsum(ones, axis=1) - ones))
        hidden = (1.0 - paddle.cast(attention_mask, words.dtype).unsqueeze([1, 2])) * -1e4
        x = self.encoder(x, hidden)
        return self.head(paddle.tanh(self.pooler(x[:, 0])))

    def logits(self, input_ids, attention_mask):
        return self.after_embedding(self.words(input_ids), input_ids, attention_mask)

    def forward(self, input_ids, attention_mask):
        return self.logits(input_ids, attention_mask)


class Lstm(nn.Layer):
    """Both directions, averaged over time; ends in logits."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 8, direction="bidirect")
        self.head = nn.Linear(16, CLASSES)

    def logits(self, sequence):
        return self.head(self.lstm(sequence)[0].mean(1))

    def forward(self, sequence):
        return self.logits(sequence)


def vit():
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, activation="gelu", normalize_before=True)
    return VisionTransformer(nn.TransformerEncoder(layer, 2))


def vit_fused():
    return VisionTransformer(nn.Sequential(FusedBlock(16, 2), FusedBlock(16, 2)))


IMAGE = [InputSpec([None, 3, 16, 16], "float32", "image")]
TEXT = [InputSpec([None, None], "int64", "input_ids"), InputSpec([None, None], "int64", "attention_mask")]
SEQUENCE = [InputSpec([None, 7, 6], "float32", "sequence")]
MODELS = {
    "cnn": (ConvNet, IMAGE),
    "vit": (vit, IMAGE),
    "vit_fused": (vit_fused, IMAGE),
    "bert": (Bert, TEXT),
    "lstm": (Lstm, SEQUENCE),
    "double": (DoubleAttributes, IMAGE),
    "quirks": (Quirks, SEQUENCE),
}


def build(name):
    """Returns the seeded model in evaluation mode, and its input specs."""
    make, specs = MODELS[name]
    paddle.seed(0)
    model = make()
    random = np.random.Generator(np.random.Philox(7))
    for key, tensor in sorted(model.state_dict().items()):
        kind, shape = key.rpartition(".")[2], tensor.shape
        if kind == "_variance" or (kind == "weight" and len(shape) == 1):
            tensor.set_value(random.uniform(0.5, 1.5, shape).astype(np.float32))
        elif len(shape) == 1:
            tensor.set_value(random.normal(0.0, 0.3, shape).astype(np.float32))
        elif key.startswith("head."):
            tensor.set_value(random.normal(0.0, 1.5 * shape[0] ** -0.5, shape).astype(np.float32))
    model.eval()
    return model, specs


def feeds(name, batch=3, length=9):
    """Returns seeded inputs; later rows of text are shorter."""
    random = np.random.Generator(np.random.Philox(11))
    if name == "bert":
        mask = (np.arange(length) < length - 2 * np.arange(batch)[:, None]).astype(np.int64)
        return {"input_ids": random.integers(1, 40, (batch, length)) * mask, "attention_mask": mask}
    if MODELS[name][1] is SEQUENCE:
        return {"sequence": random.standard_normal((batch, 7, 6)).astype(np.float32)}
    return {"image": random.standard_normal((batch, 3, 16, 16)).astype(np.float32)}
