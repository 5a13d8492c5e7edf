"""Paddle -> ONNX in a process of its own: the converter aborts or kills the process it runs in.

Run by file path, with a request as its only argument; of xgraph, it imports ``paddle_rewrites`` alone.
Writes into the request's ``work`` folder: ``stage`` (what it is doing, for the parent to report if the
process dies), ``check.npz``, ``unsupported.json`` (operators the converter does not list), ``program.json``
(the program that was converted), ``model.onnx`` and, last of all, ``result.json``. Python exceptions simply
propagate: the parent reads the last.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

OPSET = 17
"""The first with LayerNormalization; what the converter emits above it is the same."""
OPSET_WITHOUT_LAYER_NORM = 16
PADDLE_3 = 3_000_000
"""The version number that programs of Paddle 3.0 carry."""
OPEN_END = -(2**31)
"""How Paddle 3 writes the end of a slice that runs backwards through the first entry."""
SEED = 2024
SIZES = ((224, 16), (320, 32), (256, 8), (640, 64), (64, 4), (32, 2))
"""(height and width, sequence length) to try for dynamic dimensions, in turn."""
SAME_TOKENS = frozenset(
    f"pd_op.{kind}"
    for kind in (
        "cast", "assign", "reshape", "squeeze", "unsqueeze", "flatten", "transpose", "slice", "strided_slice",
        "expand", "concat", "split", "share_data_", "clip", "where",
    )
) | {"builtin.combine", "builtin.split", "builtin.slice"}  # fmt: skip
"""Operators through which token ids pass on their way to an embedding."""
RENAMED = frozenset(
    (
        "data", "feed", "fetch", "if", "while", "add_n", "arange", "divide", "floor_divide", "maximum",
        "minimum", "multiply", "nonzero", "remainder", "subtract", "increment", "memcpy",
    )
)  # fmt: skip
"""Operators that the converter knows under quite another name, or treats apart."""
SIZE_DOES_NOT_FIT = (ValueError, IndexError, RuntimeError, OSError, SystemError, NotImplementedError)
"""What Paddle's checks of shapes and indices raise."""


Run: TypeAlias = Callable[..., list[Any]]
"""Outputs of the model for ``feed=``."""


def main() -> None:
    """Converts, and runs the model itself, as the request says."""
    request = json.loads(sys.argv[1])
    sys.path.extend(entry for entry in request["path"] if entry and entry not in sys.path)
    os.environ.update(FLAGS_enable_pir_api="1")  # where it is off, Paddle 3 does not find a .json
    _no_core_dump()
    work = Path(request["work"])
    stage = work / "stage"

    stage.write_text("importing Paddle")
    import paddle
    import paddle2onnx

    from xgraph.exporters.paddle_rewrites import rewrite

    paddle.enable_static()
    executor = paddle.static.Executor(paddle.CPUPlace())
    model = Path(request["model"])

    stage.write_text("reading")
    legacy = model.suffix == ".pdmodel"
    prefix = str(model.with_suffix(""))
    pir, inputs, run = _read_legacy(prefix, executor, stage) if legacy else _read(prefix, executor)

    unchecked = ""
    if request["verify"]:
        stage.write_text("running")  # now, for what follows may rewrite the program
        unchecked = _check(pir, inputs, run, work / "check.npz")

    stage.write_text("converting")
    source, params = model, model.with_suffix(".pdiparams")
    if rewrite(pir) or legacy:
        source, params = _save(pir, inputs, work / "source", executor)
    kinds = sorted({op.name() for op in pir.global_block().ops})
    (work / "unsupported.json").write_text(json.dumps(unsupported(kinds)))
    converted = work / "program.json"
    converted.write_text(single_precision_attributes(source.read_text(encoding="utf-8")), encoding="utf-8")
    # Writing to a file instead would run Polygraphy, which may install packages into this environment.
    onnx_bytes = paddle2onnx.export(
        str(converted), str(params) if params.exists() else "", None, opset_version=_opset(pir), verbose=False
    )
    (work / "model.onnx").write_bytes(onnx_bytes)

    result = {"inputs": inputs, "unchecked": unchecked, "versions": _versions()}
    (work / "result.json").write_text(json.dumps(result))


