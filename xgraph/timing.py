"""Timing a program against the forward pass of its model, in turns within one run."""

from __future__ import annotations

from statistics import mean, median
from time import perf_counter
from typing import Any

import numpy as np

from xgraph.aim import forward
from xgraph.graph.normalise.verify import random_feeds
from xgraph.plan import Samples
from xgraph.program import Program


def measure(
    program: Program, *, batch: int = 8, device: str = "auto", threads: int | None = None, rounds: int = 10
) -> dict[str, Any]:
    """Returns figures of a method and of the forward pass; times are of whole batches, in milliseconds.

    The two take turns, so that a machine that slows down slows both; the ratio is taken round by round.
    """
    model = program.model
    settings = program.settings(device, batch=batch, threads=threads)
    provider = settings.provider
    one = random_feeds(model.graph)
    rows = model.batch or batch
    inputs = {name: np.resize(array, (rows, *array.shape[1:])) for name, array in one.items()}
    stage = forward(model, program.target)

    def run_forward() -> None:
        program.run_stage(stage, Samples(inputs), {}, (), settings)

    def run_method() -> None:
        program.explain([program.target], inputs, settings, 0)

    started = perf_counter()
    run_method()
    opened = perf_counter() - started
    run_forward()
    times: dict[str, list[float]] = {"forward": [], program.method.name: []}
    for _ in range(rounds):
        for name, call in (("forward", run_forward), (program.method.name, run_method)):
            start = perf_counter()
            call()
            times[name].append((perf_counter() - start) * 1e3)
    pairs = zip(times[program.method.name], times["forward"], strict=True)
    return {
        "model": str(model.path),
        "method": program.method.name,
        "provider": str(provider),
        "batch": rows,
        "threads": threads,
        "rounds": rounds,
        "open_s": opened,
        **{name: _row(values, rows) for name, values in times.items()},
        "ratio": median(method / forward for method, forward in pairs),
        "versions": {**model.versions, "onnxruntime": provider.version},
    }


def _row(values: list[float], rows: int) -> dict[str, float]:
    return {
        "median_ms": median(values),
        "average_ms": mean(values),
        "min_ms": min(values),
        "max_ms": max(values),
        "samples_per_s": rows / median(values) * 1e3,
    }
