"""The gradients of determinants, diagonals, losses and reductions over computed axes, against central differences."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from rules.harness import Draw, Fed, N, case, gradients

X = (N, 3, 4)
REDUCE = ("Sum", "Mean", "Max", "Min", "Prod", "LogSum", "LogSumExp", "L1", "L2", "SumSquare")


def told(*values: int) -> Fed:
    """Integers that arrive at run time."""
    return Fed(lambda _: np.asarray(values, np.int64), (len(values),))


def flag(value: bool) -> np.ndarray:
    return np.asarray(value)


def classes(*shape: int | str, below: int, ignored: int | None = None) -> Fed:
    """Class labels, of which one is replaced by what is ignored."""

    def make(batch: int) -> np.ndarray:
        drawn = np.random.default_rng(3).integers(0, below, tuple(batch if d == N else int(d) for d in shape))
        if ignored is not None and drawn.size > 1:
            drawn.flat[0] = ignored
        return drawn

    return Fed(make, shape)


DET = [
    case("Det", (N, 1, 1)),
    case("Det", (N, 2, 2)),
    case("Det", (N, 3, 3)),
    case("Det", (3, N, 4, 4)),
]

EINSUM = [
    case("Einsum", (3, 3), equation="ii->i"),
    case("Einsum", (3, 3), equation="ii"),
    case("Einsum", (N, 3, 2, 3), equation="...iji->...ij"),
    case("Einsum", (N, 3, 3), (3, 4), equation="bii,ij->bj"),
    case("Einsum", (2, 2, 2), equation="iii->i"),
    case("Einsum", (N, "rows", "rows"), equation="bii->b"),
]

MOD = [
    case("Mod", X, Draw((4,), 0.7, 1.5), fmod=1, label="signed"),
    case("Mod", Draw(X, 5.0, 9.0), Draw((4,), -1.5, -0.7), label="floor", ort=False),
]

BIT_CAST = [case("BitCast", X, opset=26, to=11, ort=False)] if onnx.defs.onnx_opset_version() >= 26 else []

LOSSES = [
    *(
        case(op, (N, 5, *more), classes(N, *more, below=5, ignored=ignored), *weights, label=label, **attributes)
        for op in ("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
        for reduction in ("none", "sum", "mean")
        for more in ((), (2, 3))
        for ignored in (None, -7, 2)
        for weights in ((), (Draw((5,), 0.5, 2.0),))
        for attributes in ({"reduction": reduction} | ({} if ignored is None else {"ignore_index": ignored}),)
        for label in (f"{reduction},{more},{ignored},{'weights' * len(weights)}",)
    ),
    case("SoftmaxCrossEntropyLoss", (N, 5, 2), classes(N, 2, below=5), outputs=2, label="with log probabilities"),
]

EMPTY = Fed(lambda _: np.zeros(0, np.int64), (0,))
REDUCTION = [
    *(
        case(f"Reduce{op}", Draw(X, low=0.2), axes, keepdims=k, ranks=(1 + 2 * k,), label=f"{label},keepdims={k}")
        for op in REDUCE
        for k in (0, 1)
        for axes, label in ((told(-1, 0), "told"),)
    ),
    *(case(f"Reduce{op}", Draw(X, low=0.2), EMPTY, ranks=(3,), label="told none") for op in REDUCE),
    *(
        case(f"Reduce{op}", Draw(X, low=0.2), [], noop_with_empty_axes=1, label="no axes")
        for op in REDUCE
        if op != "Sum"
    ),
]

TRAINING = [
    case("Dropout", X, np.asarray(0.3), flag(True), outputs=2, seed=4, label="training", ort=False),
    case("Dropout", X, Draw((), 0.2, 0.3), flag(True), outputs=2, seed=4, label="computed ratio", ort=False),
    case(
        "Dropout", X, np.asarray(0.3), Fed(lambda _: np.asarray(True), ()), outputs=2, seed=4, label="told", ort=False
    ),
    case("Dropout", X, np.asarray(0.3), Fed(lambda _: np.asarray(False), ()), outputs=2, label="told not to"),
    case("Dropout", X, np.asarray(0.0), flag(True), label="training, ratio 0"),
]

CASES = [*TRAINING, *DET, *EINSUM, *MOD, *BIT_CAST, *LOSSES, *REDUCTION]


@pytest.mark.parametrize("ort", [False, True])
def test_a_singular_matrix_has_a_gradient(ort: bool) -> None:
    matrix = np.asarray([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]])
    (found,) = gradients(case("Det", (3, 3)), {"x0": matrix}, {"seed0": np.asarray(1.0)}, ort=ort)
    # Rank 2: the cofactors are an outer product of what both kernels are spanned by.
    assert found == pytest.approx(np.asarray([[4.0, 4.0, -4.0], [-2.0, -2.0, 2.0], [0.0, 0.0, 0.0]]))


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin"])
def test_the_first_extremum_along_computed_axes_gets_all(op: str) -> None:
    row = case(op, (2, 2, 2), told(2, 0), ranks=(3,))
    x = np.asarray([[[1.0, 5.0], [2.0, 2.0]], [[1.0, 5.0], [2.0, 2.0]]])
    (found,) = gradients(row, {"x0": x, "x1": np.asarray([2, 0])}, {"seed0": np.asarray([[[3.0], [4.0]]])})
    expected = np.zeros_like(x)
    expected[0, 0, 1 if op == "ReduceMax" else 0], expected[0, 1, 0] = 3.0, 4.0
    np.testing.assert_array_equal(found, expected)
