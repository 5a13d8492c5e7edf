"""Taking a node or a value out of a graph without breaking names or provenance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_ir as ir


def bypass(node: ir.Node, source: ir.Value) -> bool:
    """Lets the users of the node's first output read ``source`` instead, and removes the node.

    A graph output keeps its name: ``source`` takes it over. Returns False, and leaves the graph alone, where
    that is impossible: ``source`` is itself a graph input, an initializer or another graph output.
    """
    output = node.outputs[0]
    if source.shape is None:
        source.shape = output.shape
    if output.is_graph_output():
        movable = source.producer() is not None and source.graph is output.graph and not source.is_graph_output()
        if not movable:
            return False
        name = output.name
        output.replace_all_uses_with(source, replace_graph_outputs=True)
        _remove([node])
        source.name = name
        return True
    output.replace_all_uses_with(source)
    _remove([node])
    return True


def substitute(node: ir.Node, results: Sequence[ir.Value | None], emitted: Iterable[ir.Node]) -> None:
    """Replaces ``node`` by nodes that were emitted for it.

    ``results`` has one value per output of the node (None where it is not read); each takes over the output's
    name. Emitted nodes inherit the node's metadata: scopes survive decomposition.
    """
    name_after(node, emitted)
    names: list[tuple[ir.Value, str | None]] = []
    for output, result in zip(node.outputs, results, strict=False):
        if result is None:
            continue
        output.replace_all_uses_with(result, replace_graph_outputs=True)
        names.append((result, output.name))
    _remove([node])
    for result, name in names:
        result.name = name


def name_after(node: ir.Node, emitted: Iterable[ir.Node]) -> None:
    """Names nodes that were emitted for ``node``, and their outputs, after it; they inherit its metadata."""
    base = node.outputs[0].name or node.name or node.op_type
    for i, fresh in enumerate(emitted):
        fresh.name = f"{base}/{fresh.op_type}_{i}"
        for k, value in enumerate(fresh.outputs):
            value.name = f"{fresh.name}.{k}" if k else fresh.name
        for key, text in node.metadata_props.items():
            fresh.metadata_props.setdefault(key, text)


def to_initializer(value: ir.Value, tensor: ir.TensorProtocol) -> ir.Value:
    """Replaces a computed value by an initializer of the same name, and removes its producer.

    The producer must have no other output that is read.
    """
    node = value.producer()
    if node is None or node.graph is None:
        raise ValueError(f"'{value.name}' is not computed by a node")
    graph, name = node.graph, value.name
    value.name = None
    constant = ir.Value(
        name=name, const_value=tensor, shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype)
    )
    value.replace_all_uses_with(constant, replace_graph_outputs=True)
    _remove([node])
    graph.register_initializer(constant)
    return constant


def _remove(nodes: Sequence[ir.Node]) -> None:
    for node in nodes:
        if node.graph is not None:
            node.graph.remove(node, safe=True)
