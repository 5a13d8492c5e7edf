"""What holds of every rule whatever its formula, over one row per operator from all modules of rows.

Dynamic batches, and a value that a node reads twice, are properties that the rows themselves have: test_vjp and
test_vjp_conventions check them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException
from rules.harness import Case, Draw, Gradient, derive, evaluate, forward, run_ort, seed_feeds
from rules.rows import all_rows, one_row_each

from xgraph.rules.vjp import vjp

ROWS = one_row_each()
EACH = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])


def derived(row: Case) -> Gradient:
    return _derived(row.op)


@cache
def _derived(op: str) -> Gradient:
    row = next(row for row in ROWS if row.op == op)
    return derive(row, np.float64, dynamic=row.dynamic)


def gradients_at(gradient: Gradient, scale: dict[str, float]) -> list[np.ndarray]:
    """Returns the gradients for random cotangents times ``scale``; 1 where that says nothing."""
    feeds = gradient.feeds(2)
    seeds = seed_feeds(gradient, forward(gradient, feeds))
    seeds = {name: seed * scale.get(name, 1.0) for name, seed in seeds.items()}
    found = evaluate(gradient, {**feeds, **seeds})
    return [found[name] for name in gradient.names[gradient.case.outputs :] if name]


def seeds_of(gradient: Gradient) -> list[str]:
    return [info.name for info in gradient.proto.graph.input if info.name.startswith("seed")]


@EACH
def test_zero_cotangent_gives_zero(row: Case) -> None:
    gradient = derived(row)
    for found in gradients_at(gradient, dict.fromkeys(seeds_of(gradient), 0.0)):
        np.testing.assert_array_equal(found, 0)


@EACH
def test_linear_in_the_cotangent(row: Case) -> None:
    gradient = derived(row)
    once = gradients_at(gradient, {})
    thrice = gradients_at(gradient, dict.fromkeys(seeds_of(gradient), -3.0))
    for found, expected in zip(thrice, once, strict=True):
        np.testing.assert_allclose(found, -3 * expected, rtol=1e-12, atol=1e-12)


SEVERAL = [row for row in ROWS if len(seeds_of(derived(row))) > 1]


@pytest.mark.parametrize("row", SEVERAL, ids=[row.name for row in SEVERAL])
def test_output_that_is_not_used(row: Case) -> None:
    """Nothing arriving at an output is the same as zeros arriving there."""
    whole = derived(row)
    for kept in seeds_of(whole):
        alone = derive(row, np.float64, dynamic=row.dynamic, seeded=[int(kept.removeprefix("seed"))])
        zeroed = gradients_at(whole, {name: 0.0 for name in seeds_of(whole) if name != kept})
        feeds = whole.feeds(2)
        seeds = seed_feeds(whole, forward(whole, feeds))
        found = evaluate(alone, {**feeds, kept: seeds[kept]})
        outputs = row.outputs
        for name, expected in zip(alone.names[outputs:], zeroed, strict=True):
            np.testing.assert_allclose(found[name] if name else 0, expected, rtol=1e-12, atol=1e-12)


def pairs() -> list[Case]:
    """Returns rows of two explained inputs of one shape, for one value to take the place of both."""
    found: dict[str, Case] = {}
    for row in all_rows():
        shapes = [x.shape for x in row.inputs if isinstance(x, Draw) and x.wrt]
        if len(row.inputs) > 1 and len(shapes) == 2 and shapes[0] == shapes[1] and row.inputs[0] == row.inputs[1]:
            found.setdefault(row.op, row)
    return list(found.values())


PAIRS = pairs()


@pytest.mark.parametrize("row", PAIRS, ids=[row.name for row in PAIRS])
def test_value_that_is_read_twice_gets_both_shares(row: Case) -> None:
    apart = derive(row, np.float64, dynamic=False)
    shared = derive(replace(row, inputs=(row.inputs[0], "x0", *row.inputs[2:])), np.float64, dynamic=False)
    feeds = {**apart.feeds(2), "x1": apart.feeds(2)["x0"]}
    feeds |= seed_feeds(apart, forward(apart, feeds))
    first, second = (evaluate(apart, feeds)[name] for name in apart.names[row.outputs :])
    (total,) = (evaluate(shared, feeds)[name] for name in shared.names[row.outputs :])
    np.testing.assert_allclose(total, first + second, rtol=1e-12, atol=1e-12)


ONE_WAY = {"Einsum", "Expand", "PRelu"}
"""The standard lets only one of their operands be stretched, or says which axes of which."""
BROADCASTING = sorted(op for op, entry in vjp.entries.items() if entry.broadcasts and op not in ONE_WAY)


@pytest.mark.parametrize("op", BROADCASTING)
def test_rows_broadcast_both_ways(op: str) -> None:
    """Every broadcasting rule is compared with differences where its first input is stretched, and its last."""
    ranks = [[len(x.shape) for x in row.inputs if isinstance(x, Draw)] for row in all_rows() if row.op == op]
    both = [sizes for sizes in ranks if len(sizes) > 1]
    assert any(sizes[0] < sizes[-1] for sizes in both)
    assert any(sizes[0] > sizes[-1] for sizes in both)


NEEDS_SAMPLES = {
    "AveragePool", "Col2Im", "Conv", "ConvTranspose", "DeformConv", "Flatten", "GlobalAveragePool", "GridSample",
    "GroupNormalization", "LRN", "NegativeLogLikelihoodLoss", "Resize", "SoftmaxCrossEntropyLoss",
}  # fmt: skip
"""The reference evaluator runs these, or what their gradients are made of, on no empty batch."""


def over_samples(row: Case) -> bool:
    """Tells whether a row reduces over its samples, of which there must be some."""
    return row.op.startswith("Reduce") and "keepdims=0" in row.name and "told" in row.name


BATCHED = [row for row in ROWS if row.dynamic and row.op not in NEEDS_SAMPLES and not over_samples(row)]


@pytest.mark.parametrize("row", BATCHED, ids=[row.name for row in BATCHED])
def test_empty_batch(row: Case) -> None:
    gradient = derived(row)
    feeds = gradient.feeds(0)
    feeds |= seed_feeds(gradient, forward(gradient, feeds))
    found = evaluate(gradient, feeds)
    for x, name in zip(gradient.wrt, gradient.names[row.outputs :], strict=True):
        if name:
            assert found[name].shape == feeds[x].shape
            assert np.isfinite(found[name]).all()


TYPES = {np.float16: "tensor(float16)", np.float32: "tensor(float)", np.float64: "tensor(double)"}


def allows(row: Case, dtype: type) -> bool:
    """Tells whether the standard has the operator in a type."""
    if row.op == "BitCast" and dtype is not np.float64:
        return False  # its row keeps that type, and to read the bits of another one has no gradient
    first = next(i for i, x in enumerate(row.inputs) if isinstance(x, Draw))
    formals = onnx.defs.get_schema(row.op, row.opset).inputs
    return TYPES[dtype] in formals[min(first, len(formals) - 1)].types


MISCOUNTED = {"STFT"}
"""onnx's own shape inference counts one frequency too many for windows of odd length."""
TYPED = [(row, dtype) for row in ROWS for dtype in TYPES if allows(row, dtype) and row.op not in MISCOUNTED]


