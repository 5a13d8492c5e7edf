"""Symbolic shape inference over the whole graph."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import onnx_ir as ir
import onnx_shape_inference as inference

import xgraph.graph.inference  # noqa: F401
from xgraph.errors import GraphError
from xgraph.graph.operands import bodies
from xgraph.graph.shapes import simplified

_SIZES = {"Reshape": 1, "Expand": 1, "ConstantOfShape": 0}
"""Operators -> the operand that is a shape."""
_MOST_AXES = 64
"""As in NumPy."""
_ANONYMOUS = re.compile(r"\b_d\d+\b")


def infer_shapes(model: ir.Model) -> None:
    """Gives every value its shape and dtype in terms of the names of the input dimensions, in place.

    What a file declares for values inside and for outputs is dropped first: exporters give each its own symbols,
    and those would win. It is kept only where inference knows nothing better (operators of unknown domains). A
    Loop's states get, along axes that an iteration may change, a size that nothing is known about.

    Raises:
        GraphError: A node does not fit its operands.
    """
    for node in model.graph.all_nodes():
        _check_sizes(node)
    declared = {value: (value.shape, value.dtype) for value in _inner_values(model)}
    states = {value for loop in _loops(model) for value, _ in _states(loop)}
    opened: set[ir.Value] = set()
    while True:
        _forget(model, opened)
        _infer(model)
        pairs = [pair for loop in _loops(model) for pair in _states(loop)]
        found = {value for value, after in pairs if _open(value, after, declared.get(after, (None, None))[0])}
        if not found:
            break
        opened |= found
    for value, (shape, dtype) in declared.items():
        if value.shape is None:
            value.shape = None if value in states else shape
        elif any(isinstance(dim, ir.SymbolicDim) for dim in value.shape):
            value.shape = ir.Shape([simplified(dim) for dim in value.shape])
        if value.dtype is None and dtype is not None:
            value.dtype = dtype


def _check_sizes(node: ir.Node) -> None:
    """Refuses what cannot be a shape; inference would work through any number of axes."""
    slot = _SIZES.get(node.op_type)
    sizes = node.inputs[slot].const_value if slot is not None and not node.domain and node.inputs[slot] else None  # type: ignore[union-attr]
    if sizes is not None and (sizes.dtype != ir.DataType.INT64 or sizes.size > _MOST_AXES):
        raise GraphError(
            f"node '{node.name}' ({node.op_type}) takes {sizes.size} numbers of {sizes.dtype} for a shape, which is at "
            f"most {_MOST_AXES} of INT64"
        )


def _forget(model: ir.Model, opened: set[ir.Value]) -> None:
    for node in model.graph.all_nodes():
        for value in node.outputs:
            value.metadata_props.pop(inference.SYM_DATA_KEY, None)
            if not value.is_initializer():
                value.const_value = None
            if node.domain in ("", "ai.onnx.ml"):
                value.shape = None
    for value in _received(model):
        if value not in opened:
            value.shape = None
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is not None:
            value.shape, value.dtype = ir.Shape(tensor.shape.numpy()), tensor.dtype


def _infer(model: ir.Model) -> None:
    try:
        inference.infer_symbolic_shapes(model, warn_on_missing=False)
    except (inference.OpUsageError, inference.ShapeInferenceError):
        # Inference knows some vendors' operators, but not every use of them that their runtimes allow.
        with _only_standard(model):
            _infer_standard(model)


def _infer_standard(model: ir.Model) -> None:
    try:
        inference.infer_symbolic_shapes(model, warn_on_missing=False)
    except (inference.OpUsageError, inference.ShapeInferenceError) as error:
        raise GraphError(f"shape inference: {' '.join(str(error).split())}") from error


@contextmanager
def _only_standard(model: ir.Model) -> Iterator[None]:
    """Hides the operators of other domains from shape inference."""
    domains = {node: node.domain for node in model.graph.all_nodes() if node.domain}
    for node in domains:
        node.domain = "unknown"
    try:
        yield
    finally:
        for node, domain in domains.items():
            node.domain = domain


def _open(before: ir.Value, after: ir.Value, declared: ir.Shape | None) -> bool:
    """Gives a state sizes of its own along the axes that an iteration may change; returns whether there were any.

    Where inference cannot tell whether a size changes, the file may: it declares that an iteration keeps it.
    """
    if before.shape is None or after.shape is None or len(before.shape) != len(after.shape):
        return False
    if declared is not None and len(declared) == len(after.shape):
        triples = zip(before.shape, after.shape, declared, strict=True)
        after.shape = ir.Shape([told if told == a and _is_anonymous(z) else z for a, z, told in triples])
    own = [re.sub(r"\W", "_", f"{before.name}_dim{axis}") for axis in range(len(before.shape))]
    sizes = zip(before.shape, after.shape, own, strict=True)
    shape = ir.Shape([a if simplified(a) == simplified(z) else name for a, z, name in sizes])
    changed = shape != before.shape
    before.shape = shape
    return changed


def _is_anonymous(dim: int | ir.SymbolicDim) -> bool:
    return isinstance(dim, ir.SymbolicDim) and (dim.value is None or bool(_ANONYMOUS.fullmatch(dim.value)))


def _loops(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph.all_nodes() if node.op_type == "Loop" and not node.domain]


def _states(loop: ir.Node) -> list[tuple[ir.Value, ir.Value]]:
    """Returns the states of a Loop as its body receives and leaves them."""
    return [pair for body in bodies(loop) for pair in zip(body.inputs[2:], body.outputs[1:], strict=False)]


def _received(model: ir.Model) -> list[ir.Value]:
    """Returns what bodies receive, apart from what a Loop counts: inference knows its shapes."""
    scans = [node for node in model.graph.all_nodes() if node.op_type == "Scan" and not node.domain]
    of_scans = [value for node in scans for body in bodies(node) for value in body.inputs]
    return [*of_scans, *(value for loop in _loops(model) for value, _ in _states(loop))]


def _inner_values(model: ir.Model) -> list[ir.Value]:
    return [*_received(model), *(value for node in model.graph.all_nodes() for value in node.outputs)]


def name_inner_dims(model: ir.Model) -> None:
    """Names what inference could not relate to an input ``<value>_dim<axis>``, and forgets its notes, in place."""
    names: dict[str, str] = {}
    for value in _inner_values(model):
        value.metadata_props.pop(inference.SYM_DATA_KEY, None)
        if not value.is_initializer():
            value.const_value = None
        if value.shape is None:
            continue
        dims: list[int | str] = []
        for axis, dim in enumerate(value.shape):
            if isinstance(dim, int):
                dims.append(dim)
                continue
            own = re.sub(r"\W", "_", f"{value.name}_dim{axis}")
            text = own if dim.value is None else dim.value
            for symbol in _ANONYMOUS.findall(text):
                names.setdefault(symbol, own)
            dims.append(_ANONYMOUS.sub(lambda match: names[match.group()], text))
        value.shape = ir.Shape(dims)


def unknown_ranks(model: ir.Model) -> tuple[str, ...]:
    """Returns the names of the values whose rank is not known."""
    return tuple(
        o.name or "" for n in model.graph for o in n.outputs if o.shape is None and (o.uses() or o.is_graph_output())
    )


class Reinfer:
    """Infers again, node by node in topological order, what depends on values whose shapes became known."""

    def __init__(self, model: ir.Model) -> None:
        self._versions = dict(model.graph.opset_imports)
        self._context = inference.ShapeInferenceContext(self._versions)
        shapes = [value.shape for node in model.graph for value in node.outputs if value.shape is not None]
        text = " ".join(dim.value or "" for shape in shapes for dim in shape if isinstance(dim, ir.SymbolicDim))
        self._context.reserve_symbol_names(set(_ANONYMOUS.findall(text)))
        self._fresh: set[ir.Value] = set()
        inference.registry.collect()

    def changed(self, values: Iterable[ir.Value]) -> None:
        """Notes values whose shapes are new."""
        self._fresh.update(values)

    def __call__(self, node: ir.Node) -> None:
        """Infers the outputs of ``node`` if one of its inputs is new, in place.

        Raises:
            GraphError: The node does not fit its operands.
        """
        if not any(value in self._fresh for value in node.inputs if value is not None):
            return
        infer = inference.registry.get(node.domain, node.op_type, version=self._versions.get(node.domain, 1))
        if infer is None:
            return
        declared = [value.shape for value in node.outputs]
        for value in node.outputs:
            value.shape = None
            value.metadata_props.pop(inference.SYM_DATA_KEY, None)
        try:
            infer(self._context, node)
        except (inference.OpUsageError, inference.ShapeInferenceError) as error:
            raise GraphError(f"shape inference of '{node.name}': {' '.join(str(error).split())}") from error
        for value, shape in zip(node.outputs, declared, strict=True):
            value.shape = shape if value.shape is None else ir.Shape(simplified(dim) for dim in value.shape)
        self.changed(node.outputs)
