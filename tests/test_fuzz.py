"""Damaged models end in one readable line or in right numbers: never another exception, a hang or a dead process.

``XGRAPH_FUZZ=N`` mutates N times as often as the default run does, ``XGRAPH_FUZZ_SEED`` begins elsewhere.
A failure says the mutant's file; it is kept under pytest's temporary folder.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from zlib import crc32

import builders
import numpy as np
import onnx
import pytest
import yaml
from fuzz import models, mutate
from fuzz.pool import Child

TIMES = int(os.environ.get("XGRAPH_FUZZ", "1"))
SEED = int(os.environ.get("XGRAPH_FUZZ_SEED", "0"))
Mutant = dict[str, str]
Change = Callable[[np.random.Generator], tuple[str, bytes]]


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    with Child() as started:
        yield started


def judge(child: Child, mutants: Iterator[Mutant]) -> Counter[str]:
    """Asks the child about every mutant; returns how often each end was reached."""
    ends: Counter[str] = Counter()
    bad = []
    for mutant in mutants:
        answer = child.ask(mutant)
        ends[answer["end"]] += 1
        if answer["end"] not in ("refused", "right"):
            bad.append(f"{mutant['path']} ({mutant['how']}) {answer['end']}: {answer['what']}")
    assert not bad, f"{len(bad)} of {ends.total()}:\n" + "\n".join(bad)
    return ends


def files(folder: Path, original: Path, count: int, change: Change) -> Iterator[Mutant]:
    """Writes mutants one at a time, each into a folder of its own."""
    for number in range(count):
        rng = np.random.default_rng([SEED, number, crc32(str(folder.name).encode())])
        how, data = change(rng)
        path = folder / str(number) / "model.onnx"
        path.parent.mkdir()
        path.write_bytes(data)
        yield {"path": str(path), "original": str(original), "kind": "onnx", "how": how}


def mutated(model: onnx.ModelProto, rng: np.random.Generator) -> tuple[str, bytes]:
    """One mutation of the protobuf, sometimes two."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    names = []
    for _ in range(1 if rng.random() < 0.8 else 2):
        change = mutate.PROTO[int(rng.integers(len(mutate.PROTO)))]
        # A second mutation may find nothing left to change.
        with suppress(IndexError, TypeError, AttributeError):
            change(copy, rng)
        names.append(change.__name__)
    return " and ".join(names), copy.SerializeToString()


@pytest.mark.parametrize("name", models.BUILT)
def test_mutated_graphs(name: str, child: Child, tmp_path: Path) -> None:
    model = models.BUILT[name]()
    original = tmp_path / "original.onnx"
    original.write_bytes(model.SerializeToString())
    ends = judge(child, files(tmp_path, original, 25 * TIMES, lambda rng: mutated(model, rng)))
    assert ends["refused"], "nothing was refused: the mutations do no harm"


@pytest.mark.parametrize("original", models.REAL, ids=lambda path: path.stem)
def test_mutated_real_models(original: Path, child: Child, tmp_path: Path) -> None:
    model = onnx.load(original)
    judge(child, files(tmp_path, original, 10 * TIMES, lambda rng: mutated(model, rng)))


@pytest.mark.parametrize("name", models.BUILT)
def test_mutated_bytes(name: str, child: Child, tmp_path: Path) -> None:
    data = models.BUILT[name]().SerializeToString()
    original = tmp_path / "original.onnx"
    original.write_bytes(data)
    judge(child, files(tmp_path, original, 10 * TIMES, lambda rng: ("bytes", mutate.mutate_bytes(data, rng))))


