"""ResNet-50 input gradients: xgraph on ONNX Runtime's CPU provider against PyTorch, in turns within one run.

    python bench/resnet50_gradient.py --batch 8 --rounds 10 --json resnet50.json

Weights are seeded, not trained: the time does not depend on them. Both gradients are compared before any time is
reported. Needs PyTorch.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import torch
from torch import nn

import xgraph
from xgraph.plan import Recipe, Stage
from xgraph.reducing import Take
from xgraph.runtime.providers import choose
from xgraph.runtime.run import Settings
from xgraph.sampling import Once
from xgraph.target import Target


class Bottleneck(nn.Module):
    """He et al. 2015, arXiv:1512.03385, with the stride in the 3x3 convolution."""

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        out = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, 4 width, H / stride, W / stride)."""
        result: torch.Tensor = self.relu(self.body(x) + self.shortcut(x))
        return result


def resnet50() -> nn.Module:
    """Returns ResNet-50 with seeded weights, in evaluation mode."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    channels = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            layers.append(Bottleneck(channels, width, stride if block == 0 else 1))
            channels = 4 * width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000)]
    return nn.Sequential(*layers).eval().requires_grad_(False)


def main() -> None:
    """Runs the comparison and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    net = resnet50()
    x = torch.randn(arguments.batch, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "resnet50.onnx"
        axes = {"image": {0: "batch"}, "logits": {0: "batch"}}
        names = {"input_names": ["image"], "output_names": ["logits"]}
        torch.onnx.export(net, (x,), str(path), dynamic_axes=axes, dynamo=False, opset_version=17, **names)
        model = xgraph.load(path)
    program = xgraph.compile(model, "gradient")
    target = Target.index(5)
    inputs = {"image": x.numpy()}
    settings = Settings(choose("cpu"), arguments.threads, arguments.batch)
    forward = Stage(Recipe(output=model.output().name), Once(), Take())

    def torch_gradient(of: torch.Tensor) -> np.ndarray:
        leaf = of.detach().requires_grad_(True)
        net(leaf)[:, 5].sum().backward()
        assert leaf.grad is not None
        return leaf.grad.numpy()

    def torch_forward() -> None:
        with torch.no_grad():
            net(x)

    calls: dict[str, Callable[[], object]] = {
        "xgraph forward": lambda: program.run_stage(forward, inputs, {}, (), settings),
        "xgraph gradient": lambda: program.explain([target], inputs, settings, 0),
        "torch forward": torch_forward,
        "torch gradient": lambda: torch_gradient(x),
    }
    ours = program.explain([target], inputs, settings, 0)[0].values["image"]
    theirs = torch_gradient(x)
    gap = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    print(f"largest difference of the gradients: {gap:.1e} of the largest entry")
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(arguments.rounds + 1):
        for name, call in calls.items():
            start = perf_counter()
            call()
            times[name].append((perf_counter() - start) * 1e3 / arguments.batch)
    figures = {name: median(values[1:]) for name, values in times.items()}
    for name, milliseconds in figures.items():
        print(f"{name:<18}{milliseconds:>9.2f} ms per image (median of {arguments.rounds})")
    ratios = {
        "xgraph gradient / forward": ("xgraph gradient", "xgraph forward"),
        "torch gradient / xgraph gradient": ("torch gradient", "xgraph gradient"),
    }
    summary = {
        name: median(a / b for a, b in zip(times[over][1:], times[under][1:], strict=True))
        for name, (over, under) in ratios.items()
    }
    for name, ratio in summary.items():
        print(f"{name} = {ratio:.2f} (median of the rounds' own ratios)")
    if arguments.json:
        versions = {"torch": torch.__version__, **model.versions}
        document = {"ms_per_image": figures, "ratios": summary, "difference": gap, "versions": versions}
        arguments.json.write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
