"""The operator cases that the onnx package generates, in double precision.

Each case is a model with inputs and the outputs expected of it. Every narrower float in it becomes a double, so that
central differences of the reference evaluator are exact enough to be an oracle.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto

DOUBLE = TensorProto.DOUBLE
PRECISION = {DOUBLE: 1e-7, TensorProto.FLOAT: 1e-3, TensorProto.FLOAT16: 4e-3, TensorProto.BFLOAT16: 2e-2}
"""Relative precision of what a case expects of its outputs, by the narrowest float in it."""
TYPE_ATTRIBUTES = {"to", "dtype", "output_datatype", "stash_type", "softmax_precision"}
"""Attributes that name the type in which something is computed."""
DEFAULT_TYPES = {
    "HannWindow": "output_datatype",
    "HammingWindow": "output_datatype",
    "BlackmanWindow": "output_datatype",
    "MelWeightMatrix": "output_datatype",
    "RandomNormal": "dtype",
    "RandomUniform": "dtype",
}
"""Operators that make float32 where this attribute is not given."""


@dataclass(frozen=True)
class OperatorCase:
    """One case, in double precision."""

    name: str
    model: ModelProto
    feeds: Mapping[str, Any]
    expected: tuple[Any, ...]
    precision: float
    fixed: frozenset[str]
    """Inputs that the standard itself calls not differentiable: shapes, scales, masks."""

    @property
    def wrt(self) -> list[str]:
        """The names of the float tensors that go in."""
        return [info.name for info in self.model.graph.input if _element(info) == DOUBLE]

    @property
    def explained(self) -> list[str]:
        """The names of the float tensors that come out."""
        return [info.name for info in self.model.graph.output if _element(info) == DOUBLE]


@cache
def operator_cases() -> dict[str, OperatorCase]:
    """Returns the cases that have a float input and a float output, by name."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        made = collect_testcases(None)
    fixed = {case.name: frozenset(_not_differentiable(case.model)) for case in made}
    cases = {}
    for case in made:
        (inputs, outputs), *_ = case.data_sets
        model = doubled(case.model)
        found = OperatorCase(
            name=case.name,
            model=model,
            feeds=dict(zip((info.name for info in model.graph.input), map(widened, inputs), strict=True)),
            expected=tuple(map(widened, outputs)),
            precision=max(PRECISION.get(_element(i), 0) for i in (*case.model.graph.input, *case.model.graph.output)),
            fixed=fixed.get(base_name(case.name), frozenset()),
        )
        if found.wrt and found.explained:
            cases[case.name] = found
    return cases


def base_name(name: str) -> str:
    """Returns the name of the case of which this one is the function body."""
    return name.partition("_expanded")[0]


def twins(case: OperatorCase) -> Iterator[OperatorCase]:
    """Yields the cases that compute the same: function bodies written out, which are all double, then single nodes."""
    family = [other for other in operator_cases().values() if base_name(other.name) == base_name(case.name)]
    alike = [other for other in family if other.feeds.keys() == case.feeds.keys()]
    yield from sorted(alike, key=lambda other: "_expanded" not in other.name)


def _element(info: onnx.ValueInfoProto) -> int:
    return info.type.tensor_type.elem_type


def _not_differentiable(model: ModelProto) -> Iterator[str]:
    """Yields the inputs of a one-node model that the schema of its operator calls not differentiable.

    Schemas of old operators say nothing; their scales are like those of today.
    """
    node, *others = model.graph.node
    if others:
        return
    version = next(entry.version for entry in model.opset_import if entry.domain == node.domain)
    schema = onnx.defs.get_schema(node.op_type, version, node.domain)
    for name, formal in zip(node.input, schema.inputs, strict=False):
        category = onnx.defs.OpSchema.DifferentiationCategory
        unsaid = formal.differentiation_category == category.Unknown
        if formal.differentiation_category == category.NonDifferentiable or (unsaid and formal.name == "scales"):
            yield name


def doubled(model: ModelProto) -> ModelProto:
    """Returns the model with every narrower float type replaced by double."""
    copy = ModelProto.FromString(model.SerializeToString())
    _double_graph(copy.graph)
    return copy


def _double_graph(graph: GraphProto) -> None:
    for info in (*graph.input, *graph.output):
        _double_type(info.type)
    del graph.value_info[:]
    for tensor in graph.initializer:
        _double_tensor(tensor)
    for node in graph.node:
        _double_node(node)


def _double_type(kind: onnx.TypeProto) -> None:
    which = kind.WhichOneof("value")
    if which == "tensor_type":
        if kind.tensor_type.elem_type in PRECISION:
            kind.tensor_type.elem_type = DOUBLE
    elif which in ("sequence_type", "optional_type"):
        _double_type(getattr(kind, which).elem_type)


def _double_tensor(tensor: TensorProto) -> None:
    if tensor.data_type in PRECISION:
        tensor.CopyFrom(onnx.numpy_helper.from_array(widened(tensor), tensor.name))


def _double_node(node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            _double_graph(attribute.g)
        elif attribute.type == AttributeProto.TYPE_PROTO:
            _double_type(attribute.tp)
        elif attribute.type == AttributeProto.TENSOR:
            _double_tensor(attribute.t)
        elif attribute.type == AttributeProto.INT and attribute.name in TYPE_ATTRIBUTES and attribute.i in PRECISION:
            attribute.i = DOUBLE
        elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
            number = attribute.f if attribute.name == "value_float" else list(attribute.floats)
            attribute.CopyFrom(_tensor_attribute(number))
    given = {attribute.name for attribute in node.attribute}
    if node.op_type == "ConstantOfShape" and not given:
        node.attribute.append(_tensor_attribute([0.0]))
    name = DEFAULT_TYPES.get(node.op_type)
    if name and name not in given:
        node.attribute.append(onnx.helper.make_attribute(name, DOUBLE))


def _tensor_attribute(value: Any) -> AttributeProto:
    return onnx.helper.make_attribute("value", onnx.numpy_helper.from_array(np.asarray(value, np.float64)))


def widened(value: Any) -> Any:
    """Returns an input or output as arrays, floats narrower than double widened."""
    if isinstance(value, list | tuple):
        return [widened(item) for item in value]
    if isinstance(value, TensorProto):
        value = onnx.numpy_helper.to_array(value)
    if not isinstance(value, np.ndarray | np.generic | float):
        return value
    array = np.asarray(value)
    narrow = array.dtype in (np.float16, np.float32) or array.dtype.name == "bfloat16"
    return array.astype(np.float64) if narrow else array
