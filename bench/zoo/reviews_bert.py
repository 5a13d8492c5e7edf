"""The demo text classifier: a small encoder like BERT for the *reviews* data, for Paddle 2.6 and 3.x alike."""

from __future__ import annotations

import paddle
from paddle import nn
from reviews import LABELS, VOCABULARY

POSITIONS = 32
"""Longest sequence that the network takes."""


class ReviewsBERT(nn.Layer):  # type: ignore[misc]
    """Word and position embeddings, encoder layers that normalise last, a pooler on [CLS] and a linear head."""

    def __init__(self, width: int = 64, heads: int = 4, hidden: int = 128, depth: int = 2) -> None:
        super().__init__()
        self.words = nn.Embedding(len(VOCABULARY), width)
        self.positions = nn.Embedding(POSITIONS, width)
        self.norm = nn.LayerNorm(width, epsilon=1e-12)
        layer = nn.TransformerEncoderLayer(width, heads, hidden, dropout=0.0, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, depth)
        self.pooler = nn.Linear(width, width)
        self.head = nn.Linear(width, len(LABELS))

    def embed(self, ids: paddle.Tensor) -> paddle.Tensor:
        """Return the words' embeddings, `(N, sequence, width)`, positions not yet added."""
        return self.words(ids)

    def classify(self, words: paddle.Tensor, mask: paddle.Tensor) -> paddle.Tensor:
        """Return the classes' scores for words' embeddings."""
        ones = paddle.ones_like(mask)
        places = paddle.cumsum(ones, axis=1) - ones
        bias = (1.0 - paddle.cast(mask, "float32").unsqueeze([1, 2])) * -1e4
        x = self.encoder(self.norm(words + self.positions(places)), bias)
        return self.head(paddle.tanh(self.pooler(x[:, 0])))

    def forward(self, ids: paddle.Tensor, mask: paddle.Tensor) -> paddle.Tensor:
        """Return the classes' scores before the softmax, `(N, 2)`.

        Args:
            ids: Tokens as int64 `(N, sequence)`, the first of each row [CLS].
            mask: 1 at tokens and 0 at padding, int64 `(N, sequence)`.
        """
        return self.classify(self.embed(ids), mask)
