"""Whether a file's graph holds together: names, references, payloads. Looked at before any library builds on it.

The libraries behind this take a graph's word for much: a value that nobody defines, a tensor whose bytes do not fill
its shape, functions that call themselves. Here each is said by name. What operators mean is not looked at.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import onnx
import onnx_ir as ir
from onnx import AttributeProto, TensorProto

from xgraph.errors import GraphError
from xgraph.graph.signature import check_node

DEEPEST = 32
"""Bodies inside bodies; every pass visits them by recursion."""
_LONGEST = 200
_TYPED = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
_TYPES = frozenset(int(dtype) for dtype in ir.DataType) - {ir.DataType.UNDEFINED}
_Body: TypeAlias = onnx.GraphProto | onnx.FunctionProto


def check_structure(model: onnx.ModelProto) -> None:
    """Makes sure that a model holds together.

    Raises:
        GraphError: It does not.
    """
    versions = {_domain(entry.domain): entry.version for entry in model.opset_import}
    # skl2onnx writes the same import twice, which every runtime takes.
    imports = {(_domain(entry.domain), entry.version) for entry in model.opset_import}
    for domain, count in Counter(domain for domain, _ in imports).items():
        if count > 1:
            raise GraphError(
                f"the model imports the operator set '{domain or 'ai.onnx'}' in {count} versions; keep one"
            )
    _check_calls(model, versions)
    functions = {(function.domain, function.name): function for function in model.functions}
    for function in model.functions:
        _Scope(_called(function), versions, functions, in_function=True).check(function, frozenset(function.input))
        _check_results(function.output, {*function.input, *_made(function.node)}, _called(function))
    _check_graph(model.graph, frozenset(), _Scope("the graph", versions, functions))
    for value in model.graph.input:
        kind = value.type.WhichOneof("value")
        if kind is None or (kind == "tensor_type" and value.type.tensor_type.elem_type not in _TYPES):
            raise GraphError(f"the input {brief(value.name)} is of no known type; export the model with it")
    for tensor in tensors(model):
        _check_tensor(tensor)


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yields every tensor that a model holds: weights, and attributes of nodes, also inside bodies and functions."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
            yield from attribute.tensors
            for graph in _bodies(attribute):
                yield from _graph_tensors(graph)


def _bodies(attribute: onnx.AttributeProto) -> Iterator[onnx.GraphProto]:
    if attribute.type == AttributeProto.GRAPH:
        yield attribute.g
    yield from attribute.graphs


@dataclass(frozen=True)
class _Scope:
    """Where nodes are."""

    name: str
    versions: Mapping[str, int]
    functions: Mapping[tuple[str, str], onnx.FunctionProto]
    in_function: bool = False
    depth: int = 0

    def check(self, body: _Body, given: frozenset[str]) -> None:
        made = Counter(name for node in body.node for name in node.output if name)
        repeated = next((name for name, count in made.items() if count > 1 or name in given), None)
        if repeated is not None:
            raise GraphError(
                f"{self.name} defines the value {brief(repeated)} more than once; a name stands for one value"
            )
        known = given | frozenset(made)
        for node in body.node:
            self._check_node(node, known)
        _check_order(body, self.name)

    def _check_node(self, node: onnx.NodeProto, known: frozenset[str]) -> None:
        what = (
            f"node {brief(node.name or next(iter(node.output), ''))} ({node.op_type or 'no operator'}) in {self.name}"
        )
        if not node.op_type:
            raise GraphError(f"{what} does not say its operator")
        missing = next((name for name in node.input if name and name not in known), None)
        if missing is not None:
            raise GraphError(f"{what} reads {brief(missing)}, which nothing defines")
        names = Counter(attribute.name for attribute in node.attribute)
        twice = next((name for name, count in names.items() if count > 1 or not name), None)
        if twice is not None:
            raise GraphError(f"{what} has {f'the attribute {brief(twice)} twice' if twice else 'an unnamed attribute'}")
        function = self.functions.get((node.domain, node.op_type))
        if function and (len(node.input) > len(function.input) or len(node.output) > len(function.output)):
            raise GraphError(
                f"{what} has {len(node.input)} inputs and {len(node.output)} outputs; {_called(function)} has "
                f"{len(function.input)} and {len(function.output)}"
            )
        check_node(node, self.versions, what, in_function=self.in_function)
        for attribute in node.attribute:
            for graph in _bodies(attribute):
                inner = f"'{attribute.name}' of {brief(node.name or node.op_type)}"
                _check_graph(graph, known, replace(self, name=inner, depth=self.depth + 1))


def _check_graph(graph: onnx.GraphProto, outer: frozenset[str], scope: _Scope) -> None:
    if scope.depth > DEEPEST:
        raise GraphError(f"bodies are nested more than {DEEPEST} deep in {scope.name}")
    inputs, weights = [value.name for value in graph.input], [tensor.name for tensor in graph.initializer]
    for kind, names in (("input", inputs), ("output", [value.name for value in graph.output]), ("weight", weights)):
        repeated = next((name for name, count in Counter(names).items() if count > 1 or not name), None)
        if repeated is not None:
            what = f"the {kind} {brief(repeated)} twice" if repeated else f"an unnamed {kind}"
            raise GraphError(f"{scope.name} has {what}")
    own = {*inputs, *weights, *(sparse.values.name for sparse in graph.sparse_initializer)}
    scope.check(graph, outer | own)
    # A body may hand out a value of the graph around it.
    _check_results([value.name for value in graph.output], own | outer | _made(graph.node), scope.name)


def _check_order(body: _Body, where: str) -> None:
    """Refuses cycles, with what bodies capture counted as read (Kahn's algorithm)."""
    maker = {name: i for i, node in enumerate(body.node) for name in node.output if name}
    waits = [{maker[name] for name in _read(node) if name in maker} for node in body.node]
    users: dict[int, list[int]] = {}
    for i, before in enumerate(waits):
        for j in before:
            users.setdefault(j, []).append(i)
    ready = [i for i, before in enumerate(waits) if not before]
    left = [len(before) for before in waits]
    done = 0
    while ready:
        done += 1
        for user in users.get(ready.pop(), ()):
            left[user] -= 1
            if not left[user]:
                ready.append(user)
    if done < len(body.node):
        stuck = body.node[next(i for i, count in enumerate(left) if count)]
        name = brief(stuck.name or next(iter(stuck.output), ""))
        raise GraphError(f"{where} has a cycle: node {name} ({stuck.op_type}) needs its own result")


def _read(node: onnx.NodeProto) -> Iterator[str]:
    yield from node.input
    for attribute in node.attribute:
        for graph in _bodies(attribute):
            own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
            own |= _made(graph.node)
            yield from (value.name for value in graph.output if value.name not in own)
            for inner in graph.node:
                yield from (name for name in _read(inner) if name not in own)


def _made(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    return {name for node in nodes for name in node.output}


def _check_results(names: Iterable[str], known: set[str], where: str) -> None:
    missing = next((name for name in names if name not in known), None)
    if missing is not None:
        raise GraphError(f"{where} returns {brief(missing)}, which nothing computes")


def brief(name: str) -> str:
    """Returns a name as an error shows it: quoted, in one line, not longer than a line."""
    return repr(name if len(name) <= _LONGEST else f"{name[:_LONGEST]}...")


def _check_calls(model: onnx.ModelProto, versions: Mapping[str, int]) -> None:
    """Refuses functions that come to call themselves, or are written for another version of an operator set."""
    calls: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for function in model.functions:
        for entry in function.opset_import:
            wanted = versions.get(_domain(entry.domain), entry.version)
            if entry.version != wanted:
                raise GraphError(
                    f"{_called(function)} is of opset {entry.version} of '{entry.domain or 'ai.onnx'}', the model of "
                    f"{wanted}; export it with one"
                )
        calls[function.domain, function.name] = {(node.domain, node.op_type) for node in _all_nodes(function.node)}
    free = {name for name in calls if not calls[name] & calls.keys()}
    while more := {name for name in calls.keys() - free if calls[name] & calls.keys() <= free}:
        free |= more
    if caught := sorted(calls.keys() - free):
        raise GraphError(f"the function '{caught[0][0]}.{caught[0][1]}' calls itself")


def _all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in _bodies(attribute):
                yield from _all_nodes(graph.node)


def _called(function: onnx.FunctionProto) -> str:
    return f"the function '{function.domain}.{function.name}'"


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _check_tensor(tensor: onnx.TensorProto) -> None:
    """Compares what a tensor holds with what its shape and type promise."""
    name = f"the tensor {brief(tensor.name)}"
    if tensor.data_type not in _TYPES:
        raise GraphError(f"{name} is of no known type (number {tensor.data_type})")
    dtype = ir.DataType(tensor.data_type)
    if any(dim < 0 for dim in tensor.dims):
        raise GraphError(f"{name} has the shape {list(tensor.dims)}; no size may be negative")
    if tensor.data_location == TensorProto.EXTERNAL:
        return  # who reads the file compares their sizes
    needed, held, unit = _entries(tensor, dtype), sum(len(getattr(tensor, field)) for field in _TYPED), "numbers"
    if tensor.HasField("raw_data") and not held and dtype != ir.DataType.STRING:
        needed, held, unit = storage(tensor), len(tensor.raw_data), "bytes"
    if held != needed:
        raise GraphError(f"{name} of shape {list(tensor.dims)} needs {needed} {unit} and holds {held}")


def storage(tensor: onnx.TensorProto) -> int:
    """Returns the bytes of a tensor's numbers."""
    bits: int = math.prod(tensor.dims) * ir.DataType(tensor.data_type).bitwidth
    return -(-bits // 8)


def _entries(tensor: onnx.TensorProto, dtype: ir.DataType) -> int:
    """Returns the entries of a typed field: two for a complex number, one for several numbers below a byte."""
    size: int = math.prod(tensor.dims)
    if dtype in (ir.DataType.COMPLEX64, ir.DataType.COMPLEX128):
        return 2 * size
    return size if dtype == ir.DataType.STRING else min(size, storage(tensor))