def _opset(pir: Any) -> int:
    """Returns the opset to convert to.

    The converter gives a LayerNormalization over several axes a flat scale, which is no valid ONNX; where
    the opset lacks that operator, it writes the single steps, and those are right.
    """
    norms = [op for op in pir.global_block().ops if op.name() == "pd_op.layer_norm"]
    last_axis = (op.attrs()["begin_norm_axis"] == len(op.operand_source(0).shape) - 1 for op in norms)
    return OPSET if all(last_axis) else OPSET_WITHOUT_LAYER_NORM


def single_precision_attributes(program: str) -> str:
    """Returns the program with its double attributes tagged as float.

    Paddle 3.3 writes scalar attributes as double; the converter knows float only and takes 0 for anything
    else, so LeakyReLU would silently lose its slope and GroupNorm its epsilon.
    """
    return re.sub(r'("#"\s*:\s*)"0\.a_f64"', r'\1"0.a_f32"', program)


def unsupported(kinds: Iterable[str]) -> list[str]:
    """Returns the operators that the converter does not list; it aborts because of them and names none.

    Its list has the operators' former names (``elementwise_add``, ``matmul_v2``, ``reduce_max``,
    ``hard_swish``), so this is good enough to explain a failure, not to predict one.
    """
    from paddle2onnx.paddle2onnx_cpp2py_export import get_all_supported_operators_pir

    listed = list(get_all_supported_operators_pir())
    joined = [name.replace("_", "") for name in listed]
    unknown = []
    for dialect, _, kind in (name.partition(".") for name in kinds):
        kind = kind.removesuffix("_")
        known = (
            dialect != "pd_op"
            or kind in RENAMED
            or any(name.startswith(kind.replace("_", "")) for name in joined)
            or any(name.endswith(f"_{kind}") for name in listed)
        )
        if not known:
            unknown.append(kind)
    return unknown


def _read(prefix: str, executor: Any) -> tuple[Any, list[str], Run]:
    """Returns the program, the names of its inputs, and how to run it as it is now."""
    import paddle

    pir, inputs, fetches = paddle.static.load_inference_model(prefix, executor)
    return pir, list(inputs), partial(executor.run, pir, fetch_list=fetches)


def _read_legacy(prefix: str, executor: Any, stage: Path) -> tuple[Any, list[str], Run]:
    """Returns a ``.pdmodel`` as a Paddle 3 program, the names of its inputs, and how to run the old program.

    The converter's own translation dies on ``expand`` whose shape is a list of scalars, the usual class token
    with a dynamic batch. Here that list becomes one tensor first.
    """
    import paddle
    import paddle2onnx
    from paddle.pir_utils import IrGuard, OldIrGuard

    with OldIrGuard():
        program, inputs, fetches = paddle.static.load_inference_model(prefix, executor)
    stage.write_text("translating")
    for op in (op for block in program.blocks for op in block.ops):
        if op.type == "round" and not op.has_attr("decimals"):
            op._set_attr("decimals", 0)  # Paddle 3 added it, and forgot programs without
        if op.type == "strided_slice" and program.desc._version() < PADDLE_3:
            open_backward_ends(op)
    pir = paddle.pir.translate_to_pir(program.desc)
    with IrGuard(), paddle.static.program_guard(pir):
        for op in list(pir.global_block().ops):
            if op.name() != "pd_op.expand":
                continue
            shape = op.operand_source(1).get_defining_op()
            if shape.name() == "builtin.combine":
                paddle.pir.set_insertion_point(op)
                parts = [paddle.reshape(value, [1]) for value in shape.operands_source()]
                op.operand(1).set_source(paddle.concat(parts))
        paddle2onnx.convert.load_parameter(pir)

    def run(feed: dict[str, np.ndarray]) -> list[Any]:
        with OldIrGuard():
            return list(executor.run(program, feed=feed, fetch_list=fetches))

    return pir, list(inputs), run


