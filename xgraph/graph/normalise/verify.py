"""A normalised model must compute what the original computes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import prod

import numpy as np
import onnx
import onnx_ir as ir

from xgraph.errors import GraphError
from xgraph.graph.body import draws
from xgraph.graph.evaluator import Evaluator, detach_weights
from xgraph.graph.io import opset
from xgraph.graph.normalise.quantised import unrounded
from xgraph.graph.walk import ancestors

_LOG = logging.getLogger(__name__)
TOLERANCE = 1e-4
"""Largest allowed difference of an output, relative to its largest value."""
_COARSE = {ir.DataType.FLOAT16: 5e-3, ir.DataType.BFLOAT16: 4e-2}
"""The same for models that compute in half precision: some five units of rounding."""
_ROUNDINGS = 2
"""Either model may be rounded differently; kernels that look functions up in tables (QLinearSoftmax) are."""
_BATCH = 2
_OTHER = 8
_SIZES: tuple[Mapping[str, int], ...] = tuple(
    {"sequence": length, "height": side, "width": side}
    for length, side in ((8, 96), (16, 224), (32, 256), (64, 320), (128, 512), (256, 640), (512, 299))
)
"""Sizes of dynamic axes, tried in order: a careless export works only at the size it was traced with."""
_LONG = (64, 512, 4096, 16384)
"""Sizes of axes without a meaning of their own: what strides over sound needs hundreds of samples for one frame."""
_MOST_ELEMENTS = 1 << 22
"""No input is made larger than this: several long axes would not fit into memory."""
_LARGEST_TRACED = 512
_MOST_TRACED = 12


def check(model: ir.Model) -> None:
    """Runs the ONNX checker, where the installed onnx knows the model's opset.

    A newer opset than ``onnx.defs.onnx_opset_version()`` is let through unchecked: shape inference, which does
    know it, has already visited every node.

    Raises:
        GraphError: The model is not valid.
    """
    if opset(model) > onnx.defs.onnx_opset_version():
        return
    light, _ = detach_weights(model)
    proto = onnx.load_model_from_string(light)
    # The checker refuses files newer than itself for their number alone, and looks for external files.
    proto.ir_version = min(proto.ir_version, onnx.IR_VERSION)
    for tensor in proto.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            proto.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    kept = [t for t in proto.graph.initializer if t.data_location != onnx.TensorProto.EXTERNAL]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise GraphError(f"the model is not valid ONNX after import: {' '.join(str(error).split())}") from error


def compare(original: ir.Model, normalised: ir.Model, evaluator: Evaluator, *, seed: int = 0) -> None:
    """Runs both models on seeded random feeds.

    A quantised model rounds to a coarse grid, and another order of summation may fall to either side of half a step,
    here and in everything behind it. Its outputs may differ by twice what all its rounding together changes.
    Outputs that random numbers lead to cannot be compared; a warning names what draws them.

    Raises:
        GraphError: The original runs at none of the sizes that are tried, or an output differs by more than
            ``TOLERANCE`` of its largest value (half precision: more) and, where the model rounds, by more than that.
    """
    feeds, expected = _run_original(original, normalised, evaluator, seed)
    found = evaluator(*detach_weights(normalised), feeds)
    allowed = tolerance(normalised)
    noise: Sequence[float] | None = None
    drawn = _drawn_outputs(normalised)
    for i, (output, want, have) in enumerate(zip(normalised.graph.outputs, expected, found, strict=True)):
        if output in drawn:
            continue
        want, have = np.asarray(want), np.asarray(have)
        if want.shape != have.shape or want.dtype != have.dtype:
            raise GraphError(
                f"import changed output '{output.name}' from {want.dtype}{list(want.shape)} "
                f"to {have.dtype}{list(have.shape)}; please report this model"
            )
        if not np.issubdtype(want.dtype, np.number) or want.size == 0:
            continue
        scale = float(np.nanmax(np.abs(want.astype(np.float64))))
        worst = _gap(want, have)
        if worst <= allowed * scale:
            continue
        if noise is None:
            noise = _rounding(normalised, evaluator, feeds, found)
        if not worst <= _ROUNDINGS * noise[i]:
            limit = f"{allowed:g} of it" + (f", or twice the {noise[i]:.3g} that rounding changes" if noise[i] else "")
            raise GraphError(
                f"import changed output '{output.name}' by {worst:.3g}, and its largest value is {scale:.3g} "
                f"(allowed: {limit}); please report this model"
            )


def _drawn_outputs(model: ir.Model) -> set[ir.Value]:
    """The outputs that depend on random numbers; warns that there are some."""
    found: set[ir.Value] = set()
    nodes = list(model.graph)
    drawing = [node for node in nodes if draws(node)]
    for output in model.graph.outputs if drawing else ():
        needed = ancestors(nodes, [output])
        source = next((node for node in drawing if needed.intersection(node.outputs)), None)
        if source is not None:
            found.add(output)
            _LOG.warning(
                "output '%s' depends on random numbers that %s '%s' draws anew in every run: its import cannot be "
                "checked, and explanations of it differ from run to run",
                *(output.name, source.op_type, source.name or source.outputs[0].name),
            )
    return found


def _gap(want: np.ndarray, have: np.ndarray) -> float:
    """The largest difference; equal infinities, and NaNs at the same places, are agreement."""
    left, right = want.astype(np.float64), have.astype(np.float64)
    agree = (left == right) | (np.isnan(left) & np.isnan(right))
    return float(np.where(agree, 0.0, np.abs(left - right)).max())


def _rounding(
    model: ir.Model, evaluator: Evaluator, feeds: Mapping[str, np.ndarray], found: Sequence[np.ndarray]
) -> list[float]:
    """By how much each output changes when nothing is rounded; at least a step where it is one of a quantiser."""
    exact = unrounded(model)
    if exact is None:
        return [0.0] * len(found)
    arrays = evaluator(*detach_weights(exact), feeds)
    return [
        max(_step(output), _gap(np.asarray(a), np.asarray(b))) if np.asarray(a).size else 0.0
        for output, a, b in zip(model.graph.outputs, arrays, found, strict=True)
    ]


def _step(output: ir.Value) -> float:
    """The distance of two neighbours on the grid of an output; 0 where it is on none."""
    node = output.producer()
    if node is None or node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        return 0.0
    if node.op_type == "QuantizeLinear":
        return 1.0
    scale = None if node.inputs[1] is None else node.inputs[1].const_value
    return 0.0 if scale is None else float(np.max(scale.numpy()))


def tolerance(model: ir.Model) -> float:
    """Returns the allowed difference of an output, relative to its largest value."""
    return max((_COARSE.get(o.dtype, TOLERANCE) for n in model.graph for o in n.outputs if o.dtype), default=TOLERANCE)


def _run_original(
    original: ir.Model, normalised: ir.Model, evaluator: Evaluator, seed: int
) -> tuple[dict[str, np.ndarray], Sequence[np.ndarray]]:
    graph, weights = detach_weights(original)
    reasons: dict[tuple[tuple[int, ...], ...], str] = {}
    for sizes in sizes_to_try(normalised):
        feeds = random_feeds(normalised, sizes, seed=seed)
        shapes = tuple(array.shape for array in feeds.values())
        if shapes in reasons:
            continue
        try:
            return feeds, evaluator(graph, weights, feeds)
        except GraphError as error:
            reasons[shapes] = str(error)
    tried = ", ".join(str([list(shape) for shape in shapes]) for shapes in reasons)
    raise GraphError(
        f"the model does not run on random inputs of the shapes {tried}, so its import cannot be checked; export it "
        f"with the sizes that it works with as fixed ones ({next(iter(reasons.values()))}) "
        "(--no-verify / verify=False skips this check)"
    )


def sizes_to_try(model: ir.Model) -> Iterator[Mapping[str, int]]:
    """Yields sizes for the dynamic dimensions other than the batch.

    After the usual ones come those that the targets of Reshape and Expand hold: a model traced at sequence length 6
    may work at no other. Last come long ones for the axes that are no sequence and no side of a picture.
    """
    yield from _SIZES
    names = {
        str(dim.value)
        for value in model.graph.inputs
        for dim in value.shape or ()
        if isinstance(dim, ir.SymbolicDim) and dim.value != "batch"
    }
    found: Counter[int] = Counter()
    for node in model.graph:
        if node.op_type in ("Reshape", "Expand") and not node.domain and node.inputs[1] is not None:
            target = node.inputs[1].const_value
            if target is not None:
                found.update({int(size) for size in target.numpy().reshape(-1) if 1 < size <= _LARGEST_TRACED})
    for size, _ in found.most_common(_MOST_TRACED):
        yield dict.fromkeys(names, size)
    unnamed = names - _SIZES[0].keys()
    for size in _LONG if unnamed else ():
        sizes = {**_SIZES[0], **dict.fromkeys(unnamed, size)}
        if all(prod(_size(dim, sizes) for dim in value.shape or ()) <= _MOST_ELEMENTS for value in model.graph.inputs):
            yield sizes


def random_feeds(model: ir.Model, sizes: Mapping[str, int] = _SIZES[0], *, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns one random array per input of a model with named dimensions.

    Dynamic dimensions take ``sizes`` by name; the batch is 2 where that does not say. Integers stay within the rows
    of the tables that they index, and are 0 or 1 where they index none (masks; no row of them is empty).
    """
    rng = np.random.default_rng(seed)
    rows = _indexed_rows(model)
    feeds: dict[str, np.ndarray] = {}
    for value in model.graph.inputs:
        if value.shape is None or value.dtype is None or value.name is None:
            raise GraphError(f"the shape or dtype of input '{value.name}' is not known")
        shape = tuple(_size(dim, sizes) for dim in value.shape)
        dtype = value.dtype.numpy()
        if dtype.kind == "b":
            feeds[value.name] = np.ones(shape, bool)
        elif dtype.kind in "iu":
            feeds[value.name] = rng.integers(0, rows.get(value.name, 2), shape).astype(dtype)
            if shape and value.name not in rows:
                feeds[value.name][..., 0] = 1
        elif dtype.kind == "O":
            raise GraphError(f"input '{value.name}' holds strings; only numbers can be explained")
        else:
            feeds[value.name] = rng.standard_normal(shape).astype(dtype)
    return feeds


def _size(dim: int | ir.SymbolicDim, sizes: Mapping[str, int]) -> int:
    if isinstance(dim, int):
        return dim
    name = str(dim.value)
    return sizes.get(name, _BATCH if name == "batch" else _OTHER)


def _indexed_rows(model: ir.Model) -> Mapping[str, int]:
    """The smallest table that each integer input indexes, through ops which keep the numbers."""
    rows: dict[str, int] = {}
    for node in model.graph:
        if node.op_type != "Gather" or node.inputs[0] is None or node.inputs[0].shape is None:
            continue
        axis = node.attributes.get_int("axis", 0)
        table = node.inputs[0].shape[axis]
        index = node.inputs[1]
        while index is not None and (producer := index.producer()) is not None:
            if producer.op_type not in ("Cast", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Flatten", "Transpose"):
                break
            index = producer.inputs[0]
        if index is not None and index.is_graph_input() and isinstance(table, int) and index.name:
            rows[index.name] = min(rows.get(index.name, table), table)
    return rows
