"""The layers of a model: what can be named, tapped and explained.

A layer is a value on the float data path that a compute node returns. Its name is the module path of the source
framework where that can be recovered, else the value's name.
"""

from __future__ import annotations

import ast
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from xgraph.errors import LayerError, nearest
from xgraph.graph.patterns.embedding import find_embeddings
from xgraph.graph.patterns.gelu import Gelu, match_gelu
from xgraph.graph.patterns.hard_swish import HardSwish, match_hard_swish
from xgraph.graph.patterns.head import find_heads
from xgraph.graph.patterns.layer_norm import LayerNorm, match_layer_norm
from xgraph.graph.patterns.linear import Linear, match_linear
from xgraph.graph.patterns.match import made_by, unquantised
from xgraph.graph.patterns.residual import find_residuals
from xgraph.graph.patterns.silu import Silu, match_silu
from xgraph.graph.reach import carriers
from xgraph.graph.shapes import Dim, dims, is_float, named_dims

SCOPE = "xgraph.scope"
"""Node metadata key: the path of the module that the node belongs to, as the exporter recovered it."""
_TORCH_SCOPES = "pkg.torch.onnx.name_scopes"

_PLUMBING = frozenset({
    "Reshape", "Transpose", "Slice", "Squeeze", "Unsqueeze", "Flatten", "Expand", "Split", "Identity", "Cast",
    "CastLike", "Gather", "GatherND", "GatherElements", "Pad", "Tile", "Dropout", "ScatterND", "ScatterElements",
    "Where", "IsNaN", "QuantizeLinear", "DequantizeLinear",
})  # fmt: skip
"""Moves numbers without computing any; a layer only where it ends a module."""
_SHAPE_ONLY = frozenset({"Shape", "Size", "ConstantOfShape", "EyeLike", "RandomNormalLike", "RandomUniformLike"})
_ROLES = {
    **dict.fromkeys(("Conv", "ConvTranspose"), "convolution"),
    **dict.fromkeys(
        ("BatchNormalization", "LayerNormalization", "InstanceNormalization", "GroupNormalization", "LRN",
         "RMSNormalization", "MeanVarianceNormalization", "LpNormalization"), "norm",
    ),
    **dict.fromkeys(
        ("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Gelu", "Clip", "HardSwish", "HardSigmoid", "Sigmoid",
         "Tanh", "Softplus", "Softsign", "Mish", "ThresholdedRelu", "Swish", "Erf"), "activation",
    ),
    **dict.fromkeys(
        ("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), "pooling",
    ),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), "recurrent"),
    "Concat": "concatenation",
}  # fmt: skip
_MAKES_MAPS = frozenset({
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "Resize",
    "Upsample", "DepthToSpace", "SpaceToDepth",
})  # fmt: skip
_BREAKS_MAPS = frozenset({"Reshape", "Transpose", "Flatten", "MatMul", "Gemm", "Softmax", "Gather", "Einsum"})


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, as plain data."""

    name: str
    op: str
    value: str
    """Name of the value that the layer returns."""
    shape: tuple[int | str, ...]
    dtype: str
    role: str | None
    """``target layer`` (the default of CAM methods), ``cam candidate`` (the last one of its resolution), ``softmax``
    (LogSoftmax too), ``sigmoid``, ``logits``, ``embedding``, ``attention probability``, ``residual add``,
    ``convolution``, ``linear``, ``norm``, ``activation``, ``pooling``, ``recurrent``, ``concatenation``, or None."""
    scope: str
    """Path of the module that the node belongs to; empty where unknown."""


def layers(model: ir.Model) -> tuple[Layer, ...]:
    """Returns the layers of a normalised model in graph order.

    Listed are compute nodes on the float data path from an input (or an embedding) to an output. Moving nodes
    (Reshape, Transpose, Slice ...) are listed only where they end a named module. Of the nodes of one module, the one
    that returns the module's value bears the module's path; the others are called ``<path>/<Op>``,
    ``<path>/<Op>_1`` ...
    """
    path = _data_path(model)
    scopes = {node: scope_of(node) for node in path}
    ends = _module_ends(path, scopes)
    listed = [node for node in path if node.op_type not in _PLUMBING or node in ends or _is_embedding(node)]
    names = _names(listed, scopes, ends)
    roles = _roles(model, listed)
    return tuple(
        Layer(
            name=names[node],
            op=f"{node.domain}::{node.op_type}" if node.domain else node.op_type,
            value=node.outputs[0].name or "",
            shape=named_dims(node.outputs[0]),
            dtype=node.outputs[0].dtype.name.lower() if node.outputs[0].dtype is not None else "?",
            role=roles.get(node),
            scope=scopes[node],
        )
        for node in listed
    )


def target_layer(found: Sequence[Layer], reached: Container[str] | None = None) -> Layer | None:
    """Returns the default layer of CAM methods: the last one with spatial axes, or None.

    Args:
        found: the layers of a model.
        reached: the names of the values that lead to the explained output; None: the first output.
    """
    if reached is None:
        return next((layer for layer in reversed(found) if layer.role == "target layer"), None)
    maps = [layer for layer in found if layer.role in ("target layer", "cam candidate") and layer.value in reached]
    return maps[-1] if maps else None


def resolve(model: ir.Model, found: Sequence[Layer], name: str) -> str:
    """Returns the name of the value that ``name`` stands for.

    ``name`` is a layer's name, a value's name, or the path of a module: the last layer inside it.

    Raises:
        LayerError: There is none; the message proposes the nearest names.
    """
    for layer in found:
        if layer.name == name:
            return layer.value
    for node in model.graph:
        if any(output.name == name for output in node.outputs):
            return name
    inside = [layer for layer in found if _within(layer.scope or layer.name, name)]
    if inside:
        return inside[-1].value
    known = [layer.name for layer in found]
    raise LayerError(
        f"the model has no layer '{name}'{nearest(name, known)} (`xgraph inspect --layers` lists {len(known)})"
    )


def scope_of(node: ir.Node) -> str:
    """Returns the module path that a node belongs to, or an empty string.

    Sources, in order: what the exporter stamped, what torch's dynamo exporter wrote, and the node names of torch's
    older exporter (``/layer4/layer4.1/conv2/Conv``).
    """
    stamped = node.metadata_props.get(SCOPE)
    if stamped is not None:
        return stamped.strip("/.")
    torch_scopes = node.metadata_props.get(_TORCH_SCOPES)
    if torch_scopes is not None:
        return _dynamo_scope(torch_scopes)
    if node.name and node.name.startswith("/"):
        return _torchscript_scope(node.name)
    return ""


def _dynamo_scope(text: str) -> str:
    """``['', 'layer1', 'layer1.0', 'layer1.0.conv1', 'conv2d']``: full paths from outside in, then the fx node."""
    try:
        entries = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return ""
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        return ""
    modules = [entry for entry in entries[:-1] if entry and not entry.startswith("_empty_nn_module")]
    return modules[-1] if modules else ""


def _torchscript_scope(name: str) -> str:
    """Children of a Sequential or ModuleList repeat their parent's own name: ``/layer4/layer4.1`` is ``layer4.1``."""
    parts: list[str] = []
    for part in name.strip("/").split("/")[:-1]:
        if parts and part.startswith(f"{parts[-1]}."):
            parts[-1] = part
        else:
            parts.append(part)
    return ".".join(parts)