def open_backward_ends(op: Any) -> None:
    """Spells the ends of a slice by Paddle 2 as Paddle 3 reads them.

    Where the step is negative, -1 was how Paddle 2 wrote no end, as in ``x[::-1]``; Paddle 3 takes it for the last
    entry, and the slice for empty.

    Raises:
        ValueError: The end is computed, so only running the model tells whether it is -1.
    """
    steps = op.attr("strides")
    if min(steps) > 0:
        return
    if any(op.input(name) for name in ("EndsTensor", "EndsTensorList") if name in op.input_names):
        raise ValueError("it has a slice that runs backwards to a computed end, which Paddle 3 reads otherwise")
    ends = [OPEN_END if step < 0 and end == -1 else end for step, end in zip(steps, op.attr("ends"), strict=True)]
    op._set_attr("ends", ends)


def _save(pir: Any, inputs: Sequence[str], target: Path, executor: Any) -> tuple[Path, Path]:
    """Saves a program that is no longer what its file says; returns the new files."""
    import paddle

    ops = pir.global_block().ops
    feeds = {op.attrs()["name"]: op.result(0) for op in ops if op.name() in ("pd_op.feed", "pd_op.data")}
    outputs = {op.attrs()["col"]: op.operand_source(0) for op in ops if op.name() == "pd_op.fetch"}
    paddle.static.save_inference_model(
        str(target),
        [feeds[name] for name in inputs],
        _unscaled([outputs[column] for column in sorted(outputs)]),
        executor,
        program=pir,
    )
    return target.with_suffix(".json"), target.with_suffix(".pdiparams")


def _unscaled(outputs: list[Any]) -> list[Any]:
    """Returns the outputs without the ``scale`` by 1, plus 0, that Paddle 2 ended each saved output in.

    An input, or a value that is returned twice, keeps it: each output needs a name of its own.
    """
    plain: list[Any] = []
    for value in outputs:
        op = value.get_defining_op()
        if op.name() == "pd_op.scale" and op.attrs()["bias"] == 0.0:
            factor = op.operand_source(1).get_defining_op()
            inner = op.operand_source(0)
            if (
                factor.name() == "pd_op.full"
                and factor.attrs()["value"] == 1.0
                and inner.get_defining_op().name() not in ("pd_op.feed", "pd_op.data")
                and not any(inner.is_same(other) for other in plain)
            ):
                value = inner
        plain.append(value)
    return plain


def _check(pir: Any, inputs: Sequence[str], run: Run, target: Path) -> str:
    """Runs the source model on made-up feeds and stores both; returns "" or why no feeds would do."""
    declared = {}
    tables = {}
    for op in pir.global_block().ops:
        if op.name() in ("pd_op.feed", "pd_op.data") and op.attrs()["name"] in inputs:
            value = op.result(0)
            dtype = str(value.dtype).lower().rpartition(".")[2]
            declared[op.attrs()["name"]] = (tuple(value.shape), dtype)
            rows = embedding_rows(value)
            if rows:
                tables[op.attrs()["name"]] = rows
    reason = ""
    for feeds in candidate_feeds({name: declared[name] for name in inputs}, tables):
        try:
            outputs = run(feed=feeds)
        except SIZE_DOES_NOT_FIT as error:
            reason = reason or str(error)
            continue
        arrays: dict[str, Any] = {f"feed_{name}": array for name, array in feeds.items()}
        arrays |= {f"output_{k}": np.asarray(output) for k, output in enumerate(outputs)}
        np.savez(target, **arrays)
        return ""
    return reason or "no feeds"


