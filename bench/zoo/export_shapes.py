"""Export the demo classifier as the package ships it: legacy Paddle, PIR Paddle and ONNX.

Each kind of file comes from the Paddle that writes it in the field, so run this once under each:

    python bench/zoo/export_shapes.py build/shapes_cnn.npz   # Paddle 2.6.2: .pdmodel
    python bench/zoo/export_shapes.py build/shapes_cnn.npz   # Paddle 3.3.1: .json, .onnx and images

Every export is read back and compared with the network. The models lie under `xgraph/data/shapes_cnn`:

    legacy/shapes_cnn.pdmodel, legacy/shapes_cnn.pdiparams
    pir/shapes_cnn.json, pir/shapes_cnn.pdiparams
    shapes_cnn.onnx

Beside each lies an `inference.yml` with the preprocessing and the labels, in the form of Paddle's deployment
exports. Held-out images, one of each class, are in `xgraph/data/shapes`, their evidence in its `masks.npz`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
from numpy.typing import NDArray
from PIL import Image
from shapes import CLASSES, SIZE, make
from shapes_cnn import ShapesCNN
from train_shapes import MEAN, STD, TEST_SEED, accuracy, normalise

DATA = Path(__file__).resolve().parents[2] / "xgraph" / "data"
SAMPLE_SEED = 3
TOLERANCE = 1e-5
OPSET = 17

_CONFIG = """\
Global:
  model_name: shapes_cnn
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

Infer = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def load(weights: Path) -> ShapesCNN:
    """Build the network with the weights that `train_shapes.py` wrote."""
    net = ShapesCNN()
    with np.load(weights) as values:
        missing, unexpected = net.set_state_dict(dict(values))
    if missing or unexpected:
        raise ValueError(f"{weights} does not fit the network: {missing} missing, {unexpected} unexpected")
    net.eval()
    return net


def export_paddle(net: ShapesCNN, prefix: Path) -> Infer:
    """Save the network for inference and return the saved model, loaded."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    spec = paddle.static.InputSpec([None, 3, SIZE, SIZE], "float32", name="image")
    paddle.jit.save(net, str(prefix), input_spec=[spec])
    prefix.with_suffix(".pdiparams.info").unlink(missing_ok=True)  # only training on would need it
    if (program := prefix.with_suffix(".pdmodel")).exists():
        _forget_callstacks(program)
    saved = paddle.jit.load(str(prefix))
    saved.eval()
    return lambda images: saved(paddle.to_tensor(images)).numpy()


def _forget_callstacks(model: Path) -> None:
    """Drop the source paths that a legacy program records for some of its operators."""
    from paddle.base.proto.framework_pb2 import ProgramDesc

    program = ProgramDesc.FromString(model.read_bytes())
    for op in (op for block in program.blocks for op in block.ops):
        kept = [attribute for attribute in op.attrs if attribute.name != "op_callstack"]
        del op.attrs[:]
        op.attrs.extend(kept)
    model.write_bytes(program.SerializeToString())


def export_onnx(prefix: Path, target: Path) -> Infer:
    """Convert a saved PIR model and return a session of the result.

    Paddle 3.3 writes scalar attributes in double precision, which paddle2onnx 2.1 reads as zero; retagging
    them as single precision in a copy of the file cures it.
    """
    import onnxruntime
    import paddle2onnx

    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model.json"
        model.write_text(prefix.with_suffix(".json").read_text().replace('"0.a_f64"', '"0.a_f32"'))
        params = str(prefix.with_suffix(".pdiparams"))
        # Without a file to save to, no optimiser runs: the graph is the converter's own.
        converted = paddle2onnx.export(str(model), params, None, opset_version=OPSET, verbose=False)
    target.write_bytes(converted)
    session = onnxruntime.InferenceSession(converted, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"image": images})[0]


def check(net: ShapesCNN, infer: Infer, path: Path) -> None:
    """Compare an export with the network on held-out images, and complain if they differ."""
    images = normalise(make(TEST_SEED, 256)[0])
    with paddle.no_grad():
        expected = net(paddle.to_tensor(images)).numpy()
    error = max(
        float(np.abs(infer(images) - expected).max()), float(np.abs(infer(images[:1]) - expected[:1]).max())
    )
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB, largest difference {error:.1e}")
    if error > TOLERANCE:
        raise ValueError(f"{path} disagrees with the network by {error:.1e}")


def write_config(folder: Path) -> None:
    """Write the preprocessing and the labels in the form of Paddle's deployment exports."""
    labels = "\n".join(f"    - {name}" for name in CLASSES)
    (folder / "inference.yml").write_text(_CONFIG.format(size=SIZE, mean=MEAN, std=STD, labels=labels))


def write_samples(net: ShapesCNN, folder: Path) -> None:
    """Write the first held-out image of each class that the network labels correctly, and their masks."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels, masks = make(SAMPLE_SEED, 100)
    with paddle.no_grad():
        right = net(paddle.to_tensor(normalise(images))).numpy().argmax(1) == labels
    chosen = {name: int(np.flatnonzero(right & (labels == i))[0]) for i, name in enumerate(CLASSES)}
    for name, i in chosen.items():
        Image.fromarray(images[i]).save(folder / f"{name}.png", optimize=True)
    np.savez_compressed(folder / "masks.npz", **{name: masks[i] for name, i in chosen.items()})


def main() -> None:
    """Export what the installed Paddle writes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("weights", type=Path, help="what train_shapes.py wrote (.npz)")
    parser.add_argument("--out", type=Path, default=DATA, help="folder of the package data")
    given = parser.parse_args()
    net = load(given.weights)
    models = given.out / "shapes_cnn"
    if paddle.__version__.startswith("2."):
        prefix = models / "legacy" / "shapes_cnn"
        check(net, export_paddle(net, prefix), prefix.with_suffix(".pdiparams"))
    else:
        prefix = models / "pir" / "shapes_cnn"
        check(net, export_paddle(net, prefix), prefix.with_suffix(".pdiparams"))
        target = models / "shapes_cnn.onnx"
        check(net, export_onnx(prefix, target), target)
        write_config(models)
        write_samples(net, given.out / "shapes")
    write_config(prefix.parent)
    print(f"held-out accuracy {accuracy(net, *make(TEST_SEED, 5000)[:2]):.2%}")


if __name__ == "__main__":
    main()
