"""Sampling methods: xgraph against lime, Captum, shap, DIANNA and InterpretDL on one ResNet-50, in turns in one run.

    sh bench/peers/setup.sh dianna interpretdl
    python bench/black_box.py --samples 1000 --json black_box.json --readme README.md

Weights are seeded, not trained: the time does not depend on them. All get the same input, sample count and threads;
what they find is compared before any time is reported. Peers without an environment (see bench/peers/setup.sh) are left
out, and so is the second device where this machine does not have it. Needs PyTorch, lime, captum and shap.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from black_box_cases import CASES, Case, make_setting
from black_box_entries import Forward, Ours, Outcome, correlation, distance, python_of
from threadpoolctl import threadpool_limits

from xgraph.errors import ProviderError
from xgraph.runtime.providers import DEVICES, PRECISIONS, Provider, choose

MARKERS = "<!-- black box -->", "<!-- /black box -->"
PACKAGES = ("xgraph", "onnxruntime", "torch", "lime", "captum", "shap", "numpy", "scikit-learn", "scikit-image")
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16")
Row = dict[str, Any]


def run_case(case: Case, rounds: int) -> list[Row]:
    """Returns the rows of a case; entries take turns.

    Raises:
        SystemExit: Results that should be the same are not.
    """
    for entry in case.entries:
        entry.prepare()
    outcomes: list[list[Outcome]] = [[] for _ in case.entries]
    for number in range(rounds):
        for entry, own in zip(case.entries, outcomes, strict=True):
            own.append(entry.run())
            print(f"  round {number + 1}: {entry.name}", flush=True)
    reference = outcomes[0]
    rows: list[Row] = []
    for entry, own in zip(case.entries, outcomes, strict=True):
        row: Row = {
            "name": entry.name,
            "seconds": [outcome.seconds for outcome in own],
            "median_s": median(outcome.seconds for outcome in own),
            "times_xgraph": median(a.seconds / b.seconds for a, b in zip(own, reference, strict=True)),
            "note": entry.note,
            "versions": dict(own[-1].versions),
        }
        if entry.measure is not None and entry is not case.entries[0]:
            found = entry.measure(own[-1].values, reference[-1].values)
            row["difference" if entry.measure is distance else "correlation"] = found
            if entry.limit is not None and not found <= entry.limit:
                far = f"{entry.name} is {found:.1e} from xgraph, which is more than {entry.limit}"
                raise SystemExit(f"{case.title}: {far}")
        if isinstance(entry, Ours):
            row |= {"first_call_s": entry.first, "open_s": max(0.0, entry.first - row["median_s"])}
            row |= {"batch": entry.batches[0], "batches": len(entry.batches)}
            if case.random:
                row["seeds_correlation"] = correlation(entry.another, own[-1].values)
        rows.append(row)
    for entry, own in zip(case.entries, outcomes, strict=True):
        if isinstance(entry, Forward):
            total = next(k for k, other in enumerate(case.entries) if other is entry.ours)
            shares = (1 - f.seconds / t.seconds for f, t in zip(own, outcomes[total], strict=True))
            rows[total]["outside_forward"] = median(shares)
            rows[total]["forward_s"] = median(outcome.seconds for outcome in own)
    return rows


def providers(device: str, precision: str) -> Iterator[Provider]:
    """Gives the CPU, and the second device where it can be had."""
    yield choose("cpu")
    if device != "cpu":
        try:
            yield choose(device, precision)
        except ProviderError as error:
            print(f"left out: {error}")


def machine() -> dict[str, Any]:
    """Returns what a time depends on."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = told.get("flags", "").split()
    return {
        "cpu": told.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in flags],
        "python": platform.python_version(),
        "system": platform.system(),
    }


