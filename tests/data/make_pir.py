"""Writes ``<folder>/<name>/<name>.json`` and ``.pdiparams`` for the tests' models; run under Paddle 3."""

from __future__ import annotations

import sys
from pathlib import Path

import paddle
import paddle_traps
from paddle.base import framework
from paddle_traps import TRAPS
from paddle_zoo import MODELS, build


class Unknown(paddle.nn.Layer):
    """An operator that the converter does not know."""

    def __init__(self):
        super().__init__()
        self.head = paddle.nn.Linear(4, 3)

    def forward(self, x):
        return paddle.cummax(self.head(x), 1)[0]


class NoWeights(paddle.nn.Layer):
    def forward(self, x):
        return paddle.nn.functional.relu(x) + 1


def main(folder):
    plain = [paddle.static.InputSpec([None, 4], "float32", "x")]
    for name in (*MODELS, *TRAPS, "unknown", "no_weights"):
        # Parameters and the layers of paths are counted per process: count each model's from 0.
        framework._name_struct = type(framework._name_struct)()
        with paddle.utils.unique_name.guard():
            if name in MODELS:
                model, specs = build(name)
            elif name in TRAPS:
                model, specs = paddle_traps.build(name)
            else:
                model, specs = (Unknown if name == "unknown" else NoWeights)(), plain
            model.eval()
            paddle.jit.save(model, str(Path(folder) / name / name), input_spec=specs)


if __name__ == "__main__":
    main(sys.argv[1])
