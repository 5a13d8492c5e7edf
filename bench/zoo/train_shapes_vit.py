"""Train the demo vision transformer on the *shapes* data.

    python bench/zoo/train_shapes_vit.py build/shapes_vit.npz

Takes about 20 minutes on one core (`OMP_NUM_THREADS=1`) and goes on from its last checkpoint if interrupted. Trained on
seed 1; of 5000 samples of seed 2, the network that the package ships labels 97.4 % correctly.
`export_shapes.py --model shapes_vit` turns the weights into the models that the package ships.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import paddle
from fit import fit, save_weights
from paddle import nn
from shapes import make
from shapes_vit import ShapesViT
from train_shapes import TEST_SEED, TRAIN_SEED, accuracy, flip, normalise


def train(samples: int, steps: int, batch: int, rate: float, checkpoint: Path) -> ShapesViT:
    """Train a network on flipped and transposed samples with smoothed labels.

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
    images, labels, _ = make(TRAIN_SEED, samples)
    test_images, test_labels, _ = make(TEST_SEED, 1000)
    net = ShapesViT()

    def loss(random: np.random.Generator) -> paddle.Tensor:
        chosen = random.integers(samples, size=batch)
        target = nn.functional.label_smooth(nn.functional.one_hot(paddle.to_tensor(labels[chosen]), 8))
        # Each quarter of the batch is flipped in its own way, so that no step sees a single orientation.
        quarters = [flip(images[part], random) for part in np.array_split(chosen, 4)]
        scores = net(paddle.to_tensor(normalise(np.concatenate(quarters))))
        return nn.functional.cross_entropy(scores, target, soft_label=True)

    fit(
        net,
        loss,
        lambda: accuracy(net, test_images, test_labels),
        steps=steps,
        rate=rate,
        checkpoint=checkpoint,
        report=250,
    )
    return net


def main() -> None:
    """Train, test and save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("weights", type=Path, help="where to write the weights (.npz)")
    parser.add_argument("--samples", type=int, default=24_000)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3)
    given = parser.parse_args()
    checkpoint = given.weights.with_suffix(".checkpoint")
    net = train(given.samples, given.steps, given.batch, given.rate, checkpoint)
    images, labels, _ = make(TEST_SEED, 5000)
    print(f"{sum(p.size for p in net.parameters())} parameters, held-out {accuracy(net, images, labels):.2%}")
    save_weights(net, given.weights)


if __name__ == "__main__":
    main()
