"""Train the demo classifier on the *shapes* data.

    python bench/zoo/train_shapes.py build/shapes_cnn.npz

Takes some minutes on one core. `export_shapes.py` turns the weights into the models that the package ships.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn
from shapes import make
from shapes_cnn import ShapesCNN

TRAIN_SEED, TEST_SEED = 1, 2
MEAN, STD = 0.5, 0.5


def normalise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn uint8 images `(N, 64, 64, 3)` into the network's input `(N, 3, 64, 64)`."""
    scaled = (images.astype(np.float32) / np.float32(255) - np.float32(MEAN)) / np.float32(STD)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def train(samples: int, epochs: int, batch: int, rate: float) -> ShapesCNN:
    """Train a network, printing its loss and its accuracy on held-out samples after each epoch.

    Args:
        samples: Size of the training set.
        epochs: How often each sample is seen, each time flipped and transposed at random.
        batch: Samples per step.
        rate: Peak learning rate of the one-cycle schedule.

    Returns:
        The network, in evaluation mode.
    """
    paddle.seed(0)
    shuffle = np.random.default_rng(0)
    images, labels, _ = make(TRAIN_SEED, samples)
    test_images, test_labels, _ = make(TEST_SEED, 1000)
    net = ShapesCNN()
    steps = samples // batch
    schedule = paddle.optimizer.lr.OneCycleLR(rate, epochs * steps, phase_pct=0.25)
    optimiser = paddle.optimizer.AdamW(schedule, parameters=net.parameters(), weight_decay=0.01)
    for epoch in range(epochs):
        net.train()
        losses, start = [], time.perf_counter()
        for chosen in shuffle.permutation(samples)[: steps * batch].reshape(steps, batch):
            # Targets are smoothed so that probabilities do not saturate and their gradients do not vanish.
            target = nn.functional.label_smooth(nn.functional.one_hot(paddle.to_tensor(labels[chosen]), 8))
            scores = net.logits(paddle.to_tensor(normalise(flip(images[chosen], shuffle))))
            loss = nn.functional.cross_entropy(scores, target, soft_label=True)
            loss.backward()
            optimiser.step()
            optimiser.clear_grad()
            schedule.step()
            losses.append(float(loss))
        net.eval()
        score = accuracy(net, test_images, test_labels)
        seconds = time.perf_counter() - start
        print(
            f"epoch {epoch + 1}: loss {np.mean(losses):.3f}, held-out {score:.2%}, {seconds:.0f} s",
            flush=True,
        )
    return net


def accuracy(net: nn.Layer, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    """Return the share of images that the network labels correctly."""
    right = 0
    with paddle.no_grad():
        for i in range(0, len(images), 250):
            scores = net(paddle.to_tensor(normalise(images[i : i + 250]))).numpy()
            right += int((scores.argmax(1) == labels[i : i + 250]).sum())
    return right / len(images)


def flip(images: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Flip a batch along a random choice of its axes, under which every shape stays what it is."""
    rows, columns, swap = random.random(3) < 0.5
    images = images[:, :: -1 if rows else 1, :: -1 if columns else 1]
    return images.transpose(0, 2, 1, 3) if swap else images


def main() -> None:
    """Train, test and save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("weights", type=Path, help="where to write the weights (.npz)")
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=4e-3)
    given = parser.parse_args()
    net = train(given.samples, given.epochs, given.batch, given.rate)
    images, labels, _ = make(TEST_SEED, 5000)
    print(f"{sum(p.size for p in net.parameters())} parameters, held-out {accuracy(net, images, labels):.2%}")
    given.weights.parent.mkdir(parents=True, exist_ok=True)
    np.savez(given.weights, **{name: value.numpy() for name, value in net.state_dict().items()})


if __name__ == "__main__":
    main()
