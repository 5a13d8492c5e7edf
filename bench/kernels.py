"""Kernels of perturbation methods: Numba against their NumPy twins, in turns, and what compiling costs.

    python bench/kernels.py [--json kernels.json] [--seconds 0.5]

Both results are compared before any time is taken. Times are medians, in microseconds a call. First calls are timed in
processes of their own: one with an empty cache of Numba's, and one that finds what the first has kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

PAIRS, STREAM, SEED = 64, 5, 2**70 + 11
Case = tuple[str, str, tuple[Any, ...]]


def cases() -> list[Case]:
    """Returns (function, what it is given, arguments), of 64 pairs where pairs are given."""
    random = np.random.default_rng(0)
    rows, draws = np.repeat(np.arange(8), 8), np.tile(np.arange(8), 8)
    found: list[Case] = []
    for count in (50, 200):
        width, counts, of = -(-count // 8), np.full(PAIRS, count), f"{count} features"
        drawn, bits = (SEED, STREAM, rows, draws), random.integers(0, 256, (PAIRS, width), dtype=np.uint8)
        sums = np.zeros((count + 1, count + 1)), np.zeros((count + 1, 1))
        found += [
            ("words", f"{count} words", (*drawn, count)),
            ("bernoulli", f"{of}, 1/2", (*drawn, counts, 0.5, width)),
            ("bernoulli", f"{of}, 0.3", (*drawn, counts, 0.3, width)),
            ("subsets", f"half of {of}", (*drawn, counts, counts // 2, width)),
            ("permutations", of, (*drawn, counts, count)),
            ("combinations", f"2 of {of}", (np.arange(PAIRS), counts, np.full(PAIRS, 2), width)),
            ("complement", of, (bits, counts)),
            ("popcounts", of, (bits, counts)),
            ("unpack", of, (bits, count)),
            (
                "normal_equations",
                f"{of}, 1 target",
                (bits, count, random.random(PAIRS), random.random((PAIRS, 1)), *sums),
            ),
        ]
    box = (3, 16, 16), (3, 1, 1), (3, 224, 224)
    coarse = (3, 16, 16), (3, 8, 8), (3, 224, 224)
    grids, places = random.integers(0, 2, (PAIRS, 64), dtype=np.uint8), random.integers(0, 784, PAIRS)
    labels = (np.arange(224)[:, None] // 16 * 14 + np.arange(224) // 16).reshape(-1).astype(np.int32)
    return [
        *found,
        ("windows", "209 x 209 windows", (np.arange(PAIRS) * 600, np.array([1, 209, 209]), np.array([3, 1, 1]))),
        ("paint_windows", "209 x 209 of 16 x 16 on 3 x 224 x 224", (random.standard_normal((1, 209, 209)), *box)),
        ("paint_windows", "27 x 27 of 16 x 16 on 3 x 224 x 224", (random.standard_normal((1, 27, 27)), *coarse)),
        ("cover_windows", "209 x 209 of 16 x 16 on 3 x 224 x 224", ((1, 209, 209), *box)),
        (
            "accumulate_grids",
            "8 x 8 cells, 1 target",
            (grids, places, random.random((PAIRS, 1)), np.zeros((1, 784, 64))),
        ),
        (
            "accumulate_grids",
            "8 x 8 cells, 5 targets",
            (grids, places, random.random((PAIRS, 5)), np.zeros((5, 784, 64))),
        ),
        ("segment_sums", "196 of 3 x 224 x 224", (random.random((3, 224 * 224), np.float32), labels, 196)),
        ("segment_sizes", "196 of 224 x 224", (labels, 196)),
    ]


def agree(one: Callable[..., Any], other: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
    """Compares what two functions return, or what they add to their last arguments."""
    results = []
    for function in (one, other):
        own = [value.copy() if isinstance(value, np.ndarray) else value for value in arguments]
        returned = function(*own)
        results.append([value for value in own if isinstance(value, np.ndarray)] if returned is None else [returned])
    return all(np.allclose(a, b, 0, 1e-12 * float(np.abs(b).max(initial=0))) for a, b in zip(*results, strict=True))


def timed(functions: list[Callable[..., Any]], arguments: tuple[Any, ...], seconds: float) -> list[float]:
    """Returns the median time of each function in microseconds, called in turns."""
    times: list[list[float]] = [[] for _ in functions]
    end = perf_counter() + seconds
    while len(times[0]) < 5 or perf_counter() < end:
        for function, own in zip(functions, times, strict=True):
            start = perf_counter()
            function(*arguments)
            own.append(1e6 * (perf_counter() - start))
    return [median(own) for own in times]


def first_calls() -> dict[str, float]:
    """Returns the seconds that the first call of each compiled function takes in this process."""
    start = perf_counter()
    from xgraph.kernels import jit

    found = {"import": perf_counter() - start}
    for name, _, arguments in cases():
        start = perf_counter()
        getattr(jit, name)(*arguments)
        found.setdefault(name, perf_counter() - start)
    return found


def main() -> None:
    """Prints a table, and writes JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    parser.add_argument("--seconds", type=float, default=0.5, help="time for each case")
    parser.add_argument("--first-calls", action="store_true", help="only time first calls, and print them as JSON")
    arguments = parser.parse_args()
    if arguments.first_calls:
        print(json.dumps(first_calls()))
        return
    firsts = []
    with TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--first-calls"]
        for _ in range(2):
            done = subprocess.run(
                command, check=True, capture_output=True, text=True, env={**os.environ, "NUMBA_CACHE_DIR": folder}
            )
            firsts.append(json.loads(done.stdout))
    from xgraph.kernels import backend_name, jit, reference

    print(f"{'function':<18}{'case':<40}{'NumPy µs':>12}{'Numba µs':>11}{'ratio':>8}{'compile s':>11}{'kept s':>8}")
    rows = []
    for name, of, given in cases():
        literal, compiled = getattr(reference, name), getattr(jit, name)
        assert agree(literal, compiled, given), name
        slow, fast = timed([literal, compiled], given, arguments.seconds)
        cold, kept = (first[name] for first in firsts)
        rows.append(
            {"function": name, "case": of, "numpy_us": slow, "numba_us": fast, "compile_s": cold, "kept_s": kept}
        )
        print(f"{name:<18}{of:<40}{slow:>12.1f}{fast:>11.1f}{slow / fast:>8.1f}{cold:>11.2f}{kept:>8.3f}")
    imports, totals = ([first["import"] for first in firsts], [sum(first.values()) for first in firsts])
    print(f"import {imports[0]:.2f} s; everything compiled {totals[0]:.1f} s, kept from before {totals[1]:.2f} s")
    if arguments.json:
        told = {"backend": backend_name(), "numpy": np.__version__, "python": platform.python_version()}
        told |= {"machine": platform.processor() or platform.machine(), "cores": str(os.cpu_count())}
        report = {"versions": told, "pairs": PAIRS, "seed": SEED, "first_calls": firsts, "cases": rows}
        arguments.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