def _is_embedding(node: ir.Node) -> bool:
    table = node.inputs[0] if node.inputs else None
    return node.op_type == "Gather" and table is not None and table.is_initializer()


def _data_path(model: ir.Model) -> list[ir.Node]:
    """Nodes with a float result between inputs and outputs: from float inputs and embeddings, else from any input."""
    floats = [value for value in model.graph.inputs if is_float(value)]
    content = [value for value in floats if "mask" not in (value.name or "").lower()]
    embeddings, _ = find_embeddings(model)
    live: set[ir.Value] = set(content or ([] if embeddings else floats))
    starts = {embedding.node for embedding in embeddings}
    # Pictures may come in as integers: the path starts where they become floats.
    integers: set[ir.Value] = set() if live or starts else set(model.graph.inputs)
    forward: list[ir.Node] = []
    for node in model.graph:
        if not node.outputs or node.op_type in _SHAPE_ONLY:
            continue
        if not is_float(node.outputs[0]) and node.op_type != "QuantizeLinear":
            if any(value in integers for value in node.inputs if value is not None):
                integers.update(node.outputs)
            continue
        if node in starts or any(value in live or value in integers for value in node.inputs if value is not None):
            live.update(node.outputs)
            forward.append(node)
    needed: set[ir.Value] = set(model.graph.outputs)
    kept: list[ir.Node] = []
    for node in reversed(forward):
        if any(output in needed for output in node.outputs):
            needed.update(value for value in node.inputs if value is not None)
            kept.append(node)
    return kept[::-1]


def _module_ends(path: Sequence[ir.Node], scopes: dict[ir.Node, str]) -> set[ir.Node]:
    """Per named module, the last node of it (children included) whose result leaves it, if it is the module's own."""
    last: dict[str, ir.Node] = {}
    for node in path:
        for module in _ancestors(scopes[node]):
            if _leaves(node, module, scopes):
                last[module] = node
    return {node for module, node in last.items() if scopes[node] == module}


def _ancestors(scope: str) -> Iterable[str]:
    """``a.b/c`` -> ``a``, ``a.b``, ``a.b/c``."""
    for i, letter in enumerate(scope):
        if letter in "./":
            yield scope[:i]
    if scope:
        yield scope


def _within(scope: str, module: str) -> bool:
    return scope == module or scope.startswith((f"{module}.", f"{module}/"))


def _leaves(node: ir.Node, module: str, scopes: dict[ir.Node, str]) -> bool:
    output = node.outputs[0]
    if output.is_graph_output():
        return True
    return any(not _within(scopes[user] if user in scopes else scope_of(user), module) for user, _ in output.uses())


