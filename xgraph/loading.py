"""From a path to a Model: export, normalise, verify, describe."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import numpy as np
import platformdirs

import xgraph
from xgraph.errors import GraphError, InputError
from xgraph.exporters import Exported, Exporter, find
from xgraph.exporters.base import Check
from xgraph.graph.evaluator import detach_weights
from xgraph.graph.io import opset, read
from xgraph.graph.layers import SCOPE, layers
from xgraph.graph.normalise import has_vendors_operators, normalise
from xgraph.graph.normalise.batch import free_batch
from xgraph.graph.patterns import find_embeddings, find_heads
from xgraph.graph.ports import Port, ports
from xgraph.graph.types import Graph
from xgraph.model import Compiled, Model
from xgraph.preprocess import Preprocess
from xgraph.runtime.evaluate import evaluate
from xgraph.vocabulary import Vocabulary

_BATCH = re.compile(r"\bbatch\b")
TOLERANCE = 1e-4
"""An imported model against its source: of the largest output."""


def load_model(
    path: Path, *, params: Path | None = None, preprocess: Preprocess | None = None, verify: bool = True
) -> Model:
    """Returns the model at ``path``, which is a model file, a prefix or a folder.

    Raises:
        ExportError: It cannot be read or converted.
        GraphError: Its graph is invalid, or does not compute what the source model computes.
    """
    exporter, files = find(path, params)
    digest = _digest(files)
    with _exported(exporter, files, digest, verify) as exported, _in_one_line(files[0]):
        raw = read(exported.path)
        _stamp_scopes(raw, exported.scopes)
        rewritten = opset(raw) < 18 or has_vendors_operators(raw)
        graph = normalise(raw, evaluator=evaluate if verify and rewritten else None)
        if verify:
            graph = free_batch(graph, evaluate) or graph
        if verify and exported.check is not None:
            _compare(graph, exported.check, files[0])
        spec, problem = (preprocess, "") if preprocess else _spec_beside(files)
        return describe(
            graph,
            digest=digest,
            source=exported.source,
            path=files[0],
            order=exported.inputs,
            preprocess=spec,
            preprocess_problem=problem,
            vocabulary=Vocabulary.beside(files),
            versions={**_versions(), **exported.versions},
        )


@contextmanager
def _in_one_line(path: Path) -> Iterator[None]:
    """Says what a library throws at a graph that it cannot take; errors of ours pass as they are."""
    try:
        yield
    except MemoryError as error:
        raise GraphError(f"{path}: importing it takes more memory than there is") from error
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        NotImplementedError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        reason = " ".join(str(error).split())[:300]
        raise GraphError(
            f"{path}: its graph cannot be imported ({type(error).__name__}: {reason}); please report this model"
        ) from error


def describe(
    graph: Graph,
    *,
    digest: str,
    source: str,
    path: Path,
    order: tuple[str, ...] = (),
    preprocess: Preprocess | None = None,
    preprocess_problem: str = "",
    vocabulary: Vocabulary | None = None,
    versions: Mapping[str, str] | None = None,
    compiled: tuple[Compiled, ...] = (),
) -> Model:
    """Returns the Model of a normalised graph: what it offers is found here, once."""
    embeddings = {
        found.input.name or "": found for found in reversed(find_embeddings(graph)[0]) if found.input is not None
    }
    words = {name for name, found in embeddings.items() if found.kind == "word"}
    inputs, outputs = ports(graph, words, order)
    found = layers(graph)
    return Model(
        graph=graph,
        digest=digest,
        source=source,
        path=path,
        inputs=inputs,
        outputs=outputs,
        layers=found,
        attention=tuple(layer for layer in found if layer.role == "attention probability"),
        heads={head.output.name or "": head for head in find_heads(graph)},
        embeddings={name: found.output.name or "" for name, found in embeddings.items()},
        opset=opset(graph),
        batch=_fixed_batch(inputs, outputs),
        preprocess=preprocess,
        preprocess_problem=preprocess_problem,
        vocabulary=vocabulary if words else None,
        compiled=compiled,
        versions=dict(versions or {}),
    )


def _fixed_batch(inputs: tuple[Port, ...], outputs: tuple[Port, ...]) -> int | None:
    """The number of samples that the model takes at once. One input that is not dynamic decides it for all.

    Where every output has one row whatever comes in, samples run one at a time. More rows than one prove nothing. So
    they do where an output compares every sample with every other (images times texts): its rows are no samples.
    """
    fixed = [size for port in inputs for size in port.shape[:1] if isinstance(size, int)]
    if fixed:
        return fixed[0]
    one = all(port.shape[:1] == (1,) and not any("batch" in str(size) for size in port.shape) for port in outputs)
    compared = any(port.is_float and any(_BATCH.search(str(size)) for size in port.shape[1:]) for port in outputs)
    return 1 if one or compared else None


def _spec_beside(files: tuple[Path, ...]) -> tuple[Preprocess | None, str]:
    """Reads the deployment's preprocessing; one that cannot be reproduced matters only once pictures come in."""
    try:
        return Preprocess.beside(files), ""
    except InputError as error:
        return None, str(error)


