"""The compiled kernels do what the literal ones do, with the same signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from math import comb
from typing import Any

import numpy as np
import pytest

from xgraph.kernels import jit, reference

COUNTS = (0, 1, 7, 8, 9, 63, 64, 65, 200)
WIDTH = 26
SEEDS = (0, 1, 2**64 - 1, 2**64, 2**128 - 1)
EXACT, SUMS = 0.0, 1e-12
"""Sums of floats are added up in another order."""

Arguments = tuple[Any, ...]


def rng(case: str) -> np.random.Generator:
    return np.random.default_rng(list(case.encode()))


def pairs(case: str, repeats: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (rows, draws, counts), with large numbers among them."""
    random = rng(case)
    counts = np.repeat(np.array(COUNTS, np.int64), repeats)
    rows, draws = random.integers(0, 2**62, (2, len(counts)))
    rows[::2], draws[::3] = np.arange(len(rows[::2])), 0
    return rows, draws, counts


def masks(case: str, count: int = 8 * WIDTH, amount: int = 27) -> np.ndarray:
    return rng(case).integers(0, 256, (amount, -(-count // 8)), dtype=np.uint8)


def drawn(name: str) -> list[Arguments]:
    rows, draws, counts = pairs(name)
    none = np.zeros(0, np.int64)
    cases: list[Arguments] = []
    for number, seed in enumerate(SEEDS):
        stream = (0, 5, 2**32 - 1)[number % 3]
        match name:
            case "words":
                cases += [(seed, stream, rows, draws, n) for n in (0, 1, 4, 5, 67)]
                cases.append((seed, stream, none, none, 3))
            case "bernoulli":
                cases += [(seed, stream, rows, draws, counts, p, WIDTH) for p in (0.0, 0.1, 0.5, 0.9, 1.0)]
                cases.append((seed, stream, none, none, none, 0.5, 2))
            case "subsets":
                sizes = rng(f"{name}{seed}").integers(0, counts + 1)
                cases += [(seed, stream, rows, draws, counts, own, WIDTH) for own in (sizes, counts, 0 * counts)]
                cases.append((seed, stream, none, none, none, none, 0))
            case "permutations":
                cases += [(seed, stream, rows, draws, counts, longest) for longest in (200, 203)]
                cases.append((seed, stream, none, none, none, 0))
    return cases


def combined() -> list[Arguments]:
    few = [(count, size) for count in (0, 1, 7, 8, 9) for size in range(count + 1)]
    many = [(count, size) for count in (63, 64, 65, 200) for size in (0, 1, 2, 31, count // 2, count - 2, count)]
    counts, sizes = np.array(few + many, np.int64).T.copy()
    highest = [min(comb(*own), 2**63) - 1 for own in few + many]
    random = [int(rng("combinations").integers(0, high, endpoint=True)) for high in highest]
    none = np.zeros(0, np.int64)
    return [(np.array(ranks, np.int64), counts, sizes, WIDTH) for ranks in ([0] * len(counts), highest, random)] + [
        (none, none, none, 1)
    ]


def fitted() -> list[Arguments]:
    cases: list[Arguments] = []
    for count in COUNTS:
        for amount, targets in ((0, 1), (1, 1), (5, 3), (64, 1), (150, 2)):
            random = rng(f"{count} {amount}")
            weights, responses = random.random(amount), random.standard_normal((amount, targets))
            gram, moments = random.random((count + 1, count + 1)), random.random((count + 1, targets))
            cases.append((masks("fit", count + 9, amount), count, weights, responses, gram, moments))
    return cases


def painted() -> list[Arguments]:
    boxes = [
        ((5,), (3,), (2,), (11,)),
        ((4,), (3,), (3,), (10,)),
        ((3,), (2,), (4,), (13,)),
        ((1,), (20,), (1,), (7,)),
        ((0,), (2,), (1,), (4,)),
        ((6, 4), (5, 3), (1, 2), (10, 8)),
        ((1, 9, 7), (3, 4, 5), (3, 2, 3), (3, 20, 21)),
        ((3, 9, 7), (1, 16, 2), (1, 1, 3), (3, 17, 20)),
        ((2, 3, 4), (9, 9, 9), (3, 3, 3), (4, 5, 6)),
        ((2, 3, 4), (2, 2, 2), (3, 3, 9), (4, 5, 6)),
    ]
    return [(rng(str(box)).standard_normal(box[0]), *box[1:]) for box in boxes]


def gridded() -> list[Arguments]:
    cases: list[Arguments] = []
    for amount, targets in ((0, 1), (1, 1), (40, 3)):
        random = rng(f"grids {amount}")
        grids = random.integers(0, 2, (amount, 49), dtype=np.uint8)
        scores, sums = random.standard_normal((amount, targets)), random.standard_normal((targets, 12, 49))
        cases.append((grids, random.integers(0, 12, amount), scores, sums))
    return cases


def segmented() -> list[Arguments]:
    cases: list[Arguments] = []
    for channels, pixels, count in ((3, 500, 9), (1, 64, 1), (2, 0, 4), (0, 10, 2), (2, 30, 0)):
        random = rng(f"segments {pixels}")
        values = random.standard_normal((channels, pixels)).astype(np.float32)
        cases.append((values, random.integers(-1, count + 3, pixels, dtype=np.int32), count))
    return cases


_WINDOWS = (np.arange(12), np.array([1, 3, 4]), np.array([3, 5, 2]))

CASES: dict[str, tuple[float, list[Arguments]]] = {
    **{name: (EXACT, drawn(name)) for name in ("words", "bernoulli", "subsets", "permutations")},
    "combinations": (EXACT, combined()),
    "complement": (EXACT, [(masks("complement"), pairs("complement")[2]), (masks("", 8, 0), np.zeros(0, np.int64))]),
    "popcounts": (EXACT, [(masks("popcounts"), pairs("popcounts")[2]), (masks("", 8, 0), np.zeros(0, np.int64))]),
    "unpack": (EXACT, [(masks("unpack"), count) for count in COUNTS] + [(masks("", 8, 0), 8)]),
    "normal_equations": (SUMS, fitted()),
    "windows": (EXACT, [_WINDOWS, (np.zeros(0, np.int64), *_WINDOWS[1:])]),
    "paint_windows": (SUMS, painted()),
    "cover_windows": (EXACT, [(drops.shape, *rest) for drops, *rest in painted()]),
    "accumulate_grids": (SUMS, gridded()),
    "segment_sums": (EXACT, segmented()),
    "segment_sizes": (EXACT, [(labels, count) for _, labels, count in segmented()]),
}
"""Function -> its tolerance relative to the largest number, and its arguments."""


def called(function: Callable[..., Any], arguments: Arguments) -> list[np.ndarray]:
    """Returns the result, or the arrays that were added to, of a call with copies of the arguments."""
    own = [value.copy() if isinstance(value, np.ndarray) else value for value in arguments]
    result = function(*own)
    for value, given in zip(own, arguments, strict=True):
        if isinstance(value, np.ndarray) and result is not None:
            np.testing.assert_array_equal(value, given, "an input was written to")
    return own if result is None else [result]


@pytest.mark.parametrize("name", CASES)
def test_twins_agree(name: str) -> None:
    tolerance, cases = CASES[name]
    for arguments in cases:
        found, wanted = (called(getattr(module, name), arguments) for module in (jit, reference))
        for one, other in zip(found, wanted, strict=True):
            if not isinstance(other, np.ndarray):
                continue
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
            if tolerance:
                np.testing.assert_allclose(one, other, 0, tolerance * float(np.abs(other).max(initial=0)))
            else:
                np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", CASES)
def test_any_array_will_do(name: str) -> None:
    """Read-only, strided, and of other integer types."""

    def odd(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        wide = np.zeros((*value.shape, 2), np.int32 if value.dtype == np.int64 else value.dtype)
        wide[..., 0] = value
        wide.flags.writeable = False
        return wide[..., 0]

    cases = [c for c in CASES[name][1] if not any(isinstance(v, np.ndarray) and v.max(initial=0) >= 2**31 for v in c)]
    if name in ("words", "bernoulli", "subsets", "permutations"):
        cases = [(SEEDS[-1], 5, np.arange(3), np.arange(3), *small(name))]
    arguments = max(cases, key=lambda own: sum(np.size(value) for value in own))
    written = {"normal_equations": 2, "accumulate_grids": 1}.get(name, 0)
    kept = len(arguments) - written
    sums = [value.copy() for value in arguments[kept:]]
    wanted = called(getattr(reference, name), arguments)
    found = getattr(jit, name)(*(odd(value) for value in arguments[:kept]), *sums)
    for one, other in zip(sums if found is None else [found], wanted[-max(written, 1) :], strict=True):
        np.testing.assert_allclose(one, other, 0, CASES[name][0] * float(np.abs(other).max(initial=0)))


def small(name: str) -> Arguments:
    counts = np.array([5, 9, 0])
    return {
        "words": (7,),
        "bernoulli": (counts, 0.3, 2),
        "subsets": (counts, counts // 2, 2),
        "permutations": (counts, 9),
    }[name]


def test_the_list_is_complete() -> None:
    assert sorted(CASES) == sorted(jit.__all__) == sorted(reference.__all__)


@pytest.mark.parametrize("name", CASES)
def test_same_signature_and_documented(name: str) -> None:
    compiled, literal = getattr(jit, name), getattr(reference, name)
    assert inspect.signature(compiled) == inspect.signature(literal)
    assert inspect.getdoc(compiled)
    doc = inspect.getdoc(literal) or ""
    for parameter in inspect.signature(literal).parameters:
        assert f"\n    {parameter}: " in doc


FOUR, ONE = np.array([4]), np.array([1])


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("words", (2**128, 0, ONE, ONE, 1), ValueError),
        ("words", (-1, 0, ONE, ONE, 1), ValueError),
        ("bernoulli", (0, 0, ONE, ONE, np.array([9]), 0.5, 1), ValueError),
        ("subsets", (0, 0, ONE, ONE, np.array([9]), ONE, 1), ValueError),
        ("subsets", (0, 0, ONE, ONE, FOUR, np.array([5]), 1), ValueError),
        ("subsets", (0, 0, ONE, ONE, FOUR, np.array([-1]), 1), ValueError),
        ("permutations", (0, 0, ONE, ONE, FOUR, 3), ValueError),
        ("combinations", (np.array([6]), FOUR, np.array([2]), 1), ValueError),
        ("combinations", (np.array([-1]), FOUR, np.array([2]), 1), ValueError),
        ("combinations", (ONE, FOUR, np.array([0]), 1), ValueError),
        ("combinations", (ONE, FOUR, FOUR, 1), ValueError),
        ("complement", (masks("", 8, 1), np.array([9])), ValueError),
        ("popcounts", (masks("", 8, 1), np.array([-1])), ValueError),
        ("unpack", (masks("", 8, 1), 9), ValueError),
        ("normal_equations", (masks("", 8, 1), 3, np.ones(1), np.ones((1, 1)), np.ones((3, 3)), FOUR), ValueError),
        ("windows", (np.array([6]), np.array([2, 3]), np.array([1, 1])), ValueError),
        ("accumulate_grids", (masks("", 8, 1), np.array([2]), np.ones((1, 1)), np.zeros((1, 2, 1))), IndexError),
        ("accumulate_grids", (masks("", 8, 1), np.array([-1]), np.ones((1, 1)), np.zeros((1, 2, 1))), IndexError),
    ],
)
@pytest.mark.parametrize("module", [reference, jit], ids=["reference", "jit"])
def test_mistakes_are_errors_in_both(module: Any, name: str, arguments: Arguments, error: type[Exception]) -> None:
    with pytest.raises(error):
        getattr(module, name)(*arguments)


def test_the_matrix_is_symmetric_and_the_same_in_any_batches() -> None:
    count, (bits, weights, responses) = 65, (masks("fit", 65, 150), rng("w").random(150), rng("y").random((150, 2)))
    found = []
    for size in (150, 64, 7):
        gram, moments = np.zeros((count + 1, count + 1)), np.zeros((count + 1, 2))
        for start in range(0, 150, size):
            part = slice(start, start + size)
            jit.normal_equations(bits[part], count, weights[part], responses[part], gram, moments)
        np.testing.assert_array_equal(gram, gram.T)
        found.append((gram, moments))
    for gram, moments in found[1:]:
        np.testing.assert_array_equal(gram, found[0][0])
        np.testing.assert_array_equal(moments, found[0][1])