def _names(listed: Sequence[ir.Node], scopes: dict[ir.Node, str], ends: set[ir.Node]) -> dict[ir.Node, str]:
    names: dict[ir.Node, str] = {}
    taken: set[str] = set()
    for node in listed:
        if node in ends:
            names[node] = scopes[node]
            taken.add(scopes[node])
    for node in listed:
        if node in names:
            continue
        scope = scopes[node]
        base = f"{scope}/{node.op_type}" if scope else node.outputs[0].name or node.name or node.op_type
        name, i = base, 0
        while name in taken:
            i += 1
            name = f"{base}_{i}"
        names[node] = name
        taken.add(name)
    return names


def _roles(model: ir.Model, listed: Sequence[ir.Node]) -> dict[ir.Node, str]:
    roles = {node: _ROLES[node.op_type] for node in listed if not node.domain and node.op_type in _ROLES}
    for node in listed:
        if node.op_type == "Add" and (product := _biased(node)) is not None:
            roles[node] = roles.get(product, "linear")
        elif node.op_type == "Softmax" and _is_attention(node):
            roles[node] = "attention probability"
        elif isinstance(match_linear(node), Linear):
            roles[node] = "linear"
        elif isinstance(norm := match_layer_norm(node), LayerNorm):
            _move_role(roles, node, norm.output, "norm")
        else:
            for recognise in (match_gelu, match_silu, match_hard_swish):
                if isinstance(match := recognise(node), Gelu | Silu | HardSwish):
                    _move_role(roles, node, match.output, "activation")
    roles.update((match.node, "residual add") for match in find_residuals(model))
    roles.update((match.node, "embedding") for match in find_embeddings(model)[0])
    roles.update(_map_roles(model, listed))
    for head in find_heads(model):
        if head.node is not None:
            roles[head.node] = "softmax" if head.kind != "sigmoid" else "sigmoid"
        producer = _computing(head.logits, set(listed))
        if producer is not None and (head.kind != "none" or producer.op_type in ("Gemm", "MatMul", "Add")):
            roles[producer] = "logits"
    return roles


def _move_role(roles: dict[ir.Node, str], anchor: ir.Node, output: ir.Value, role: str) -> None:
    """Gives the role of a group of nodes to the one that returns its value."""
    roles.pop(anchor, None)
    last = output.producer()
    if last is not None:
        roles[last] = role


def _biased(add: ir.Node) -> ir.Node | None:
    """The Conv, MatMul or Gemm that an Add of a constant finishes."""
    for value, other in ((add.inputs[0], add.inputs[1]), (add.inputs[1], add.inputs[0])):
        if other is not None and other.is_initializer():
            return made_by(value, "Conv", "ConvTranspose", "MatMul", "Gemm")
    return None


def _computing(value: ir.Value, listed: set[ir.Node]) -> ir.Node | None:
    node = value.producer()
    while node is not None and node not in listed and node.op_type in _PLUMBING and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node if node in listed else None


def _is_attention(node: ir.Node) -> bool:
    """Softmax over the last of three or four axes, of a product of two computed matrices."""
    known = dims(node.outputs[0])
    if known is None or len(known) not in (3, 4):
        return False
    if node.attributes.get_int("axis", -1) not in (-1, len(known) - 1):
        return False
    value = node.inputs[0]
    for _ in range(6):
        step = None if value is None else unquantised(value).producer()
        if step is None:
            return False
        if step.op_type == "MatMul":
            return not any(i is not None and i.is_initializer() for i in step.inputs)
        if step.op_type not in ("Mul", "Div", "Add", "Sub", "Where", "Cast", "Reshape", "Clip", "Tanh"):
            return False
        candidates = [
            i for i in step.inputs if i is not None and is_float(i) and dims(i) is not None and not i.is_initializer()
        ]
        value = max(candidates, key=lambda i: len(dims(i) or ()), default=None)
    return False


def _map_roles(model: ir.Model, listed: Sequence[ir.Node]) -> dict[ir.Node, str]:
    """The last layer of each resolution on the way to each output, and the last of all to the first of them."""
    with_maps = _with_maps(listed)
    roles: dict[ir.Node, str] = {}
    for output in filter(is_float, model.graph.outputs):
        reached = carriers(model, output.name or "")
        last = {sizes: node for node, sizes in with_maps if node.outputs[0].name in reached}
        if last:
            final = max(last.values(), key=listed.index)
            named = dict.fromkeys(last.values(), "cam candidate")
            roles = {**named, final: "cam candidate" if roles else "target layer", **roles}
    return roles


def _with_maps(listed: Sequence[ir.Node]) -> list[tuple[ir.Node, tuple[Dim, ...]]]:
    """Returns the layers that give maps of more than one place, each with their sizes."""
    maps: set[ir.Value] = set()
    found: list[tuple[ir.Node, tuple[Dim, ...]]] = []
    for node in listed:
        output = node.outputs[0]
        known = dims(output)
        if known is None or len(known) != 4 or node.op_type in _BREAKS_MAPS:
            continue
        if node.op_type not in _MAKES_MAPS and not any(
            unquantised(value) in maps for value in node.inputs if value is not None
        ):
            continue
        maps.add(output)
        if all(isinstance(d, str) or (d is not None and d > 1) for d in known[2:]):
            found.append((node, known[2:]))
    return found