def markdown(tables: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> str:
    """Returns the tables."""
    cpu = about["machine"]
    has = f" ({', '.join(cpu['flags'])})" if cpu["flags"] else ""
    versions = {**about["versions"], **{k: v for t in tables for row in t["rows"] for k, v in row["versions"].items()}}
    versions |= about["versions"]
    shown = ("onnxruntime", "torch", "lime", "captum", "shap", "dianna", "interpretdl", "paddlepaddle")
    engines = ", ".join(f"{name} {versions[name]}" for name in shown if name in versions)
    parts = [
        f"ResNet-50, {about['size']} x {about['size']}, seeded weights; {about['threads']} threads of "
        f"{cpu['cpu']}{has}; {about['rounds']} round(s); {engines}."
    ]
    for table in tables:
        head = "| | s | ms per sample | time / xgraph's | against xgraph's result |"
        lines = [f"**{table['title']}**", "", head, "|---|--:|--:|--:|---|"]
        for row in table["rows"]:
            each = row["median_s"] * 1e3 / table["runs"]
            cells = [row["name"], f"{row['median_s']:.1f}", f"{each:.1f}", f"{row['times_xgraph']:.2f}", compared(row)]
            lines.append(f"| {' | '.join(cells)} |")
        for row in table["rows"]:
            if "first_call_s" in row:
                outside = row.get("outside_forward")
                told = [] if outside is None else [f"{outside:.1%} of the time is outside the forward passes"]
                told += [f"{row['batches']} batches of {row['batch']}"]
                told += [f"compiling and opening took {row['open_s']:.1f} s before"]
                if "seeds_correlation" in row:
                    told += [f"results of two seeds correlate by {row['seeds_correlation']:.2f}"]
                lines += ["", f"{row['name']}: {'; '.join(told)}."]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def compared(row: Row) -> str:
    """Returns how a result compares, in words."""
    parts = [row["note"]] if row["note"] else []
    if "difference" in row:
        parts.append(f"largest difference {row['difference']:.0e}")
    if "correlation" in row:
        parts.append(f"correlation {row['correlation']:.2f}")
    return ", ".join(parts)


def write_readme(path: Path, text: str) -> None:
    """Puts the tables between the markers.

    Raises:
        SystemExit: The file does not have them.
    """
    begin, end = MARKERS
    whole = path.read_text()
    head, found, rest = whole.partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{path} has no {begin} with a {end} behind it")
    path.write_text(f"{head}{begin}\n{text}\n{end}{tail}")


def limit_threads(threads: int) -> None:
    """Holds this process, its children and all engines to so many cores and threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    import numba

    torch.set_num_threads(threads)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    threadpool_limits(threads)


def main() -> None:
    """Runs the cases and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=",".join(CASES), help="some of %(default)s")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--device", choices=DEVICES, default="openvino", help="tried beside the CPU")
    parser.add_argument("--precision", choices=PRECISIONS, default="bf16", help="of that device")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--readme", type=Path)
    arguments = parser.parse_args()
    names = arguments.cases.split(",")
    if unknown := [name for name in names if name not in CASES]:
        parser.error(f"no such case: {', '.join(unknown)}; there are {', '.join(CASES)}")
    limit_threads(arguments.threads)
    for peer in ("dianna", "interpretdl"):
        if not python_of(peer).exists():
            print(f"left out: {peer} has no environment; sh bench/peers/setup.sh {peer}")

    about: Row = {
        "machine": machine(),
        "threads": arguments.threads,
        "size": arguments.size,
        "samples": arguments.samples,
        "rounds": arguments.rounds,
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }
    tables: list[Row] = []
    with TemporaryDirectory() as folder:
        devices = list(providers(arguments.device, arguments.precision))
        about["providers"] = [str(device) for device in devices]
        setting = make_setting(arguments.size, arguments.samples, arguments.threads, devices, Path(folder))
        for name in names:
            for case in CASES[name](setting):
                print(case.title, flush=True)
                rows = run_case(case, arguments.rounds)
                tables.append({"case": name, "title": case.title, "runs": case.runs, "rows": rows})
                if arguments.json:
                    arguments.json.write_text(json.dumps({**about, "tables": tables}, indent=1))
    text = markdown(tables, about)
    print(f"\n{text}")
    if arguments.readme:
        write_readme(arguments.readme, text)


if __name__ == "__main__":
    main()
