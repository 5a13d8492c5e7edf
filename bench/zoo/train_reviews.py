"""Train the demo text classifier on the *reviews* data.

    python bench/zoo/train_reviews.py build/reviews_bert.npz

Takes about 4 minutes on one core (`OMP_NUM_THREADS=1`) and goes on from its last checkpoint if interrupted. Trained on
seed 1; of 5000 samples of seed 2, the network that the package ships labels 99.5 % correctly.
`export_reviews.py` turns the weights into the models that the package ships.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import paddle
from fit import fit, save_weights
from numpy.typing import NDArray
from paddle import nn
from reviews import IDS, MASK, SENTIMENT, UNK, make
from reviews_bert import ReviewsBERT

TRAIN_SEED, TEST_SEED = 1, 2
HIDDEN = 0.1
"""Share of training sentences that lose all their sentiment words, and of other words that are hidden."""

_KEPT = [IDS[word] for word in ("[PAD]", "[CLS]", "[SEP]", "but", "although", "not", "never", "hardly", ",", ".")]
_SENTIMENT = [IDS[word] for word in sorted(SENTIMENT)]


def hide(
    ids: NDArray[np.int64], labels: NDArray[np.int64], random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Hide some words behind [MASK] and [UNK], so that the network learns that these say nothing.

    Args:
        ids: Tokens `(N, sequence)`.
        labels: Classes `(N,)`.
        random: Source of chance.

    Returns:
        Tokens, and target probabilities `(N, 2)`: even for those sentences that lost all their sentiment words.
    """
    sentiment = np.isin(ids, _SENTIMENT)
    lost = random.random(len(ids)) < HIDDEN
    plain = ~sentiment & ~np.isin(ids, _KEPT) & (random.random(ids.shape) < HIDDEN)
    masks = np.where(random.random(ids.shape) < 0.5, IDS[MASK], IDS[UNK])
    targets = np.where(lost[:, None], 0.5, np.eye(2)[labels] * 0.96 + 0.02)
    return np.where(plain | (sentiment & lost[:, None]), masks, ids), targets.astype(np.float32)


def train(samples: int, steps: int, batch: int, rate: float, checkpoint: Path) -> ReviewsBERT:
    """Train a network on sentences some of whose words are hidden.

    Args:
        samples: Size of the training set.
        steps: How many batches to learn from.
        batch: Samples per step.
        rate: Peak learning rate.
        checkpoint: File for the state of an unfinished run.

    Returns:
        The network, in evaluation mode.
    """
    paddle.seed(0)
    ids, mask, labels, _ = make(TRAIN_SEED, samples)
    test = make(TEST_SEED, 1000)[:3]
    net = ReviewsBERT()

    def loss(random: np.random.Generator) -> paddle.Tensor:
        chosen = random.integers(samples, size=batch)
        tokens, targets = hide(ids[chosen], labels[chosen], random)
        scores = net(paddle.to_tensor(tokens), paddle.to_tensor(mask[chosen]))
        return nn.functional.cross_entropy(scores, paddle.to_tensor(targets), soft_label=True)

    fit(net, loss, lambda: accuracy(net, *test), steps=steps, rate=rate, checkpoint=checkpoint, report=250)
    return net


def accuracy(net: ReviewsBERT, ids: NDArray[np.int64], mask: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """Return the share of sentences that the network labels correctly."""
    right = 0
    with paddle.no_grad():
        for i in range(0, len(ids), 250):
            part = slice(i, i + 250)
            scores = net(paddle.to_tensor(ids[part]), paddle.to_tensor(mask[part])).numpy()
            right += int((scores.argmax(1) == labels[part]).sum())
    return right / len(ids)


def main() -> None:
    """Train, test and save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("weights", type=Path, help="where to write the weights (.npz)")
    parser.add_argument("--samples", type=int, default=30_000)
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3)
    given = parser.parse_args()
    checkpoint = given.weights.with_suffix(".checkpoint")
    net = train(given.samples, given.steps, given.batch, given.rate, checkpoint)
    held_out = accuracy(net, *make(TEST_SEED, 5000)[:3])
    print(f"{sum(p.size for p in net.parameters())} parameters, held-out {held_out:.2%}")
    save_weights(net, given.weights)


if __name__ == "__main__":
    main()
