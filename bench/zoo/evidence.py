"""Check that the zoo's transformers look at the evidence: a model that does not is no test for explanations.

    python bench/zoo/evidence.py build/shapes_vit.npz build/reviews_bert.npz

Prints the accuracy on held-out samples, and which share of the plainest attributions falls on the evidence, beside the
share that a uniform attribution would have there. The networks that the package ships have 30 % of the gradient and
31 % of the attention inside the shape (12 % uniform); 36 % of |gradient x embedding| and 91 % of the change under
masking on the deciding words (10 % uniform).
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
from export import eager
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
    """Check gradient x embedding and the effect of masking each word against the deciding words."""
    net = ReviewsBERT()
    load_weights(net, weights)
    ids, mask, labels, evidence = reviews.make(train_reviews.TEST_SEED, 5000)
    print(f"{weights.name}: held-out accuracy {train_reviews.accuracy(net, ids, mask, labels):.2%}")
    ids, mask, evidence = ids[:SAMPLES], mask[:SAMPLES], evidence[:SAMPLES]
    words = net.embed(paddle.to_tensor(ids)).detach()
    words.stop_gradient = False
    net.classify(words, paddle.to_tensor(mask)).max(1).sum().backward()
    product = np.abs((words.grad * words).sum(-1).numpy())
    masked = _occlude(net, ids, mask)
    for name, attribution in (("|gradient x embedding|", product), ("|change under [MASK]|", masked)):
        first = evidence[np.arange(SAMPLES), attribution.argmax(1)].mean()
        print(f"  {name} on the deciding words {inside(attribution, evidence):.1%}, largest on one {first:.1%}")
    print(f"  uniform {(evidence.sum(1) / mask.sum(1)).mean():.1%}")


def _occlude(net: ReviewsBERT, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return how far the margin between the classes moves when each word is masked, `(N, sequence)`."""
    special = [reviews.IDS[token] for token in (reviews.PAD, reviews.CLS, reviews.SEP)]
    before = eager(net, [ids, mask])
    moved = np.zeros(ids.shape, np.float32)
    for i in range(ids.shape[1]):
        masked = ids.copy()
        masked[:, i] = np.where(np.isin(ids[:, i], special), ids[:, i], reviews.IDS[reviews.MASK])
        after = eager(net, [masked, mask])
        moved[:, i] = np.abs(np.diff(after - before, axis=1)[:, 0])
    return moved


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
