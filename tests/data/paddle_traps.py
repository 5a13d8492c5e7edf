"""Small Paddle models that converters get wrong without a word or do not take, the same under Paddle 2.6 and 3.3."""

from __future__ import annotations

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F
from paddle.static import InputSpec


class Pools(nn.Layer):
    """Adaptive pools whose windows differ in size, of an image and of a sequence."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2D(3, 4, 3, padding=1)
        self.mean, self.most = nn.AdaptiveAvgPool2D(7), nn.AdaptiveMaxPool2D((3, 5))
        self.line = nn.AdaptiveAvgPool1D(9)

    def forward(self, image):
        x = self.stem(image)
        return self.mean(x), self.most(x), self.line(x.flatten(2))


class Activations(nn.Layer):
    """What the converter does not know, and a HardTanh of other bounds than its default."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(6, 6)

    def forward(self, sequence):
        x = 2 * self.mix(sequence)
        return F.celu(x, 0.7), F.hardtanh(x, -0.5, 0.7), F.softplus(x, 2.0, 5.0), 1 / (1 + paddle.expm1(x))


class Rearranged(nn.Layer):
    """Operators of other layouts and shapes than the converter knows."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2D(3, 4, 1)
        self.norm = nn.GroupNorm(2, 4)

    def forward(self, image):
        x = self.mix(image)
        return F.channel_shuffle(F.pixel_unshuffle(x, 2), 4), self.norm(x.flatten(2)), paddle.norm(x, np.inf, axis=1)


class Recurrent(nn.Layer):
    """Lengths per row, last states of both layers and directions, and the plain recurrence."""

    def __init__(self):
        super().__init__()
        self.lstm, self.gru = nn.LSTM(6, 4, 2, "bidirect"), nn.GRU(6, 5)
        self.plain = nn.SimpleRNN(6, 3, direction="bidirect", activation="relu")

    def forward(self, sequence, seq_len):
        steps, (state, cell) = self.lstm(sequence, sequence_length=seq_len)
        others, last = self.gru(sequence, sequence_length=seq_len)
        plain, end = self.plain(sequence)
        return steps, state, cell, others, last, plain, end


class Reversed(nn.Layer):
    """Slices that run backwards: through the first entry, from within, to an end, and along two axes."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(6, 4)

    def forward(self, sequence):
        x = self.mix(sequence)
        return x[:, ::-1], x[:, 4::-2], x[:, 5:1:-2], x[:, 1:6, ::-1], x[:, ::-1, ::-1]


class ComputedEnd(nn.Layer):
    """A slice that runs backwards to where only the feeds tell."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(6, 4)

    def forward(self, sequence):
        return (self.mix(sequence)[:, 5 : paddle.shape(sequence)[1] - 6 : -1],)


IMAGE = [InputSpec([None, 3, 16, 16], "float32", "image")]
SEQUENCE = [InputSpec([None, 7, 6], "float32", "sequence")]
TRAPS = {
    "pools": (Pools, IMAGE),
    "activations": (Activations, SEQUENCE),
    "rearranged": (Rearranged, IMAGE),
    "recurrent": (Recurrent, [*SEQUENCE, InputSpec([None], "int64", "seq_len")]),
    "reversed": (Reversed, SEQUENCE),
    "computed_end": (ComputedEnd, SEQUENCE),
}


def build(name):
    """Returns the seeded model in evaluation mode, and its input specs."""
    make, specs = TRAPS[name]
    paddle.seed(0)
    model = make()
    random = np.random.Generator(np.random.Philox(7))
    for _, tensor in sorted(model.state_dict().items()):
        if str(tensor.dtype).endswith("float32"):
            tensor.set_value(random.normal(0.0, 0.5, tensor.shape).astype(np.float32))
    model.eval()
    return model, specs


def feeds(name, batch=3):
    """Returns seeded inputs; the last row of a sequence is one step long."""
    random = np.random.Generator(np.random.Philox(11))
    found = {}
    for spec in TRAPS[name][1]:
        shape = (batch, *spec.shape[1:])
        found[spec.name] = random.standard_normal(shape).astype(np.float32) if len(shape) > 1 else np.array([7, 4, 1])
    return found
