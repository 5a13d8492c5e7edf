"""The reverse walker and the book: what they do for every rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from xgraph.errors import GraphError, ShapeUnknownError, UnsupportedOpError
from xgraph.graph.emit import FROM, Emit
from xgraph.graph.shapes import not_fixed
from xgraph.graph.site import Site
from xgraph.graph.walk import Entry, pull, unbroadcast
from xgraph.rules.book import Book
from xgraph.rules.vjp import vjp


def graph(*shapes: Sequence[int | str | None] | None) -> tuple[Emit, list[ir.Value]]:
    """Returns an emitter on an empty float64 model with inputs ``x0``, ``x1`` .. of these shapes."""
    inputs = [
        ir.Value(name=f"x{i}", shape=None if shape is None else ir.Shape(shape), type=ir.TensorType(ir.DataType.DOUBLE))
        for i, shape in enumerate(shapes)
    ]
    model = ir.Model(ir.Graph(inputs, [], nodes=[], opset_imports={"": 18}, name="g"), ir_version=9)
    return Emit(model), inputs


def run(b: Emit, outputs: Sequence[ir.Value], feeds: dict[str, Any]) -> list[np.ndarray]:
    b.graph.outputs.extend(outputs)
    for value in outputs:
        if value.shape is None:
            value.shape = ir.Shape([])
    arrays = {name: np.asarray(array, np.float64) for name, array in feeds.items()}
    return ReferenceEvaluator(ir.to_proto(b.model)).run(None, arrays)


@pytest.mark.parametrize(
    ("of_g", "of_x", "ops"),
    [
        ((2, 3), (2, 3), []),
        (("batch", 3), ("batch", 3), []),
        ((2, 3), (3,), ["ReduceSum"]),
        ((2, 3), (1, 3), ["ReduceSum"]),
        (("batch", 3), (1, 3), ["ReduceSum"]),
        (("batch", 2, 3), (2, 1), ["ReduceSum", "ReduceSum"]),
        ((2, 3), (), ["ReduceSum"]),
    ],
)
def test_static_unbroadcast_sums_only_where_it_must(of_g: Any, of_x: Any, ops: list[str]) -> None:
    b, (g, x) = graph(of_g, of_x)
    total = unbroadcast(b, g, x)
    assert [node.op_type for node in b.graph] == ops
    assert [str(dim) for dim in total.shape] == [str(dim) for dim in of_x]
    sizes = [4 if dim == "batch" else dim for dim in of_g]
    array = np.arange(float(np.prod(sizes))).reshape(sizes)
    wanted = array.sum(tuple(range(len(of_g) - len(of_x))))
    for axis, dim in enumerate(of_x):
        wanted = wanted.sum(axis, keepdims=True) if dim == 1 else wanted
    zeros = np.zeros([4 if dim == "batch" else dim for dim in of_x])
    if ops:
        np.testing.assert_array_equal(run(b, [total], {"x0": array, "x1": zeros})[0], wanted)
    else:
        assert total is g


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize(("of_g", "of_x"), [(("n", 2), ("m", 2)), ((3, 2), ("m", 2)), (("k", "n", 2), ("m", 2))])
def test_unbroadcast_decided_at_run_time(of_g: Any, of_x: Any, size: int) -> None:
    b, (g, x) = graph(of_g, of_x)
    total = unbroadcast(b, g, x)
    array = np.arange(6.0 if len(of_g) == 2 else 24.0).reshape((-1, 3, 2) if len(of_g) == 3 else (3, 2))
    (found,) = run(b, [total], {"x0": array, "x1": np.zeros((size, 2))})
    wanted = array.sum(0) if len(of_g) == 3 else array
    np.testing.assert_array_equal(found, wanted.sum(0, keepdims=True) if size == 1 else wanted)


def test_unbroadcast_needs_ranks() -> None:
    b, (g, x) = graph((2, 3), None)
    with pytest.raises(ShapeUnknownError, match="the rank of 'x1' is not known"):
        unbroadcast(b, g, x)


def test_unbroadcast_to_a_higher_rank_is_an_error() -> None:
    b, (g, x) = graph((3,), (2, 3))
    with pytest.raises(GraphError, match="cannot be the gradient"):
        unbroadcast(b, g, x)


def test_sizes_that_inference_invents_are_not_taken_for_named_ones() -> None:
    b, (x,) = graph(("_d0", 2))
    invented = b.NonZero(x).shape[1]
    assert invented != x.shape[0]
    assert Emit(b.model).NonZero(b.Exp(x)).shape[1] not in (invented, x.shape[0])


def test_missing_rules_are_listed_all_at_once() -> None:
    b, (x,) = graph((2, 3))
    names = []
    for value in (x, b.Exp(x)):
        (y,) = b.op("Mystery", [value], {}, domain="acme", like=[x])
        (z,) = b.op("Riddle", [y], {}, domain="acme", like=[x])
        names.append((y.producer().name, z.producer().name, z))
    y = b.Add(names[0][2], names[1][2])
    with pytest.raises(UnsupportedOpError) as error:
        pull(b, list(b.graph), vjp.lookup, {y: y}, [x])
    message = str(error.value)
    assert f"acme::Mystery (2 nodes, first '{names[0][0]}')" in message
    assert f"acme::Riddle (2 nodes, first '{names[0][1]}')" in message


def test_a_rule_that_is_not_for_quantised_integers_is_not_called_missing() -> None:
    b, (x,) = graph((1, 1, 2, 2))
    scale, zero = b.scalar(0.5, x), b.constant(np.asarray(0, np.uint8))
    small = b.Resize(b.QuantizeLinear(x, scale, zero), None, [1.0, 1.0, 2.0, 2.0], mode="nearest")
    y = b.DequantizeLinear(small, scale, zero)
    with pytest.raises(UnsupportedOpError, match=r"^no rule for Resize that reads quantised integers \(1 node, first"):
        pull(b, list(b.graph), vjp.lookup, {y: y}, [x])


def test_missing_rule_off_the_path_does_not_matter() -> None:
    b, (x, other) = graph((2,), (2,))
    (hidden,) = b.op("Mystery", [other], {}, domain="acme", like=[x])
    y = b.Mul(x, hidden)
    (dx,) = pull(b, list(b.graph), vjp.lookup, {y: y}, [x])
    assert dx is not None


def test_what_cannot_be_reached_is_none() -> None:
    b, (x, other) = graph((2,), (2,))
    y = b.Exp(x)
    b.Exp(other)
    dx, nothing = pull(b, list(b.graph), vjp.lookup, {y: y}, [x, other])
    assert dx is not None
    assert nothing is None


def test_constants_stop_the_walk() -> None:
    b, (x,) = graph((2,))
    y = b.Floor(b.Exp(x))
    assert pull(b, list(b.graph), vjp.lookup, {y: y}, [x]) == [None]


def test_seeds_and_paths_add_up() -> None:
    b, (x,) = graph((2,))
    double = b.Add(x, x)
    y = b.Mul(double, b.Exp(x))
    nodes = list(b.graph)
    one = b.constant(np.ones(2))
    found = pull(b, nodes, vjp.lookup, {y: one, double: one, x: one}, [x, double])
    at = np.asarray([0.5, -1.0])
    dx, d_double = run(b, found, {"x0": at})
    np.testing.assert_allclose(d_double, np.exp(at) + 1)
    np.testing.assert_allclose(dx, 2 * (np.exp(at) + 1) + 2 * at * np.exp(at) + 1)


def test_wrt_may_be_in_the_middle() -> None:
    b, (x,) = graph((2,))
    middle = b.Exp(x)
    y = b.Sin(middle)
    (found,) = pull(b, list(b.graph), vjp.lookup, {y: b.constant(np.ones(2))}, [middle])
    at = np.asarray([0.5, -1.0])
    np.testing.assert_allclose(run(b, [found], {"x0": at})[0], np.cos(np.exp(at)))


def test_what_is_emitted_names_its_forward_node() -> None:
    b, (x,) = graph((2, 3))
    y = b.Sigmoid(b.Tanh(x))
    nodes = list(b.graph)
    pull(b, nodes, vjp.lookup, {y: y}, [x])
    emitted = [node for node in b.graph if node not in nodes]
    sources = [node.metadata_props[FROM] for node in emitted]
    assert sources == [nodes[1].name] * 3 + [nodes[0].name] * 3


def test_rules_are_told_what_is_wanted() -> None:
    b, (x, other) = graph((2, 3), (3,))
    y = b.Mul(x, other)
    nodes = list(b.graph)
    pull(b, nodes, vjp.lookup, {y: y}, [x])
    assert [node.op_type for node in b.graph][1:] == ["Mul"]


def test_wrong_number_of_answers_is_an_error() -> None:
    b, (x,) = graph((2,))
    y = b.Exp(x)
    with pytest.raises(GraphError, match="the rule of Exp gave 2 answers for 1 inputs"):
        pull(b, list(b.graph), lambda _: Entry(rule=lambda b, s, g: [g, g]), {y: y}, [x])


def test_second_registration_names_the_first() -> None:
    book = Book("trial")

    @book("Exp")
    def rule(b: Emit, s: Any, g: ir.Value) -> list[ir.Value]:
        return [g]

    with pytest.raises(ValueError, match=r"Exp is in the book 'trial' already, by .*test_walk\.rule"):
        book("Log", "Exp")(rule)
    with pytest.raises(ValueError, match="Exp is in the book"):
        book.constant("never", "Exp")
    book.constant("made up for this test", "Floor")
    with pytest.raises(ValueError, match="by the constants"):
        book("Floor")(rule)


def test_a_node_that_lacks_something_is_named_and_described() -> None:
    book = Book("trial")

    @book("Exp", needs=lambda s: not_fixed(s.input(0), [0, 1]))
    def rule(b: Emit, s: Site, g: ir.Value) -> list[ir.Value]:
        return [g]

    b, (x, fixed) = graph(("n", "2*floor(height/2) + width"), (2, 3))
    y = b.Exp(x)
    site = Site(y.producer())
    entry = book.lookup(site)
    assert entry.describe(site) == "rule, needs fixed 'n' and 'height' and 'width' axes"
    with pytest.raises(UnsupportedOpError, match=rf"no gradient for Exp '{y.producer().name}': it needs fixed 'n' and"):
        pull(b, list(b.graph), book.lookup, {y: y}, [x])
    z = b.Exp(fixed)
    assert entry.describe(Site(z.producer())) == "rule"
    assert pull(b, list(b.graph), book.lookup, {z: z}, [fixed]) == [z]
    book.constant("made up", "Floor")
    assert book.entries["Floor"].describe(site) == "constant: made up"


def test_an_unknown_size_names_the_node() -> None:
    def rule(b: Emit, s: Site, g: ir.Value) -> list[ir.Value]:
        raise ShapeUnknownError("what was found")

    b, (x,) = graph((2,))
    y = b.Exp(x)
    with pytest.raises(ShapeUnknownError, match=f"no gradient for Exp '{y.producer().name}': what was found"):
        pull(b, list(b.graph), lambda _: Entry(rule=rule), {y: y}, [x])


def test_a_rule_that_trips_names_the_node() -> None:
    def rule(b: Emit, s: Site, g: ir.Value) -> list[ir.Value]:
        return [s.x[3]]

    b, (x,) = graph((2,))
    y = b.Exp(x)
    with pytest.raises(GraphError, match=f"no gradient for Exp '{y.producer().name}': its operands are not what"):
        pull(b, list(b.graph), lambda _: Entry(rule=rule), {y: y}, [x])


def test_a_mean_over_an_unknown_rank_names_the_node() -> None:
    b, (x,) = graph(None)
    y = b.ReduceMean(x, [1, 2])
    with pytest.raises(ShapeUnknownError, match=f"no gradient for ReduceMean '{y.producer().name}': the rank of 'x0'"):
        pull(b, list(b.graph), vjp.lookup, {y: y}, [x])


@pytest.mark.parametrize(
    ("op", "x", "rest", "attributes", "said"),
    [
        ("LSTM", ("T", "n", 2), [(1, 12, 2), (1, 12, 3)], {"hidden_size": 3}, "rule"),
        ("GRU", (4, "n", 2), [(1, 9, 2), (1, 9, 3)], {"hidden_size": 3}, "rule"),
        ("RNN", (4, "n", 2), [(1, 3, 2), (1, 3, 3)], {"hidden_size": 3, "clip": 1.0}, "rule"),
        (
            "GRU",
            (4, "n", 2),
            [(1, 9, 2), (1, 9, 3)],
            {"hidden_size": 3, "activations": ["Sigmoid", "Sine"]},
            "rule, needs activations of the standard instead of ['Sine']",
        ),
        ("Resize", ("n", 2, "h", "w"), [None, [1, 1, 2, 2]], {"mode": "nearest"}, "rule"),
        ("Resize", ("n", 2, "h", "w"), [None, [1, 1, 1, 2]], {"mode": "cubic"}, "rule"),
        ("AveragePool", ("n", 2, "h", 4), [], {"kernel_shape": [2, 2], "ceil_mode": 1}, "rule"),
        ("LRN", ("n", "c", 4), [], {"size": 3}, "rule, needs a fixed 'c' axis"),
        ("Det", ("n", "m", "m"), [], {}, "rule, needs a fixed 'm' axis"),
    ],
)
def test_the_gradient_book_says_what_a_node_lacks(op: str, x: Any, rest: Any, attributes: Any, said: str) -> None:
    b, (value,) = graph(x)
    inputs: list[ir.Value | None] = [value]
    for item in rest:
        if isinstance(item, tuple):
            item = np.zeros(item)
        inputs.append(None if item is None else b.constant(np.asarray(item, np.float32 if op == "Resize" else None)))
    outputs = {"LSTM": 3, "GRU": 2, "RNN": 2}.get(op, 1)
    y = ir.Node("", op, inputs, ir.convenience.convert_attributes(attributes), num_outputs=outputs)
    for output in y.outputs:
        output.type, output.shape = (
            value.type,
            ir.Shape([d if isinstance(d, str) else 2 * d for d in x] if op == "Resize" else x),
        )
    site = Site(y)
    assert vjp.lookup(site).describe(site) == said
