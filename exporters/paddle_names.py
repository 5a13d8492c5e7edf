"""Layer paths of a converted Paddle model.

The converter names the values of the k-th operator of a kind, in program order,
``p2o.pd_op.<kind>.<k>.<result>``. The program says which layer that operator belongs to: in
``struct_name``, the path of layer classes with a counter per parent
(``/Sequential_3/BasicBlock_1/Conv2D_1/``); programs that came from a ``.pdmodel`` have none, so there the
names of the parameters tell (``conv2d_3.w_0``). Several values may share a path: an operator and its bias,
or everything a layer computes outside its sublayers. The last of them, in graph order, is the layer's
output.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import onnx

from xgraph.exporters.paddle_program import Op, Program

VALUE = re.compile(r"p2o\.(?P<op>\w+\.\w+\.\d+)\.\d+(_\d+)?")
PARAMETER = re.compile(r"(?P<layer>.+?)[._](w_\d+|b_\d+|weights?|bias|scale|offset|mean|variance)(_\d+)?")
WITH_WEIGHT = frozenset(
    (
        "conv1d", "conv2d", "conv3d", "depthwise_conv2d", "conv2d_transpose", "conv3d_transpose",
        "depthwise_conv2d_transpose", "deformable_conv", "matmul", "addmm", "fc", "bilinear", "embedding",
        "batch_norm", "batch_norm_", "layer_norm", "group_norm", "instance_norm", "rms_norm", "prelu", "rnn",
    )
)  # fmt: skip
"""Operators that a layer is named after by its parameter; a sum with a parameter may belong to anything."""
REARRANGING = frozenset(("reshape", "transpose", "unsqueeze", "squeeze", "cast", "assign", "combine"))
"""Operators whose result is still a layer's weight; ``rnn`` takes all of its own combined."""
SHAPES = frozenset(("shape", "shape64", "numel"))
PASSING = frozenset(("scale", "assign", "cast", "reshape", "dropout"))


def scopes(program: Program, converted: Path) -> dict[str, str]:
    """Returns ONNX value name -> layer path, for the values of ``converted`` whose layer is known."""
    layers = _layers(program)
    nodes = onnx.load(str(converted), load_external_data=False).graph.node
    found = {}
    for node in nodes:
        for value in node.output:
            match = VALUE.fullmatch(value)
            layer = layers.get(match["op"] if match else value)
            if layer:
                found[value] = layer
    # A helper's result under another name: rewrites that drop the Identity may keep either of the two.
    for node in reversed(nodes):
        if node.op_type == "Identity" and node.output[0] in found and not node.input[0].startswith("p2o."):
            found.setdefault(node.input[0], found[node.output[0]])
    return {value: found[value] for node in nodes for value in node.output if value in found}


def _layers(program: Program) -> dict[str, str]:
    """Returns operator or output name -> layer path, for what depends on an input's values."""
    structured = any(op.attributes.get("struct_name") for op in program.ops)
    weights = dict(program.parameters)
    producer: dict[int, Op] = {}
    depends: set[int] = set()
    layers: dict[str, str] = {}
    for op in program.ops:
        if op.kind in ("data", "feed") or (op.kind not in SHAPES and depends.intersection(op.inputs)):
            depends.update(op.outputs)
        elif op.kind in REARRANGING and op.inputs and op.inputs[0] in weights:
            weights[op.outputs[0]] = weights[op.inputs[0]]
        producer.update(dict.fromkeys(op.outputs, op))
        if op.kind == "fetch":
            layer = _passed(op, producer, layers)
            name = op.attributes["name"]
        elif not depends.intersection(op.outputs):
            continue
        elif structured:
            layer = str(op.attributes.get("struct_name", "")).strip("/")
            name = op.name
        else:
            layer = _by_parameter(op, weights, producer, layers)
            name = op.name
        if layer:
            layers[name] = layer
    return layers


def _by_parameter(op: Op, weights: Mapping[int, str], producer: Mapping[int, Op], layers: Mapping[str, str]) -> str:
    """Returns the layer whose weight the operator takes, or whose bias it adds to that layer's own result."""
    named = (PARAMETER.fullmatch(weights[value]) for value in op.inputs if value in weights)
    candidates = {match["layer"] for match in named if match}
    if op.kind == "add":
        before = {layers.get(producer[value].name, "") for value in op.inputs if value in producer}
        candidates &= before
    elif op.kind not in WITH_WEIGHT:
        return ""
    return min(candidates, default="")


def _passed(fetch: Op, producer: Mapping[int, Op], layers: Mapping[str, str]) -> str:
    """Returns the layer of what is fetched. Saving adds an operator of no layer that passes the value on."""
    value = fetch.inputs[0]
    while value in producer:
        op = producer[value]
        if op.name in layers:
            return layers[op.name]
        if op.kind not in PASSING:
            break
        value = op.inputs[0]
    return ""
