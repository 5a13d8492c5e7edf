"""Bundles: a folder with a model and its explanation graphs, explained without conversion or rewriting.

``manifest.json`` says what is in it; ``graphs/`` holds the ONNX files and ``weights.bin``, the weights of all.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from xgraph.compiler import build
from xgraph.errors import BundleError, ExportError, GraphError, InputError
from xgraph.graph.artifact import Artifact, finish
from xgraph.graph.io import read
from xgraph.graph.normalise.infer import infer_shapes
from xgraph.graph.write import WeightStore
from xgraph.loading import describe
from xgraph.model import Compiled, Model
from xgraph.plan import Recipe
from xgraph.preprocess import Preprocess
from xgraph.program import Program
from xgraph.vocabulary import Vocabulary

FORMAT = {"name": "xgraph bundle", "version": 1}
_FORWARD = "graphs/forward.onnx"
SUFFIX, MANIFEST, WEIGHTS = ".xgraph", "manifest.json", "weights.bin"


def is_bundle(path: Path) -> bool:
    """Tells whether ``path`` is a bundle's folder, whole or damaged."""
    try:
        return path.is_dir() and (path.suffix == SUFFIX or ((path / MANIFEST).is_file() and (path / "graphs").is_dir()))
    except OSError:
        return False


def check_replaceable(path: Path) -> None:
    """Makes sure that a bundle written to ``path`` destroys nothing but an older bundle.

    Raises:
        BundleError: Something else is there.
    """
    if path.exists() and not (is_bundle(path) and (path / MANIFEST).is_file()):
        raise BundleError(f"{path} exists and is no bundle; choose another name with -o")


def write_bundle(model: Model, programs: Sequence[Program], path: Path) -> Path:
    """Writes a bundle; it appears whole or not at all, and replaces an older bundle of that name.

    Raises:
        BundleError: The folder cannot be written, or is something else than a bundle.
        UnsupportedOpError: A program cannot be compiled.
    """
    check_replaceable(path)
    graphs: dict[str, Artifact] = {"forward": finish(model.graph.clone(), model.digest)}
    for stem, tapped in (("activations", model.layers), ("attention", model.attention)):
        if tapped:
            taps = tuple(dict.fromkeys(layer.value for layer in tapped))
            graphs[stem] = build(model, Recipe(output=model.output().name, taps=taps), "portable")
    entries: list[dict[str, Any]] = []
    stored: set[tuple[str, str]] = set()
    for program in programs:
        for i, recipe in enumerate(program.recipes):
            if (recipe.key(), program.resolved_profile) in stored:
                continue
            stored.add((recipe.key(), program.resolved_profile))
            stem = program.method.name if i == 0 else f"{program.method.name}.{i}"
            while stem in graphs:
                stem += "_"
            graphs[stem] = program.artifact(recipe, program.resolved_profile)
            entries.append(
                {
                    "method": program.method.name,
                    "recipe": recipe.to_json(),
                    "key": recipe.key(),
                    "profile": program.resolved_profile,
                    "precision": program.precision or "fp32",
                    "file": f"graphs/{stem}.onnx",
                }
            )
    draft = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        (draft / "graphs").mkdir(parents=True)
        with (draft / "graphs" / WEIGHTS).open("wb") as file:
            store = WeightStore(file, WEIGHTS)
            digests = {}
            for stem, artifact in graphs.items():
                graph = store.attach(artifact)
                (draft / "graphs" / f"{stem}.onnx").write_bytes(graph)
                digests[f"graphs/{stem}.onnx"] = sha256(graph).hexdigest()
        manifest = {**_manifest(model, entries), "sha256": digests}
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
        _put_in_place(draft, path)
    except OSError as error:
        raise BundleError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return path


def _put_in_place(draft: Path, path: Path) -> None:
    """Renames ``draft`` to ``path``; whatever interrupts that, an older bundle is back in its place."""
    if not path.exists():
        draft.rename(path)
        return
    old = path.with_name(f".{path.name}.{uuid4().hex[:8]}.old")
    try:
        path.rename(old)
        draft.rename(path)
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(old, ignore_errors=True)


def read_bundle(path: Path, preprocess: Preprocess | None = None) -> Model:
    """Returns the model in a bundle, with the graphs that came with it.

    Raises:
        BundleError: The bundle is damaged or of another format version.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        if manifest["format"]["name"] != FORMAT["name"]:
            raise ValueError(f"{MANIFEST} is not one of xgraph's")
        if manifest["format"]["version"] != FORMAT["version"]:
            raise BundleError(
                f"{path} has bundle format {manifest['format']['version']}, this xgraph reads {FORMAT['version']}; "
                "compile it again from the model"
            )
        for key in ("digest", "source"):
            if not isinstance(manifest[key], str):
                raise ValueError(f"its {key} is {manifest[key]!r}")
        digests: Mapping[str, str] = manifest.get("sha256", {})  # older bundles have none
        forward = _inside(path, _FORWARD)
        found = sha256(forward.read_bytes()).hexdigest()
        if digests.get(_FORWARD, found) != found:
            raise ValueError(f"{_FORWARD} is not the file that was written")
        graph = read(forward)
        infer_shapes(graph)
        compiled = tuple(
            Compiled(
                recipe=entry["key"],
                profile=entry["profile"],
                file=_inside(path, entry["file"]),
                method=entry["method"],
                precision=entry["precision"],
                digest=str(digests.get(entry["file"], "")),
            )
            for entry in manifest["programs"]
        )
        spec = manifest["preprocessing"]
        return describe(
            graph,
            digest=manifest["digest"],
            source=manifest["source"],
            path=path,
            order=tuple(port["name"] for port in manifest["inputs"]),
            preprocess=preprocess or (Preprocess.from_json(spec) if spec else None),
            vocabulary=Vocabulary.from_json(manifest["vocabulary"]) if manifest.get("vocabulary") else None,
            versions=manifest["versions"],
            compiled=compiled,
        )
    except KeyError as error:
        raise BundleError(f"{path} is damaged ({MANIFEST} lacks {error}); compile it again from the model") from error
    except FileNotFoundError as error:
        lost = Path(error.filename or MANIFEST).name
        raise BundleError(f"{path} is damaged ({lost} is missing); compile it again from the model") from error
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(f"{path} is damaged ({error}); compile it again from the model") from error
    except (ExportError, GraphError, InputError) as error:
        raise BundleError(f"{path} is damaged ({error}); compile it again from the model") from error


def _inside(path: Path, name: str) -> Path:
    """Returns the graph file ``name`` of a bundle, which must lie in the bundle, links followed."""
    graphs = path / "graphs"
    file = graphs / PurePosixPath(name).name
    if name != f"graphs/{file.name}" or file.resolve().parent != graphs.resolve():
        raise ValueError(f"{name!r} is no file in its folder of graphs")
    return file


def _manifest(model: Model, programs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "digest": model.digest,
        "source": model.source,
        "opset": model.opset,
        "batch": "dynamic" if model.batch is None else model.batch,
        "inputs": [port.to_json() for port in model.inputs],
        "outputs": [port.to_json() for port in model.outputs],
        "layers": [
            {
                "name": layer.name,
                "op": layer.op,
                "value": layer.value,
                "shape": list(layer.shape),
                "role": layer.role,
            }
            for layer in model.layers
        ],
        "attention": [layer.name for layer in model.attention],
        "preprocessing": model.preprocess.to_json() if model.preprocess else None,
        "labels": list(model.preprocess.labels) if model.preprocess else [],
        "vocabulary": model.vocabulary.to_json() if model.vocabulary else None,
        "programs": programs,
        "versions": dict(model.versions),
    }
