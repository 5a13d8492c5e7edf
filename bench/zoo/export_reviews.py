"""Export the demo text classifier as the package ships it: legacy Paddle, PIR Paddle and ONNX.

Run this under each Paddle (see `export.py`):

    python bench/zoo/export_reviews.py build/reviews_bert.npz   # Paddle 2.6.2: .pdmodel
    python bench/zoo/export_reviews.py build/reviews_bert.npz   # Paddle 3.3.1: .json, .onnx and sentences

The model lies under `xgraph/data/reviews_bert`; it takes `ids` and `mask`, both int64 `(batch, sequence)` of any batch
and any sequence up to 32, and ends in logits. Beside each export lie `vocab.txt`, a token per line in the order of
the ids, and `labels.txt`. Held-out sentences that it labels correctly, four of each class, are in
`xgraph/data/reviews`: one a line in `samples.txt`, and encoded in `samples.npz` as the arrays `ids`, `mask`, `labels`
and `evidence` (true at the deciding words).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import paddle
from export import DATA, LEGACY, eager, export
from fit import load_weights
from reviews import LABELS, LENGTH, VOCABULARY, decode, make
from reviews_bert import POSITIONS, ReviewsBERT
from train_reviews import TEST_SEED, accuracy

SAMPLE_SEED = 3
SAMPLES = 4
"""Sentences per class."""


def write_words(folder: Path) -> None:
    """Write the vocabulary and the labels."""
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in VOCABULARY))
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))


def write_samples(net: ReviewsBERT, folder: Path) -> None:
    """Write held-out sentences that the network labels correctly, half of them with a negation that decides."""
    folder.mkdir(parents=True, exist_ok=True)
    ids, mask, labels, evidence = make(SAMPLE_SEED, 100)
    right = eager(net, [ids, mask]).argmax(1) == labels
    negated = evidence.sum(1) > 1
    groups = [right & (labels == label) & (negated == kind) for label in range(2) for kind in (False, True)]
    chosen = np.concatenate([np.flatnonzero(group)[: SAMPLES // 2] for group in groups])
    (folder / "samples.txt").write_text("".join(f"{decode(row)}\n" for row in ids[chosen]))
    np.savez_compressed(
        folder / "samples.npz",
        ids=ids[chosen],
        mask=mask[chosen],
        labels=labels[chosen],
        evidence=evidence[chosen],
    )


def main() -> None:
    """Export what the installed Paddle writes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("weights", type=Path, help="what train_reviews.py wrote (.npz)")
    parser.add_argument("--out", type=Path, default=DATA, help="folder of the package data")
    given = parser.parse_args()
    net = ReviewsBERT()
    load_weights(net, given.weights)
    ids, mask, _, _ = make(TEST_SEED, 256)
    longer = [np.pad(array, ((0, 0), (0, POSITIONS - LENGTH))) for array in (ids, mask)]
    specs = [paddle.static.InputSpec([None, None], "int64", name=name) for name in ("ids", "mask")]
    batches = [[array[:count] for array in pair] for pair in ([ids, mask], longer) for count in (256, 5, 1)]
    batches.append([array[:5, :7] for array in (ids, mask)])
    for folder in export(net, "reviews_bert", specs, batches, given.out):
        write_words(folder)
    if not LEGACY:
        write_samples(net, given.out / "reviews")
    print(f"held-out accuracy {accuracy(net, *make(TEST_SEED, 5000)[:3]):.2%}")


if __name__ == "__main__":
    main()
