"""The child process of the fuzz test: loads what it is told to, says what came of it, and may die of it.

One JSON job per line comes in (``Job``), one JSON answer per line goes out. What a native library prints or does to
the process is its own affair here: the parent sees an answer, the end of the process, or a time limit.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np

MEMORY = 6 << 30
"""Bytes of address space; a mutant that wants more gets a MemoryError."""
_MOST_VALUES = 1 << 20
_CLOSE = 1e-3


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    import xgraph  # noqa: F401  under the limit, and not on the first mutant's time

    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), file=answers, flush=True)


def _answer(job: dict[str, Any]) -> dict[str, str]:
    from xgraph.errors import XGraphError

    try:
        return {"end": "right", "what": _examine(job)}
    except XGraphError as error:
        text = str(error)
        # What asks to be reported is a bug of ours, said politely.
        clean = text and "\n" not in text and len(text) < 2000 and "please report" not in text
        return {"end": "refused" if clean else "ugly", "what": f"{type(error).__name__}: {text}"}
    except AssertionError as error:
        return {"end": "wrong", "what": str(error)}
    except BaseException:  # noqa: BLE001  that is what is looked for
        return {"end": "escaped", "what": traceback.format_exc()}


def _examine(job: dict[str, Any]) -> str:
    """Returns what was compared; the model at ``path`` must compute what ONNX Runtime computes from the same file."""
    import xgraph

    path = Path(job["path"])
    if job["kind"] == "preprocess":
        xgraph.Preprocess.from_paddle(path)
        return "read"
    if job["kind"] == "paddle files":
        from xgraph.exporters import find

        find(path)
        return "found"
    model = xgraph.load(path)
    feeds = _feeds(model)
    if feeds is None:
        return "loaded only: its inputs are too large to try"
    if job["kind"] == "onnx":
        ours, theirs = _forward(model, feeds), _forward_raw(path, feeds)
        if theirs is not None:
            _same(ours, theirs, "forward")
    gradient = xgraph.explain(model, feeds, "gradient")
    original = xgraph.load(Path(job["original"]))
    if not _alike(model, original, feeds):
        return "another function"
    expected = xgraph.explain(original, feeds, "gradient")
    _same(list(gradient.values.values()), list(expected.values.values()), "gradient")
    return "the same function"


def _feeds(model: Any) -> dict[str, np.ndarray] | None:
    rng = np.random.default_rng(0)
    feeds = {}
    for port in model.inputs:
        shape = [size if isinstance(size, int) else 2 if axis == 0 else 8 for axis, size in enumerate(port.shape)]
        if np.prod(shape, dtype=np.float64) > _MOST_VALUES:
            return None
        if port.is_float:
            feeds[port.name] = rng.standard_normal(shape).astype(port.dtype)
        else:
            feeds[port.name] = np.ones(shape, port.dtype)
    return feeds


def _forward(model: Any, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    from xgraph.graph.evaluator import detach_weights
    from xgraph.runtime.evaluate import evaluate

    return list(evaluate(*detach_weights(model.graph), feeds))


def _forward_raw(path: Path, feeds: dict[str, np.ndarray]) -> list[np.ndarray] | None:
    """ONNX Runtime on the file as it is; None where it refuses what is imported here (an unused broken node ...)."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return session.run(None, feeds)
    except Exception:  # noqa: BLE001  the engine has many types
        return None


def _alike(model: Any, original: Any, feeds: dict[str, np.ndarray]) -> bool:
    if [(port.name, port.dtype) for port in original.inputs] != [(port.name, port.dtype) for port in model.inputs]:
        return False
    try:
        pairs = list(zip(_forward(model, feeds), _forward(original, feeds), strict=True))
    except Exception:  # noqa: BLE001  other inputs than the original takes
        return False
    return all(np.array_equal(ours, theirs) for ours, theirs in pairs)


def _same(ours: list[np.ndarray], theirs: list[np.ndarray], what: str) -> None:
    assert len(ours) == len(theirs), f"{what}: {len(ours)} outputs, not {len(theirs)}"
    for have, want in zip(ours, theirs, strict=True):
        assert have.shape == want.shape, f"{what}: shape {have.shape}, not {want.shape}"
        scale = float(np.abs(want[np.isfinite(want)]).max(initial=0.0)) if want.dtype.kind == "f" else 0.0
        assert np.allclose(have, want, rtol=_CLOSE, atol=_CLOSE * scale, equal_nan=True), f"{what}: other values"


if __name__ == "__main__":
    main()
