"""Writes ``legacy`` and ``traps`` ``/<name>/<name>.pdmodel``, ``.pdiparams`` and ``.npz``; run under Paddle 2.6.

NumPy must be of version 1. The ``.npz`` of a trap holds its feeds by input name and ``output_<k>``.

That of the others holds the feeds by input name, ``outputs``, ``logits``, ``target`` (a class per row) and the
gradient of ``logits[row, target[row]]``, summed over the rows, with respect to the float input
(``grad_<input>``) or to the word embeddings (``grad_embedding``). Gradients come from the full backward
pass with trainable parameters, for Paddle's LayerNorm forgets its scale in the input's gradient when the
scale is frozen, and are checked here against central differences of the same model in float64.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import paddle
import paddle_traps
from paddle.base.proto import framework_pb2
from paddle_zoo import CLASSES, MODELS, build, feeds

HERE = Path(__file__).parent / "legacy"
TRAPS = Path(__file__).parent / "traps"
TOLERANCE = 2e-4
"""Of the directional derivative's typical size: the gradient is float32."""


def main():
    assert paddle.__version__.startswith("2.6"), paddle.__version__
    for name in paddle_traps.TRAPS:
        write_trap(name)
    for name in MODELS:
        # Layers and parameters are counted per process: count each model's from 0.
        with paddle.utils.unique_name.guard():
            model, specs = build(name)
        data = feeds(name)
        target = np.array([1, 3, 0])
        logits, outputs, gradients = explain(model, name, data, target)
        worst = check(model, name, data, target, gradients)
        folder = save(model, specs, HERE, name)
        np.savez_compressed(folder / f"{name}.npz", **data, outputs=outputs, logits=logits, target=target, **gradients)
        size = np.abs(logits).max()
        print(f"{name}: logits up to {size:.2f}, gradient off by {worst:.1e} of its directional derivatives")


def write_trap(name):
    with paddle.utils.unique_name.guard():
        model, specs = paddle_traps.build(name)
    data = paddle_traps.feeds(name)
    outputs = model(*[paddle.to_tensor(value) for value in data.values()])
    folder = save(model, specs, TRAPS, name)
    np.savez_compressed(folder / f"{name}.npz", **data, **{f"output_{k}": each.numpy() for k, each in enumerate(outputs)})


def save(model, specs, where, name):
    """Saves the program and its parameters, nothing of this machine; returns their folder."""
    folder = where / name
    folder.mkdir(parents=True, exist_ok=True)
    paddle.jit.save(model, str(folder / name), input_spec=specs)
    (folder / f"{name}.pdiparams.info").unlink(missing_ok=True)
    forget_call_stacks(folder / f"{name}.pdmodel")
    return folder


def forget_call_stacks(path):
    """Drops the source lines that Paddle notes for each operator: they hold paths of the machine."""
    program = framework_pb2.ProgramDesc()
    program.ParseFromString(path.read_bytes())
    for block in program.blocks:
        for op in block.ops:
            kept = [attribute for attribute in op.attrs if attribute.name != "op_callstack"]
            del op.attrs[:]
            op.attrs.extend(kept)
    path.write_bytes(program.SerializeToString())


def explain(model, name, data, target):
    """Returns logits, outputs and gradients. ``rnn`` has no backward pass in evaluation mode."""
    if name == "lstm":
        model.train()
    tensors = {key: paddle.to_tensor(value) for key, value in data.items()}
    if name == "bert":
        at = model.words(tensors["input_ids"])
        key = "grad_embedding"
        at = paddle.to_tensor(at.numpy(), stop_gradient=False)
        logits = model.after_embedding(at, tensors["input_ids"], tensors["attention_mask"])
    else:
        (key,) = tensors
        at = tensors[key]
        at.stop_gradient = False
        logits = model.logits(at)
        key = f"grad_{key}"
    picked = paddle.nn.functional.one_hot(paddle.to_tensor(target), CLASSES).astype(logits.dtype)
    (logits * picked).sum().backward()
    model.eval()
    outputs = model(*[paddle.to_tensor(value) for value in data.values()])
    return logits.numpy(), outputs.numpy(), {key: at.grad.numpy()}


def check(model, name, data, target, gradients):
    """Compares with central differences in float64, along random directions; returns the worst difference."""
    ((_, gradient),) = gradients.items()
    paddle.set_default_dtype("float64")
    double = MODELS[name][0]()
    double.set_state_dict({key: value.astype("float64") for key, value in model.state_dict().items()})
    double.eval()
    paddle.set_default_dtype("float32")
    rest = []
    if name == "bert":
        ids, mask = (paddle.to_tensor(value) for value in data.values())
        at, call, rest = double.words(ids).numpy(), double.after_embedding, [ids, mask]
    else:
        at, call = next(iter(data.values())).astype(np.float64), double.logits

    def score(value):
        with paddle.no_grad():
            logits = call(paddle.to_tensor(value), *rest).numpy()
        assert logits.dtype == np.float64
        return logits[np.arange(len(target)), target].sum()

    random = np.random.Generator(np.random.Philox(3))
    step = 1e-6  # so small that few directions meet a kink of ReLU or MaxPool
    slopes, expected = [], []
    for _ in range(20):
        direction = random.standard_normal(at.shape)
        slopes.append((score(at + step * direction) - score(at - step * direction)) / (2 * step))
        expected.append((gradient * direction).sum())
    worst = np.abs(np.subtract(slopes, expected)).max() / np.std(slopes)
    assert worst < TOLERANCE, (name, worst)
    return worst


if __name__ == "__main__":
    sys.exit(main())
