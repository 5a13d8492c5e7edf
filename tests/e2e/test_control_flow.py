"""Recurrent layers of any length, and scripted loops and branches, against torch's autograd."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from tolerances import IMPORT

import xgraph

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

pytestmark = pytest.mark.torch


class Recurrent(nn.Module):
    """Two layers of a kind in both directions, over sequences of any length."""

    def __init__(self, layer: type[nn.RNNBase]) -> None:
        super().__init__()
        self.layer, self.head = layer(4, 5, num_layers=2, batch_first=True, bidirectional=True), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0].mean(1))


class Packed(nn.Module):
    """Rows of different lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(4, 5, batch_first=True, bidirectional=True), nn.Linear(10, 3)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.head(nn.utils.rnn.pad_packed_sequence(self.layer(packed)[0], batch_first=True)[0].sum(1))


class Cell(nn.Module):
    """A loop over the steps, which collects what it computes in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.of_x, self.of_h, self.head = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(x.size(0), 5)
        seen = []
        for t in range(x.size(1)):
            h = torch.tanh(self.of_x(x[:, t]) + self.of_h(h))
            seen.append(h)
        return self.head(torch.stack(seen, 1).mean(1) + h)


class Mixed(nn.Module):
    """Branches in a loop, with convolutions in the branches."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv1d(4, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        for t in range(x.size(2) // 3):
            if t % 2 == 0:
                x = torch.relu(self.conv(x))
            else:
                x = nn.functional.gelu(self.conv(x)) + x
        return self.head(x.mean(2))


class While(nn.Module):
    """A loop that ends by what it computes, and a branch that depends on the input."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean(1)
        turns = 0
        while bool(x.abs().sum() > 1.0) and turns < 6:
            x = torch.tanh(self.layer(x)) * 0.7
            turns += 1
        if bool(x.sum() > 0):
            x = torch.sin(x) * x
        return self.head(x)


@dataclass(frozen=True)
class Case:
    build: Callable[[], nn.Module]
    script: bool = False
    dynamo: bool = False
    lengths: bool = False


CASES = {
    "lstm": Case(lambda: Recurrent(nn.LSTM)),
    "gru": Case(lambda: Recurrent(nn.GRU)),
    "rnn": Case(lambda: Recurrent(nn.RNN)),
    "lstm_dynamo": Case(lambda: Recurrent(nn.LSTM), dynamo=True),
    "packed": Case(Packed, lengths=True),
    "cell": Case(Cell, script=True),
    "mixed": Case(Mixed, script=True),
    "while": Case(While, script=True),
}


Load = Callable[[str], tuple[Any, xgraph.Model]]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Returns the function case -> (the model in torch, the model exported with a free batch and length)."""
    folder = tmp_path_factory.mktemp("control")
    return cache(lambda name: export(CASES[name], folder / f"{name}.onnx"))


def export(case: Case, path: Path) -> tuple[Any, xgraph.Model]:
    torch.manual_seed(0)
    model = case.build().eval()
    example = (torch.randn(2, 6, 4), *([torch.tensor([6, 3])] if case.lengths else []))
    names = ["x", *(["lengths"] if case.lengths else [])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if case.dynamo:
            free = ({0: torch.export.Dim("batch"), 1: torch.export.Dim("steps")},)
            torch.onnx.export(model, example, path, dynamo=True, dynamic_shapes=free, input_names=names, verbose=False)
        else:
            axes = {"x": {0: "batch", 1: "steps"}, "lengths": {0: "batch"}}
            options = {"dynamic_axes": {name: axes[name] for name in names}, "opset_version": 17}
            source = torch.jit.script(model) if case.script else model
            torch.onnx.export(source, example, path, dynamo=False, input_names=names, **options)
    return model, xgraph.load(path)


@pytest.mark.parametrize(("steps", "sign"), [(9, 1.0), (4, -1.0)])
@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str, load: Load, steps: int, sign: float) -> None:
    case, (network, model) = CASES[name], load(name)
    x = (sign * torch.randn(3, steps, 4, generator=torch.Generator().manual_seed(1))).requires_grad_()
    rest = [torch.tensor([2, steps, 1])] if case.lengths else []
    # In float32: the scripted models make zeros of that type.
    outputs = network(x, *rest)
    outputs[[0, 1, 2], [2, 0, 1]].sum().backward()
    feeds = {"x": x.detach().numpy(), **({"lengths": rest[0].numpy()} if rest else {})}
    found = xgraph.explain(model, feeds, "gradient", [2, 0, 1])
    expected = x.grad.numpy()
    np.testing.assert_allclose(found.values["x"], expected, rtol=0, atol=IMPORT * np.abs(expected).max())


@pytest.mark.parametrize("name", ["lstm", "cell", "mixed"])
def test_one_file_of_integrated_gradients_holds_loops_in_a_loop(name: str, load: Load, tmp_path: Path) -> None:
    program = xgraph.compile(load(name)[1], method="integrated_gradients", steps=64)
    session = onnxruntime.InferenceSession(program.save(tmp_path / "ig.onnx"), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(2).standard_normal((2, 6, 4)).astype(np.float32)
    target = np.asarray([0, 1], np.int64)
    (found,) = session.run(["xg_attribution"], {"x": x, "xg_target": target})
    expected = program(x, target=[0, 1])
    np.testing.assert_allclose(found, expected.values["x"], rtol=1e-4, atol=1e-6)
    gap, difference = expected.checks["completeness_gap"], expected.checks["score_difference"]
    assert np.all(np.abs(gap) < 1e-2 * np.abs(difference))