@contextmanager
def _exported(exporter: Exporter, files: tuple[Path, ...], digest: str, verify: bool) -> Iterator[Exported]:
    """Yields the model as ONNX. Conversions are kept in the user's cache, keyed by the files' digest."""
    if files[0].suffix.lower() == ".onnx":
        with TemporaryDirectory() as out:
            yield exporter.export(files, Path(out), verify=verify)
        return
    kept = _cache() / f"{digest[:32]}-{'checked' if verify else 'unchecked'}"
    try:
        cached = _read_cached(kept, files)
    except (OSError, ValueError, KeyError):
        shutil.rmtree(kept, ignore_errors=True)
        cached = None
    if cached is not None:
        yield cached
        return
    with TemporaryDirectory() as out:
        exported = exporter.export(files, Path(out), verify=verify)
        yield exported
        # Kept only after the graph was found right.
        _write_cached(kept, exported)


def _cache() -> Path:
    return Path(platformdirs.user_cache_dir("xgraph", appauthor=False)) / xgraph.__version__


def _read_cached(kept: Path, files: tuple[Path, ...]) -> Exported | None:
    if not (kept / "exported.json").is_file():
        return None
    data = json.loads((kept / "exported.json").read_text())
    check = None
    if (kept / "check.npz").is_file():
        with np.load(kept / "check.npz", allow_pickle=False) as stored:
            feeds = {name[5:]: stored[name] for name in stored.files if name.startswith("feed:")}
            outputs = tuple(stored[f"output:{i}"] for i in range(data["outputs"]))
        check = Check(feeds, outputs)
    return Exported(
        path=kept / "model.onnx",
        source=data["source"],
        files=files,
        inputs=tuple(data["inputs"]),
        scopes=data["scopes"],
        check=check,
        versions=data["versions"],
    )


def _write_cached(kept: Path, exported: Exported) -> None:
    """Keeps a conversion. A cache that cannot be written costs time at the next load, nothing else."""
    draft = kept.with_name(f".{kept.name}.{uuid4().hex[:8]}")
    try:
        draft.mkdir(parents=True)
        shutil.copyfile(exported.path, draft / "model.onnx")
        count = 0
        if exported.check is not None:
            count = len(exported.check.outputs)
            arrays = {f"feed:{name}": array for name, array in exported.check.feeds.items()}
            arrays.update({f"output:{i}": array for i, array in enumerate(exported.check.outputs)})
            np.savez(draft / "check.npz", **arrays)  # type: ignore[arg-type]
        data = {
            "source": exported.source,
            "inputs": list(exported.inputs),
            "scopes": dict(exported.scopes),
            "versions": dict(exported.versions),
            "outputs": count,
        }
        (draft / "exported.json").write_text(json.dumps(data))
        draft.rename(kept)
    except OSError:
        return
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _digest(files: tuple[Path, ...]) -> str:
    digest = sha256()
    for file in files:
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
        digest.update(file.suffix.encode())
    return digest.hexdigest()


def _stamp_scopes(model: Graph, scopes: Mapping[str, str]) -> None:
    for node in model.graph:
        for value in node.outputs:
            scope = scopes.get(value.name or "")
            if scope:
                node.metadata_props[SCOPE] = scope


def _compare(graph: Graph, check: Check, path: Path) -> None:
    names = [value.name for value in graph.graph.outputs]
    model, weights = detach_weights(graph)
    ours = evaluate(model, weights, check.feeds)
    for name, own, theirs in zip(names, ours, check.outputs, strict=True):
        if own.shape != theirs.shape:
            raise GraphError(
                f"{path}: output '{name}' has the shape {list(own.shape)} as ONNX and {list(theirs.shape)} in Paddle; "
                "the converter did not keep the model's meaning (--no-verify skips this check)"
            )
        scale = float(np.abs(theirs).max(initial=0.0)) or 1.0
        gap = float(np.abs(own.astype(np.float64) - theirs).max(initial=0.0))
        if not gap <= TOLERANCE * scale:
            raise GraphError(
                f"{path}: output '{name}' differs by {gap:.3g} between ONNX and Paddle, whose largest value is "
                f"{scale:.3g} (allowed: {TOLERANCE * scale:.3g}); the converter did not keep the model's meaning "
                "(--no-verify skips this check)"
            )


def _versions() -> dict[str, str]:
    return {"xgraph": xgraph.__version__, "onnx": version("onnx"), "onnx-ir": version("onnx-ir")}
