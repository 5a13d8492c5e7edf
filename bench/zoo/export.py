"""Export a network of the zoo as the field does: legacy Paddle, PIR Paddle and ONNX, each compared with the network.

Each kind of file comes from the Paddle that writes it in the field, so every export script is to be run once under
Paddle 2.6.2 (`.pdmodel`) and once under Paddle 3.3.1 (`.json` and `.onnx`). A model `name` lies in a folder of its own:

    name/legacy/name.pdmodel, name/legacy/name.pdiparams
    name/pir/name.json, name/pir/name.pdiparams
    name/name.onnx
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

DATA = Path(__file__).resolve().parents[2] / "xgraph" / "data"
LEGACY = paddle.__version__.startswith("2.")
TOLERANCE = 1e-5
OPSET = 17

Inputs = Sequence[NDArray[Any]]
Infer = Callable[[Inputs], NDArray[np.float32]]


def export(
    net: nn.Layer, name: str, specs: Sequence[paddle.static.InputSpec], batches: Sequence[Inputs], out: Path
) -> list[Path]:
    """Write the kinds of files that the installed Paddle writes, and compare each with the network.

    Args:
        net: The network, in evaluation mode, with one output.
        name: Folder and file name of the model.
        specs: Names, types and shapes of its inputs.
        batches: Inputs to compare on; of several sizes, since exports can fail for all but one.
        out: Folder of the package data.

    Returns:
        The folders that models were written to.
    """
    prefix = out / name / ("legacy" if LEGACY else "pir") / name
    expected = [eager(net, batch) for batch in batches]
    check(export_paddle(net, specs, prefix), batches, expected, prefix.with_suffix(".pdmodel" if LEGACY else ".json"))
    if LEGACY:
        return [prefix.parent]
    target = out / name / f"{name}.onnx"
    check(export_onnx(prefix, specs, target), batches, expected, target)
    return [prefix.parent, target.parent]


def eager(net: nn.Layer, batch: Inputs) -> NDArray[np.float32]:
    """Return the network's own output."""
    with paddle.no_grad():
        result: NDArray[np.float32] = net(*map(paddle.to_tensor, batch)).numpy()
    return result


def export_paddle(net: nn.Layer, specs: Sequence[paddle.static.InputSpec], prefix: Path) -> Infer:
    """Save the network for inference and return the saved model, loaded."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    paddle.jit.save(net, str(prefix), input_spec=list(specs))
    prefix.with_suffix(".pdiparams.info").unlink(missing_ok=True)  # only training on would need it
    if (program := prefix.with_suffix(".pdmodel")).exists():
        _forget_callstacks(program)
    saved = paddle.jit.load(str(prefix))
    saved.eval()
    return lambda batch: eager(saved, batch)


def _forget_callstacks(model: Path) -> None:
    """Drop the source paths that a legacy program records for some of its operators."""
    from paddle.base.proto.framework_pb2 import ProgramDesc

    program = ProgramDesc.FromString(model.read_bytes())
    for op in (op for block in program.blocks for op in block.ops):
        kept = [attribute for attribute in op.attrs if attribute.name != "op_callstack"]
        del op.attrs[:]
        op.attrs.extend(kept)
    model.write_bytes(program.SerializeToString())


def export_onnx(prefix: Path, specs: Sequence[paddle.static.InputSpec], target: Path) -> Infer:
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
    names = [spec.name for spec in specs]  # the converter may reorder the inputs
    return lambda batch: session.run(None, dict(zip(names, batch, strict=True)))[0]


def check(infer: Infer, batches: Sequence[Inputs], expected: Sequence[NDArray[np.float32]], path: Path) -> None:
    """Compare an export with the network's outputs, and complain if they differ."""
    results = [infer(batch) for batch in batches]
    if any(result.shape != right.shape for result, right in zip(results, expected, strict=True)):
        raise ValueError(f"{path}: shapes {[r.shape for r in results]} rather than {[e.shape for e in expected]}")
    error = max(float(np.abs(result - right).max()) for result, right in zip(results, expected, strict=True))
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB, largest difference {error:.1e}")
    if not error <= TOLERANCE:
        raise ValueError(f"{path} disagrees with the network by {error:.1e}")
