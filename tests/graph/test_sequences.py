# ruff: noqa: E501  (models are written as text)
"""Sequences and optionals of static structure against ONNX Runtime running the model as it was."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from xgraph.errors import UnsupportedOpError
from xgraph.graph.emit import Emit
from xgraph.graph.normalise import normalise
from xgraph.graph.normalise.sequences import RESOLVED
from xgraph.graph.walk import pull
from xgraph.rules.vjp import vjp

ZERO, ONE, LAST = (
    "zero = Constant<value_int = 0>()",
    "one = Constant<value_int = 1>()",
    "last = Constant<value_int = -1>()",
)
MODELS = {
    "construct and at": f"{LAST} s = SequenceConstruct(x, z) y = SequenceAt(s, last)",
    "insert": f"{ONE} {ZERO} e = SequenceEmpty() s = SequenceInsert(e, z) t = SequenceInsert(s, x) u = SequenceInsert(t, x, zero) y = SequenceAt(u, one)",
    "insert from the end": f"{LAST} {ONE} s = SequenceConstruct(x, z) t = SequenceInsert(s, x, last) y = SequenceAt(t, one)",
    "erase": f"{ZERO} s = SequenceConstruct(x, z) t = SequenceErase(s, zero) y = SequenceAt(t, zero)",
    "erase the last": f"{LAST} s = SequenceConstruct(z, x) t = SequenceErase(s) y = SequenceAt(t, last)",
    "length": "s = SequenceConstruct(x, z, z) n = SequenceLength(s) c = Cast<to = 1>(n) y = Mul(x, c)",
    "concat": "s = SequenceConstruct(x, z) y = ConcatFromSequence<axis = -1>(s)",
    "stack": "s = SequenceConstruct(x, z) y = ConcatFromSequence<axis = 1, new_axis = 1>(s)",
    "split in ones": f"{ONE} s = SplitToSequence<axis = 1>(x) y = SequenceAt(s, one)",
    "split without the axis": f"{ONE} s = SplitToSequence<axis = 1, keepdims = 0>(x) y = SequenceAt(s, one)",
    "split in steps": f"{LAST} k = Constant<value_int = 3>() s = SplitToSequence<axis = -1>(x, k) y = SequenceAt(s, last)",
    "split in parts": f"{LAST} k = Constant<value_ints = [1, 3]>() s = SplitToSequence<axis = 1>(x, k) y = SequenceAt(s, last)",
    "map": """s = SequenceConstruct(x, z) m = SequenceMap<body = b (float[N, 4] p, float[N, 4] q) => (float[N, 4] r)
        {c = Constant<value_float = 3.0>() t = Mul(p, c) u = Add(t, z) r = Mul(u, q)}>(s, x) y = ConcatFromSequence<axis = 0>(m)""",
    "map of two": """s = SequenceConstruct(x, z) t = SequenceConstruct(z, z) m = SequenceMap<body = b (float[N, 4] p, float[N, 4] q)
        => (float[N, 4] r) {r = Mul(p, q)}>(s, t) y = ConcatFromSequence<axis = 0>(m)""",
    "optional": "o = Optional(x) h = OptionalHasElement(o) e = OptionalGetElement(o) c = Cast<to = 1>(h) y = Mul(e, c)",
    "optional sequence": f"{ONE} s = SequenceConstruct(z, x) o = Optional(s) e = OptionalGetElement(o) y = SequenceAt(e, one)",
}  # fmt: skip


def model_of(name, parse):
    return parse(f"g (float[N, 4] x, float[N, 4] z) => (float y) {{ {MODELS[name]} }}")


@pytest.mark.parametrize("name", MODELS)
def test_same_numbers_without_sequences(name, parse, evaluator):
    result = normalise(model_of(name, parse), evaluator=evaluator)
    assert not {node.op_type for node in result.graph} & RESOLVED
    assert not any((value.name or "").startswith("xg/") for node in result.graph for value in node.outputs)


def test_inside_a_body(parse, evaluator):
    text = """g (float[N, 4] x, bool c) => (float y)
        { s = SequenceConstruct(x, x)
          y = If(c) <then_branch = t () => (float[N, 4] r) {i = Constant<value_int = 0>() a = SequenceAt(s, i) r = Relu(a)},
                     else_branch = e () => (float[N, 8] r) {u = SequenceInsert(s, x) v = SequenceErase(u)
                                                         r = ConcatFromSequence<axis = 1>(v)}> }"""
    result = normalise(parse(text), evaluator=evaluator)
    assert not {node.op_type for node in result.graph.all_nodes()} & RESOLVED


def test_empty_optional(parse):
    result = normalise(
        parse("g (float[N, 4] x) => (float y) { h = OptionalHasElement() c = Cast<to = 1>(h) y = Mul(x, c) }")
    )
    assert not {node.op_type for node in result.graph} & RESOLVED


def pulled(model):
    """Returns the seed, and what arrives of it at the first input."""
    result = normalise(model)
    y = result.graph.outputs[0]
    seed = ir.Value(name="seed", shape=y.shape, type=y.type)
    return seed, pull(Emit(result), list(result.graph), vjp.lookup, {y: seed}, [result.graph.inputs[0]])[0]


def test_a_position_known_at_run_time_stays_and_is_refused(parse):
    text = "g (float[N, 4] x, int64 i) => (float[N, 4] y) { s = SequenceConstruct(x, x) y = SequenceAt(s, i) }"
    with pytest.raises(UnsupportedOpError, match="SequenceAt"):
        pulled(parse(text))


def test_what_an_optional_input_holds_has_a_gradient(parse):
    model = parse("g (float[N, 4] x) => (float[N, 4] y) { y = OptionalGetElement(x) }")
    model.graph.inputs[0].type = ir.OptionalType(ir.TensorType(ir.DataType.FLOAT))
    seed, found = pulled(model)
    assert found is seed


def test_positions_come_from_folded_shapes(parse, evaluator):
    text = """g (float[N, 3] x) => (float y)
        { s = SplitToSequence<axis = 1>(x) k = Shape<start = 1>(x) two = Constant<value_int = 2>() i = Sub(k, two)
          j = Squeeze(i) y = SequenceAt(s, j) }"""
    assert "SequenceAt" not in [node.op_type for node in normalise(parse(text), evaluator=evaluator).graph]
