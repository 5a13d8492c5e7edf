"""The gradients of operators that pick, put and reorder elements, against central differences."""

from __future__ import annotations

import numpy as np
import pytest
from rules.harness import Case, Const, Draw, Fed, N, case, check_in_ort, gradients

MOST = np.iinfo(np.int64).max
X = (N, 3, 4)


def told(*values: int | bool) -> Fed:
    """What arrives at run time."""
    return Fed(lambda _: np.asarray(values), (len(values),))


def one(value: int) -> Fed:
    """A scalar that arrives at run time."""
    return Fed(lambda _: np.asarray(value, np.int64), ())


def flags(*values: int) -> np.ndarray:
    return np.asarray(values, bool)


def labels(*shape: int | str, below: int) -> Fed:
    def make(batch: int) -> np.ndarray:
        sizes = tuple(batch if d == N else int(d) for d in shape)
        return np.random.default_rng(3).integers(-below, below, sizes)

    return Fed(make, shape)


COMPRESS = [
    case("Compress", X, flags(0, 1, 1), axis=1, ranks=(3,)),
    case("Compress", X, flags(1, 0), axis=-1, ranks=(3,), label="condition shorter than the axis"),
    case("Compress", X, told(True, False, True, True), axis=2, ranks=(3,), label="told"),
    case("Compress", X, flags(0, 1, 1, 0, 1), ranks=(1,), label="no axis"),
    case("Compress", X, flags(0, 0, 0), axis=1, ranks=(3,), label="nothing"),
]

UNIQUE = [
    case("Unique", (7,), ranks=(1,)),
    case("Unique", (7,), sorted=0, ranks=(1,)),
    case("Unique", (2, 3), outputs=4, ranks=(1, 1, 1, 1)),
    case("Unique", (3, 2, 2), axis=1, ranks=(3,), label="axis"),
]

REVERSE_SEQUENCE = [
    case("ReverseSequence", (4, 3, 2), [4, 1, 3]),
    case("ReverseSequence", (N, 5), Fed(lambda n: np.arange(n) + 2, (N,)), batch_axis=0, time_axis=1),
]

ONE_HOT = [
    case("OneHot", labels(N, 3, below=4), Const(np.asarray(4)), (2,), ranks=(3,)),
    case("OneHot", labels(N, 3, below=4), Const(np.asarray(4)), (2,), axis=1, ranks=(3,), label="axis"),
    case("OneHot", labels(N, below=9), one(5), (2,), ranks=(2,), label="told depth, indices beyond it"),
]

INDEX = np.asarray([[0, 2, 0], [1, 1, 1]])
POINTS = np.asarray([[0, 1], [2, 0], [0, 1]])
SCATTER = [
    *(
        case("ScatterElements", (3, 3), Const(INDEX), Draw((2, 3), low, high), reduction=r, label=f"{r},{low},{high}")
        for r, low, high in (("mul", 0.5, 2.0), ("mul", -2.0, 2.0), ("max", -2.0, 3.0), ("min", -2.0, 1.0))
    ),
    case("ScatterElements", X, labels(N, 2, 4, below=3), (N, 2, 4), axis=1, reduction="mul"),
    case("ScatterElements", X, labels(N, 2, 4, below=3), (N, 2, 4), axis=1, reduction="max"),
    *(case("ScatterND", (3, 2), Const(POINTS), (3,), reduction=r) for r in ("mul", "max", "min")),
    *(case("ScatterND", (5, 3), labels(N, 1, below=5), (N, 3), reduction=r) for r in ("mul", "max", "min")),
]

MOVEMENT = [
    case("Slice", (N, 6, 5), told(1, 0), told(4, MOST), told(1, 2), ranks=(3,), label="told axes"),
    case("Slice", (N, 6, 5), told(-1), told(-7), told(-2), told(-2), ranks=(3,), label="told axes, backwards"),
    case("Squeeze", (3, 1, 4, 1), told(1, -1), ranks=(2,), label="told axes"),
    case("Squeeze", (1, 3, 1, 4), told(-2), label="one of two axes told"),
    case("Split", (6, 2), told(4, 2), outputs=2, label="told"),
    case("Unsqueeze", X, told(0, 3), ranks=(5,), label="told axes"),
    case("Trilu", (N, 4, 5), one(1), label="told diagonal"),
    case("Trilu", (N, 4, 5), one(-2), upper=0, label="told diagonal below"),
    case("CumSum", X, one(-1), reverse=1, label="told axis"),
]

RANGE = [
    case("Range", Draw((), 3.0, 3.1), Const(np.asarray(1.0)), Draw((), -0.36, -0.34), ranks=(1,), label="downwards"),
]

CASES = [*COMPRESS, *UNIQUE, *REVERSE_SEQUENCE, *ONE_HOT, *SCATTER, *MOVEMENT, *RANGE]


def names(rows: list[Case]) -> list[str]:
    return [row.name for row in rows]


HALVES = [
    case("Compress", X, flags(0, 1, 1), axis=1, ranks=(3,)),
    case("ScatterElements", X, labels(N, 2, 4, below=3), (N, 2, 4), axis=1, reduction="max"),
    case("ScatterElements", X, labels(N, 2, 4, below=3), (N, 2, 4), axis=1, reduction="min"),
]


@pytest.mark.parametrize("row", HALVES, ids=names(HALVES))
def test_float16_in_onnx_runtime(row: Case) -> None:
    check_in_ort(row, dynamic=True, batch=3, dtype=np.float16, relative=1e-2)


def scattered(reduction: str, data: list, updates: list, index: list, ort: bool) -> tuple[list, list]:
    row = case("ScatterElements", (len(data),), Const(np.asarray(index)), (len(updates),), reduction=reduction)
    seed = np.arange(1.0, len(data) + 1)
    found = gradients(row, {"x0": np.asarray(data), "x2": np.asarray(updates)}, {"seed0": seed}, ort=ort)
    return found[0].tolist(), found[1].tolist()


@pytest.mark.parametrize("ort", [False, True])
def test_a_scattered_product_is_right_at_zeros(ort: bool) -> None:
    data, updates = scattered("mul", [2.0, 3.0, 5.0], [0.0, 7.0, 0.0, 0.0, 4.0], [0, 0, 1, 1, 2], ort)
    assert data == [0.0, 0.0, 12.0]
    assert updates == [14.0, 0.0, 0.0, 0.0, 15.0]


@pytest.mark.parametrize("ort", [False, True])
def test_equal_extrema_of_a_scatter_share(ort: bool) -> None:
    data, updates = scattered("max", [4.0, 3.0, 5.0], [4.0, 1.0, 6.0, 6.0, 4.0], [0, 0, 1, 1, 2], ort)
    assert data == [0.5, 0.0, 3.0]
    assert updates == [0.5, 0.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("ort", [False, True])
def test_of_equal_elements_the_first_is_the_unique_one(ort: bool) -> None:
    row = case("Unique", (4,), ranks=(1,))
    (found,) = gradients(row, {"x0": np.asarray([2.0, 1.0, 2.0, 1.0])}, {"seed0": np.asarray([3.0, 5.0])}, ort=ort)
    assert found.tolist() == [5.0, 3.0, 0.0, 0.0]
