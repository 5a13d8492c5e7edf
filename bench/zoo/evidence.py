"""Check that the zoo's transformers look at the evidence: a model that does not is no test for explanations.

    python bench/zoo/evidence.py build/shapes_vit.npz build/reviews_bert.npz

Prints the accuracy on held-out samples, and which share of the plainest attributions falls on the evidence, beside the
share that a uniform attribution would have there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import paddle
import reviews
import shapes
import train_reviews
import train_shapes
from fit import load_weights
from numpy.typing import NDArray
from reviews_bert import ReviewsBERT
from shapes_vit import PATCH, ShapesViT

SAMPLES = 500


def inside(attribution: NDArray[np.float32], evidence: NDArray[np.bool_]) -> float:
    """Return the mean share of each sample's attribution, `(N, ...)` and not negative, that lies on the evidence."""
    axes = tuple(range(1, attribution.ndim))
    return float(((attribution * evidence).sum(axes) / attribution.sum(axes)).mean())


def check_vit(weights: Path) -> None:
    """Check the gradient's magnitude and the class token's attention against the shapes' pixels."""
    net = ShapesViT()
    load_weights(net, weights)
    images, labels, masks = shapes.make(train_shapes.TEST_SEED, 5000)
    print(f"{weights.name}: held-out accuracy {train_shapes.accuracy(net, images, labels):.2%}")
    masks = masks[:SAMPLES]
    attention: list[NDArray[np.float32]] = []
    for block in net.blocks:
        block.attention.softmax.register_forward_post_hook(
            lambda layer, inputs, output: attention.append(output.numpy())
        )
    image = paddle.to_tensor(train_shapes.normalise(images[:SAMPLES]), stop_gradient=False)
    net(image).max(1).sum().backward()
    gradient = np.abs(image.grad.numpy()).sum(1)
    cells = shapes.SIZE // PATCH
    class_token = attention[-1].mean(1)[:, 0, 1:].reshape(-1, cells, cells)  # of the last block, mean over its heads
    pixels = class_token.repeat(PATCH, 1).repeat(PATCH, 2)
    print(f"  gradient inside the shape   {inside(gradient, masks):.1%}")
    print(f"  attention inside the shape  {inside(pixels, masks):.1%}")
    print(f"  uniform                     {masks.mean():.1%}")


def check_bert(weights: Path) -> None:
    """Check gradient x embedding against the deciding words."""
    net = ReviewsBERT()
    load_weights(net, weights)
    ids, mask, labels, evidence = reviews.make(train_reviews.TEST_SEED, 5000)
    print(f"{weights.name}: held-out accuracy {train_reviews.accuracy(net, ids, mask, labels):.2%}")
    words = net.embed(paddle.to_tensor(ids[:SAMPLES])).detach()
    words.stop_gradient = False
    net.classify(words, paddle.to_tensor(mask[:SAMPLES])).max(1).sum().backward()
    product = np.abs((words.grad * words).sum(-1).numpy())
    evidence, mask = evidence[:SAMPLES], mask[:SAMPLES]
    first = evidence[np.arange(SAMPLES), product.argmax(1)].mean()
    print(f"  |gradient x embedding| on the deciding words  {inside(product, evidence):.1%}")
    print(f"  uniform                                       {(evidence.sum(1) / mask.sum(1)).mean():.1%}")
    print(f"  its largest word decides                      {first:.1%}")


def main() -> None:
    """Check both networks."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("vit", type=Path, help="what train_shapes_vit.py wrote (.npz)")
    parser.add_argument("bert", type=Path, help="what train_reviews.py wrote (.npz)")
    given = parser.parse_args()
    check_vit(given.vit)
    check_bert(given.bert)


if __name__ == "__main__":
    main()
