"""Export the demo image classifiers as the package ships them: legacy Paddle, PIR Paddle and ONNX.

Run this under each Paddle (see `export.py`), for each network:

    python bench/zoo/export_shapes.py build/shapes_cnn.npz   # Paddle 2.6.2: .pdmodel
    python bench/zoo/export_shapes.py build/shapes_cnn.npz   # Paddle 3.3.1: .json, .onnx and images
    python bench/zoo/export_shapes.py build/shapes_vit.npz --model shapes_vit   # likewise

The models lie under `xgraph/data/shapes_cnn` and `xgraph/data/shapes_vit`. The CNN ends in a softmax, the vision
transformer in logits. Beside each export lies an `inference.yml` with the preprocessing and the labels, in the form
of Paddle's deployment exports. Held-out images, one of each class, that the CNN labels correctly are in
`xgraph/data/shapes`, their evidence in its `masks.npz`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import paddle
from export import DATA, LEGACY, eager, export
from fit import load_weights
from paddle import nn
from PIL import Image
from shapes import CLASSES, SIZE, make
from shapes_cnn import ShapesCNN
from shapes_vit import ShapesViT
from train_shapes import MEAN, STD, TEST_SEED, accuracy, normalise

NETWORKS = {"shapes_cnn": ShapesCNN, "shapes_vit": ShapesViT}
SAMPLE_SEED = 3

_CONFIG = """\
Global:
  model_name: {name}
PreProcess:
  transform_ops:
  - ResizeImage:
      size: [{size}, {size}]
  - NormalizeImage:
      scale: 0.00392156862745098
      mean: [{mean}, {mean}, {mean}]
      std: [{std}, {std}, {std}]
      order: ''
      channel_num: 3
  - ToCHWImage: null
PostProcess:
  Topk:
    topk: 5
    label_list:
{labels}
"""


def write_config(name: str, folder: Path) -> None:
    """Write the preprocessing and the labels in the form of Paddle's deployment exports."""
    labels = "\n".join(f"    - {label}" for label in CLASSES)
    text = _CONFIG.format(name=name, size=SIZE, mean=MEAN, std=STD, labels=labels)
    (folder / "inference.yml").write_text(text)


def write_samples(net: nn.Layer, folder: Path) -> None:
    """Write the first held-out image of each class that the network labels correctly, and their masks."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels, masks = make(SAMPLE_SEED, 100)
    right = eager(net, [normalise(images)]).argmax(1) == labels
    chosen = {name: int(np.flatnonzero(right & (labels == i))[0]) for i, name in enumerate(CLASSES)}
    for name, i in chosen.items():
        Image.fromarray(images[i]).save(folder / f"{name}.png", optimize=True)
    np.savez_compressed(folder / "masks.npz", **{name: masks[i] for name, i in chosen.items()})


def main() -> None:
    """Export what the installed Paddle writes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("weights", type=Path, help="what train_shapes.py or train_shapes_vit.py wrote (.npz)")
    parser.add_argument("--model", choices=NETWORKS, default="shapes_cnn")
    parser.add_argument("--out", type=Path, default=DATA, help="folder of the package data")
    given = parser.parse_args()
    net = NETWORKS[given.model]()
    load_weights(net, given.weights)
    images = normalise(make(TEST_SEED, 256)[0])
    spec = paddle.static.InputSpec([None, 3, SIZE, SIZE], "float32", name="image")
    batches = [[images], [images[:5]], [images[:1]]]
    for folder in export(net, given.model, [spec], batches, given.out):
        write_config(given.model, folder)
    if given.model == "shapes_cnn" and not LEGACY:
        write_samples(net, given.out / "shapes")
    print(f"held-out accuracy {accuracy(net, *make(TEST_SEED, 5000)[:2]):.2%}")


if __name__ == "__main__":
    main()
