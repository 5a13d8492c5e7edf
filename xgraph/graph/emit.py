"""Emit: writes nodes into a graph, ``b.Mul(g, x)`` for every operator of the model's opset.

Shapes and dtypes of what is emitted are inferred node by node, so that rules and lowerings see static sizes
where the model has them. Equal nodes over equal inputs are emitted once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from itertools import count
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnx_ir as ir
import onnx_shape_inference as inference

import xgraph.graph.inference  # noqa: F401
from xgraph.errors import GraphError
from xgraph.graph.shapes import simplified

Value: TypeAlias = ir.Value
Operand: TypeAlias = "Value | np.ndarray | Sequence[int] | int | float | None"
Attributes: TypeAlias = "int | float | str | Sequence[int] | Sequence[float] | None"

ADJOINT_DOMAIN = "xgraph"
FROM = "xgraph.from"
"""Metadata key of emitted nodes: the forward node they were derived from."""
PART_OF = "xgraph.part_of"
"""Metadata key of nodes that import emitted for a composite operator: that operator and its name."""
_SHARED_BYTES = 1 << 16
"""Constants up to this size are compared by content and stored once."""


class Emit:
    """Appends nodes to a model's graph, or to a body inside it (see ``inside``).

    Operands may be values, NumPy arrays, Python numbers (of the dtype of the first value operand) or lists of
    ints (int64 vectors). Names all begin with ``xg/``.
    """

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self.graph = model.graph
        self.opset = model.graph.opset_imports[""]
        self.source: str | None = None
        inference.registry.collect()
        self._context = inference.ShapeInferenceContext(dict(model.graph.opset_imports))
        self._context.reserve_symbol_names(_symbols(self.graph))
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Value] = {}
        self._emitted: dict[Any, tuple[Value, ...]] = {}
        # Nodes keep their names when their outputs are renamed, so both count.
        self._taken = {node.name for node in self.graph.all_nodes()}
        self._taken.update(value.name for node in self.graph.all_nodes() for value in node.outputs)
        for graph in model.graphs():
            self._taken.update(graph.initializers, (value.name for value in graph.inputs))
        self._numbers = count(1)

    def inside(self, body: ir.Graph) -> Emit:
        """Returns an emitter that appends to a body of this graph.

        Both draw from one stock of names, and constants go to the outermost graph. Nodes are not shared: what the
        graph around a body has emitted is no node of the body.
        """
        inner = copy(self)
        inner.graph, inner._emitted = body, {}
        return inner

    def __getattr__(self, op: str) -> Callable[..., Value]:
        if op.startswith("_") or not op[:1].isupper():
            raise AttributeError(op)
        _schema(op, self.opset)

        def emit(*operands: Operand, **attributes: Attributes) -> Value:
            return self.many(op, 1, *operands, **attributes)[0]

        return emit

    def many(self, op: str, outputs: int, /, *operands: Operand, **attributes: Attributes) -> tuple[Value, ...]:
        """Emits a standard operator and returns so many of its outputs.

        Raises:
            GraphError: The operator has no such attribute, or not as many inputs.
        """
        schema = _schema(op, self.opset)
        unknown = set(attributes) - set(schema.attributes)
        if unknown or len(operands) > schema.max_input:
            raise GraphError(f"{op} (opset {self.opset}) has no {sorted(unknown) or 'such inputs'}")
        return self.op(op, self._operands(operands), attributes, outputs=outputs)

    def op(
        self,
        op: str,
        inputs: Sequence[Value | None],
        attributes: Mapping[str, Any],
        *,
        outputs: int = 1,
        domain: str = "",
        like: Sequence[Value] | None = None,
    ) -> tuple[Value, ...]:
        """Emits one node; ``like`` gives shape and dtype of the outputs of operators nobody else knows."""
        given = {name: value for name, value in attributes.items() if value is not None}
        key = (domain, op, tuple(id(value) for value in inputs), _frozen(given), outputs)
        if key in self._emitted:
            return self._emitted[key]
        name = self.name(op)
        results = [ir.Value(name=name if i == 0 else f"{name}.{i}") for i in range(outputs)]
        node = ir.node(op, inputs, given, domain=domain, outputs=results, name=name)
        if self.source:
            node.metadata_props[FROM] = self.source
        if like is not None:
            for result, model in zip(results, like, strict=True):
                result.shape, result.type = model.shape, model.type
        else:
            self._infer(node)
        self.graph.append(node)
        self.model.graph.opset_imports.setdefault(domain, 1)
        self._emitted[key] = tuple(results)
        return tuple(results)

    def constant(self, array: np.ndarray) -> Value:
        """Returns an initializer holding ``array``; equal small ones are shared."""
        array = np.ascontiguousarray(array).reshape(np.shape(array))
        key = (array.dtype.str, array.shape, array.tobytes() if array.nbytes <= _SHARED_BYTES else b"")
        if array.nbytes <= _SHARED_BYTES and key in self._constants:
            return self._constants[key]
        value = ir.Value(name=self.name("const"), const_value=ir.tensor(array))
        value.const_value.name = value.name  # type: ignore[union-attr]
        value.shape, value.dtype = ir.Shape(array.shape), ir.DataType.from_numpy(array.dtype)
        self.model.graph.register_initializer(value)
        self._constants[key] = value
        return value

    def scalar(self, number: float, like: Value) -> Value:
        """Returns a scalar constant of the dtype of ``like``."""
        if like.dtype is None:
            raise GraphError(f"the dtype of '{like.name}' is not known")
        return self.constant(np.asarray(number, like.dtype.numpy()))

    def cast(self, value: Value, dtype: np.dtype) -> Value:
        """Emits a Cast to a NumPy dtype."""
        return self.Cast(value, to=int(ir.DataType.from_numpy(dtype)))

    def name(self, stem: str) -> str:
        """Returns a name that nothing has."""
        return next(name for number in self._numbers if (name := f"xg/{stem}_{number}") not in self._taken)

    @contextmanager
    def derived_from(self, node: ir.Node) -> Iterator[None]:
        """Stamps what is emitted inside with the forward node that caused it."""
        before, self.source = self.source, node.metadata_props.get(FROM, node.name)
        try:
            yield
        finally:
            self.source = before

    def _operands(self, operands: Sequence[Operand]) -> list[Value | None]:
        given = [operand for operand in operands if isinstance(operand, ir.Value)]
        # A condition in front does not tell the dtype of the numbers behind it.
        first = next((value for value in given if value.dtype != ir.DataType.BOOL), given[0] if given else None)
        values: list[Value | None] = []
        for operand in operands:
            if operand is None or isinstance(operand, ir.Value):
                values.append(operand)
            elif isinstance(operand, np.ndarray):
                values.append(self.constant(operand))
            elif isinstance(operand, int | float):
                if first is None:
                    raise GraphError("a Python number needs a value operand beside it that tells its dtype")
                values.append(self.scalar(operand, first))
            else:
                values.append(self.constant(np.asarray(operand, np.int64)))
        while values and values[-1] is None:
            values.pop()
        return values

    def _infer(self, node: ir.Node) -> None:
        infer = inference.registry.get("", node.op_type, version=self.opset)
        if infer is None:
            raise GraphError(f"no shape inference for {node.op_type}; it cannot be emitted")
        try:
            infer(self._context, node)
        except (inference.OpUsageError, inference.ShapeInferenceError, ValueError, IndexError) as error:
            raise GraphError(f"cannot emit {node.op_type} (from '{self.source}'): {error}") from error
        for value in node.outputs:
            if value.shape is not None:
                value.shape = ir.Shape(simplified(dim) for dim in value.shape)


def _schema(op: str, opset: int) -> onnx.defs.OpSchema:
    try:
        return onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError as error:
        raise AttributeError(f"the standard has no operator '{op}' at opset {opset}") from error


def _symbols(graph: ir.Graph) -> set[str]:
    """Returns the names in the shapes of a graph, so that what inference invents is never taken for one of them."""
    values = [*graph.inputs, *(value for node in graph.all_nodes() for value in node.outputs)]
    values += [value for body in graph.subgraphs() for value in body.inputs]
    dims = [dim for value in values if value.shape is not None for dim in value.shape]
    named = [dim.value for dim in dims if isinstance(dim, ir.SymbolicDim) and dim.value is not None]
    return {name for dim in named for name in re.findall(r"[^\W\d]\w*", dim)}


def _frozen(attributes: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    def freeze(value: Any) -> Any:
        value = value.value if isinstance(value, ir.Attr) else value
        return tuple(value) if isinstance(value, list | tuple) else value

    frozen = []
    for name, value in sorted(attributes.items()):
        kept = freeze(value)
        try:
            hash(kept)
        except TypeError:
            kept = id(value)
        frozen.append((name, kept))
    return tuple(frozen)