@pytest.mark.parametrize(("row", "dtype"), TYPED, ids=[f"{row.name}-{dtype.__name__}" for row, dtype in TYPED])
def test_types_agree(row: Case, dtype: type) -> None:
    onnx.checker.check_model(derive(row, dtype, dynamic=row.dynamic).proto, full_check=True)


HALF = [row for row in ROWS if row.ort and allows(row, np.float16)]


@pytest.mark.parametrize("row", HALF, ids=[row.name for row in HALF])
def test_float16_in_onnx_runtime(row: Case) -> None:
    whole, half = derived(row), derive(row, np.float16, dynamic=row.dynamic)
    feeds = whole.feeds(2)
    feeds |= seed_feeds(whole, forward(whole, feeds))
    # Both see the same numbers.
    feeds = {name: x.astype(np.float16).astype(x.dtype) if x.dtype == np.float64 else x for name, x in feeds.items()}
    expected = evaluate(whole, feeds)
    try:
        found = run_ort(half, feeds)
    except (NoKernel, RuntimeException) as error:
        # Some kernels say so only when they run.
        if isinstance(error, RuntimeException) and "type is not supported" not in str(error):
            raise
        pytest.skip(f"no kernel: {' '.join(str(error).split())[-120:]}")
    for want, have in zip(whole.names[row.outputs :], half.names[row.outputs :], strict=True):
        if want:
            scale = max(float(np.max(np.abs(expected[want]), initial=0.0)), 1e-3)
            np.testing.assert_allclose(found[have], expected[want], rtol=0, atol=2e-2 * scale)