def embedding_rows(value: Any) -> int:
    """Returns the rows of the smallest embedding table that ``value`` indexes, 0 where it indexes none."""
    rows: list[int] = []
    pending = [value]
    seen: set[int] = set()
    while pending:
        current = pending.pop()
        for op in current.all_used_ops():
            name = op.name()
            if name in ("pd_op.embedding", "pd_op.gather", "pd_op.c_embedding"):
                ids, table = (1, 0) if name == "pd_op.gather" or name == "pd_op.c_embedding" else (0, 1)
                shape = op.operand_source(table).shape
                if op.operand_source(ids).is_same(current) and shape[0] > 0:
                    rows.append(int(shape[0]))
            elif name in SAME_TOKENS and op.id() not in seen:
                seen.add(op.id())
                pending.extend(op.results())
    return min(rows, default=0)


def candidate_feeds(
    declared: Mapping[str, tuple[Sequence[int], str]], tables: Mapping[str, int]
) -> Iterator[dict[str, np.ndarray]]:
    """Yields feeds for inputs of the given shapes (-1: dynamic) and dtypes, until some fit the model."""
    dynamic = any(-1 in shape for shape, _ in declared.values())
    batched = any(shape and shape[0] == -1 for shape, _ in declared.values())
    resizable = any(-1 in shape[1:] for shape, _ in declared.values())
    batches = (2, 1) if batched else (1,)
    for batch, (image, sequence) in itertools.product(batches, SIZES if resizable else SIZES[:1]):
        shapes = {name: _shape(shape, batch, image, sequence) for name, (shape, _) in declared.items()}
        random = np.random.Generator(np.random.Philox(SEED))
        yield {name: _feed(name, shapes, dtype, tables.get(name, 0), random) for name, (_, dtype) in declared.items()}
        if not dynamic:
            return


def _shape(shape: Sequence[int], batch: int, image: int, sequence: int) -> tuple[int, ...]:
    sizes = [batch, sequence, sequence, sequence, sequence]
    if len(shape) == 4 and shape[3] in (1, 3, 4) and -1 in shape[1:3]:
        sizes = [batch, image, image, 3, sequence]
    elif len(shape) == 4 and shape[1] in (-1, 1, 3, 4) and shape[2] != 1:
        sizes = [batch, 3, image, image, sequence]
    return tuple(size if size >= 0 else sizes[min(axis, 4)] for axis, size in enumerate(shape))


def _feed(
    name: str, shapes: Mapping[str, tuple[int, ...]], dtype: str, rows: int, random: np.random.Generator
) -> np.ndarray:
    shape, kind, lower = shapes[name], np.dtype(dtype), name.lower()
    if rows:
        # Id 0 is often the padding that a mask is derived from; a row of it alone has nothing to attend to.
        return random.integers(1 if rows > 2 else 0, rows, shape).astype(kind)
    if "mask" in lower or kind == np.bool_:
        last = shape[-1] if shape else 1
        lengths = last - np.arange(shape[0] if shape else 1) * (last // 4) % max(last - 1, 1)
        mask = np.arange(last) < lengths.reshape((-1,) + (1,) * (len(shape) - 1))
        return np.broadcast_to(mask, shape).astype(kind)
    if lower == "im_shape":
        image = next((other for other in shapes.values() if len(other) == 4), (1, 1, 1, 1))
        return np.broadcast_to(np.asarray(image[2:], kind), shape).copy()
    if lower == "scale_factor":
        return np.ones(shape, kind)
    if np.issubdtype(kind, np.floating):
        return random.standard_normal(shape).astype(kind)
    if "len" in lower and len(shape) == 1:
        longest = max((other[1] for other in shapes.values() if len(other) > 1), default=1)
        return np.maximum(longest - np.arange(shape[0]) * (longest // 4), 1).astype(kind)
    return random.integers(0, 2, shape).astype(kind)


def _versions() -> dict[str, str]:
    found = {}
    for name in ("paddlepaddle", "paddlepaddle-gpu", "paddle2onnx"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _no_core_dump() -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