def stored_outside(folder: Path) -> Path:
    """The tiny CNN with its weights in a file of their own."""
    path = folder / "whole" / "model.onnx"
    path.parent.mkdir()
    onnx.save(builders.tiny_cnn(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def test_mutated_external_data(child: Child, tmp_path: Path) -> None:
    original = stored_outside(tmp_path)
    model = onnx.load(original, load_external_data=False)
    weights = original.with_name("weights.bin").read_bytes()

    def mutants() -> Iterator[Mutant]:
        for number in range(20 * TIMES):
            rng = np.random.default_rng([SEED, number])
            copy = onnx.ModelProto()
            copy.CopyFrom(model)
            how = mutate.relocate(copy, rng) if rng.random() < 0.7 else "file"
            path = tmp_path / str(number) / "model.onnx"
            path.parent.mkdir()
            path.write_bytes(copy.SerializeToString())
            path.with_name("weights.bin").write_bytes(mutate.mutate_bytes(weights, rng) if how == "file" else weights)
            yield {"path": str(path), "original": str(original), "kind": "onnx", "how": how}

    judge(child, mutants())


def test_mutated_bundles(child: Child, tiny_onnx: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    names = sorted(str(path.relative_to(tiny_bundle)) for path in tiny_bundle.rglob("*") if path.is_file())

    def mutants() -> Iterator[Mutant]:
        for number in range(40 * TIMES):
            rng = np.random.default_rng([SEED, number])
            path = Path(shutil.copytree(tiny_bundle, tmp_path / f"{number}.xgraph"))
            if rng.random() < 0.6:
                text = (path / "manifest.json").read_text()
                (path / "manifest.json").write_text(mutate.mutate_json(text, rng))
                how = "manifest"
            else:
                how = names[int(rng.integers(len(names)))]
                data = (path / how).read_bytes()
                (path / how).unlink()
                if rng.random() < 0.7:
                    (path / how).write_bytes(mutate.mutate_bytes(data, rng))
            yield {"path": str(path), "original": str(tiny_onnx), "kind": "bundle", "how": how}

    judge(child, mutants())


def test_mutated_preprocessing(child: Child, tmp_path: Path) -> None:
    text = (models.DATA / "shapes_cnn" / "inference.yml").read_text()

    def mutants() -> Iterator[Mutant]:
        for number in range(60 * TIMES):
            rng = np.random.default_rng([SEED, number])
            path = tmp_path / f"{number}.yml"
            if rng.random() < 0.7:
                # JSON is YAML.
                path.write_text(mutate.mutate_json(json.dumps(yaml.safe_load(text)), rng))
            else:
                path.write_bytes(mutate.mutate_bytes(text.encode(), rng))
            yield {"path": str(path), "kind": "preprocess", "how": "yaml"}

    judge(child, mutants())


def paddle_mutants(folder: Path, original: Path, count: int, kind: str) -> Iterator[Mutant]:
    """A Paddle model with its program or its parameters damaged."""
    for number in range(count):
        rng = np.random.default_rng([SEED, number, crc32(original.name.encode())])
        path = folder / str(number) / original.name
        path.parent.mkdir()
        parameters = original.with_suffix(".pdiparams")
        program, weights = original.read_bytes(), parameters.read_bytes()
        how = ("weights", "json", "bytes")[int(rng.integers(3))]
        if how == "weights":
            weights = mutate.mutate_bytes(weights, rng)
        elif how == "json" and original.suffix == ".json":
            program = mutate.mutate_json(program.decode(), rng).encode()
        else:
            program = mutate.mutate_bytes(program, rng)
        path.write_bytes(program)
        path.with_name(parameters.name).write_bytes(weights)
        yield {"path": str(path), "original": str(original), "kind": kind, "how": how}


@pytest.mark.parametrize("original", models.PADDLE, ids=lambda path: f"{path.stem}{path.suffix}")
def test_mutated_paddle_files(original: Path, child: Child, tmp_path: Path) -> None:
    judge(child, paddle_mutants(tmp_path, original, 5 * TIMES, "paddle files"))


@pytest.mark.paddle
@pytest.mark.parametrize("original", models.PADDLE[:1] + models.PADDLE[-1:], ids=lambda path: path.suffix)
def test_mutated_paddle_models(original: Path, child: Child, tmp_path: Path) -> None:
    judge(child, paddle_mutants(tmp_path, original, 3 * TIMES, "paddle"))
