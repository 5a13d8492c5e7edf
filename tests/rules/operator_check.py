"""Our gradient of an operator case against central differences of its own model in the reference evaluator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from zlib import crc32

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator
from rules.literal_cases import LITERAL_CASES
from rules.operator_cases import OperatorCase, twins

from xgraph.errors import ShapeUnknownError, UnsupportedOpError
from xgraph.graph.emit import Emit
from xgraph.graph.lower import lower
from xgraph.graph.normalise import normalise
from xgraph.graph.walk import pull
from xgraph.rules.vjp import vjp

Feeds = Mapping[str, Any]

SHIFT = 1e-2
"""How far inputs are moved from where the case has them, off ties and kinks."""
STEP = 1e-6
RELATIVE = 1e-5
ROUNDING = 1e-9
"""What rounding leaves of a central difference, relative to what is differenced."""
ALIKE = 1e-3
"""How much two one-sided differences may differ where there is a derivative."""
DIRECTIONS = 2
TRIES = 8
FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What the reference evaluator raises where it lacks an operator, or a type or an attribute of one."""


class KinkError(Exception):
    """The outputs have no derivative here."""


def check(case: OperatorCase) -> None:
    """Fails unless the imported case computes what is expected of it, and its gradient is the central difference."""
    oracle = Oracle(case)
    imported = Imported(case)
    for at in oracle.points(list(imported.grads)):
        try:
            compare(oracle, imported, at)
        except KinkError:
            continue
        return
    raise AssertionError("the outputs have no derivative at any of the points that were tried")


def compare(oracle: Oracle, imported: Imported, at: Feeds) -> None:
    """Compares the gradients at one point with differences along random directions."""
    seeds = oracle.seeds(at)
    grads = imported.gradients(at, seeds)
    rng = np.random.default_rng(11)
    for name, grad in grads.items():
        x = at[name]
        if grad is None and name in oracle.case.fixed:
            continue
        grad = np.zeros_like(x) if grad is None else grad
        assert grad.shape == x.shape, f"the gradient of {name} has the shape {grad.shape}, not {x.shape}"
        for _ in range(DIRECTIONS):
            direction = rng.standard_normal(x.shape)
            expected, rounding = oracle.difference(at, seeds, name, direction)
            actual = float(np.sum(grad * direction))
            scale = max(abs(actual), abs(expected), 1e-2 * float(np.linalg.norm(grad) * np.linalg.norm(direction)))
            assert abs(actual - expected) <= RELATIVE * scale + rounding, f"{name}: {actual} is not {expected}"


class Oracle:
    """The case's own model in the reference evaluator."""

    def __init__(self, case: OperatorCase) -> None:
        self.case = case
        models = (twin.model for twin in twins(case))
        self.evaluator = faithful(case, ((model, ops) for model in models for ops in (LITERAL_CASES, ())))

    def run(self, feeds: Feeds) -> dict[str, np.ndarray]:
        """Returns the explained outputs."""
        found = dict(zip(self.evaluator.output_names, run(self.evaluator, feeds), strict=True))
        return {name: found[name] for name in self.case.explained}

    def points(self, wrt: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yields where to look: inputs moved, first where that leaves the outputs finite and of their shape."""
        expected = self.expected()
        for regular in (True, False):
            for feeds in self._candidates(wrt):
                try:
                    found = self.run(feeds)
                except FAILURES:
                    continue
                pairs = [(y, found[name]) for name, y in expected.items()]
                alike = all(np.shape(y) == np.shape(have) for y, have in pairs)
                if not regular or (alike and all(np.isfinite(have).all() for _, have in pairs)):
                    yield feeds

    def expected(self) -> dict[str, np.ndarray]:
        """Returns what the case expects of the explained outputs."""
        names = (info.name for info in self.case.model.graph.output)
        return {name: y for name, y in zip(names, self.case.expected, strict=True) if name in self.case.explained}

    def _candidates(self, wrt: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yields the inputs moved either way, without infinities, all up, all down, and as they are."""
        rng = np.random.default_rng(crc32(self.case.name.encode()))
        feeds = dict(self.case.feeds)
        regular = {name: np.where(np.isfinite(feeds[name]), feeds[name], 0.5) for name in wrt}
        differentiable = [name for name in wrt if name not in self.case.fixed]
        for names in (wrt, differentiable):
            for start, low, high in [
                *[(feeds, -1.0, 1.0)] * TRIES,
                *[(regular, -1.0, 1.0)] * TRIES,
                (feeds, 0.5, 1.0),
                (feeds, -1.0, -0.5),
            ]:
                steps = {name: SHIFT * rng.uniform(low, high, np.shape(feeds[name])) for name in names}
                yield {**feeds, **{name: start[name] + step for name, step in steps.items()}}
        yield feeds

    def seeds(self, at: Feeds) -> dict[str, np.ndarray]:
        """Returns a random cotangent per explained output, 0 where that is not finite."""
        rng = np.random.default_rng(7)
        return {name: np.where(np.isfinite(y), rng.standard_normal(np.shape(y)), 0) for name, y in self.run(at).items()}

    def difference(self, at: Feeds, seeds: Feeds, name: str, direction: np.ndarray) -> tuple[float, float]:
        """Returns the central difference of ``<seeds, outputs>`` along a direction of an input, and its rounding.

        Raises:
            KinkError: The differences to either side are not alike.
        """
        values, size = [], 1.0
        for step in (-STEP, 0, STEP):
            found = self.run({**at, name: at[name] + step * direction})
            if any(np.shape(found[output]) != seed.shape for output, seed in seeds.items()):
                raise KinkError
            terms = [seed * np.where(seed == 0, 0, found[output]) for output, seed in seeds.items()]
            values.append(sum(float(np.sum(term)) for term in terms))
            size = max(size, sum(float(np.sum(np.abs(term))) for term in terms))
        before, after = np.diff(values) / STEP
        if not abs(after - before) <= ALIKE * max(abs(before), abs(after), 1.0) + ROUNDING * size:
            raise KinkError
        return float(before + after) / 2, ROUNDING * size


class Imported:
    """The case imported, with a gradient graph that is lowered.

    Integers and what the standard calls not differentiable come in as the case has them; where a rule needs to know
    them, they are weights, as exporters write them.
    """

    def __init__(self, case: OperatorCase) -> None:
        self.case = case
        integers = {name: x for name, x in case.feeds.items() if name not in case.wrt and isinstance(x, np.ndarray)}
        fixed = {name: case.feeds[name] for name in case.wrt if name in case.fixed}
        try:
            self._derive(case.wrt, {})
        except (UnsupportedOpError, ShapeUnknownError):
            try:
                self._derive(case.wrt, integers)
            except (UnsupportedOpError, ShapeUnknownError):
                if not fixed:
                    raise
                self._derive([name for name in case.wrt if name not in fixed], {**integers, **fixed})

    def _derive(self, wrt: Sequence[str], constants: Feeds) -> None:
        model = normalise(ir.from_proto(_with_constants(self.case.model, constants)))
        graph = model.graph
        inputs = {value.name: value for value in graph.inputs}
        outputs = list(graph.outputs)
        b = Emit(model)
        nodes = list(graph)
        seeds = {
            y: ir.Value(name=f"seed/{y.name}", shape=y.shape, type=y.type)
            for y in outputs
            if y.name in self.case.explained
        }
        graph.inputs.extend(seeds.values())
        grads = pull(b, nodes, vjp.lookup, seeds, [inputs[name] for name in wrt])
        self.grads = {name: None if grad is None else b.Identity(grad) for name, grad in zip(wrt, grads, strict=True)}
        graph.outputs.extend(value for value in self.grads.values() if value is not None)
        lower(model, "portable")
        proto = ir.to_proto(model)
        self.evaluator = faithful(self.case, ((proto, ops) for ops in (LITERAL_CASES, ())))

    def gradients(self, at: Feeds, seeds: Feeds) -> dict[str, np.ndarray | None]:
        """Returns the gradients, None where nothing flows."""
        feeds = {**at, **{f"seed/{name}": seed for name, seed in seeds.items()}}
        found = dict(zip(self.evaluator.output_names, run(self.evaluator, feeds), strict=True))
        return {name: None if grad is None else found[grad.name] for name, grad in self.grads.items()}


def _with_constants(model: onnx.ModelProto, constants: Feeds) -> onnx.ModelProto:
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    # Before 4, a weight had to be an input too.
    copy.ir_version = max(copy.ir_version, 4)
    kept = [info for info in copy.graph.input if info.name not in constants]
    del copy.graph.input[:]
    copy.graph.input.extend(kept)
    copy.graph.initializer.extend(onnx.numpy_helper.from_array(x, name) for name, x in constants.items())
    return copy


def faithful(case: OperatorCase, candidates: Iterator[tuple[onnx.ModelProto, Sequence[type]]]) -> ReferenceEvaluator:
    """Returns the first evaluator of ``candidates`` (model, literal operators) that computes what the case expects."""
    seeds = {f"seed/{info.name}": y for info, y in zip(case.model.graph.output, case.expected, strict=True)}
    problems = []
    for model, ops in candidates:
        try:
            evaluator = ReferenceEvaluator(model, new_ops=list(ops))
            _compare(case, run(evaluator, {**case.feeds, **seeds}))
        except FAILURES as error:
            problems.append(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        else:
            return evaluator
    raise AssertionError("not what the case expects: " + "; ".join(dict.fromkeys(problems)))


def run(evaluator: ReferenceEvaluator, feeds: Feeds) -> list[Any]:
    """Runs a model on those feeds that it has as inputs."""
    with np.errstate(all="ignore"):
        return evaluator.run(None, {name: feeds[name] for name in evaluator.input_names})


def _compare(case: OperatorCase, found: Sequence[Any]) -> None:
    for want, have in zip(case.expected, found, strict=False):
        if not isinstance(want, np.ndarray) or want.dtype.kind not in "fiub":
            continue
        have = np.asarray(have)
        assert have.shape == want.shape, f"{have.shape}, not {want.shape}"
        if want.dtype.kind == "f":
            scale = np.max(np.abs(want), initial=0, where=np.isfinite(want))
            np.testing.assert_allclose(have, want, rtol=case.precision, atol=case.precision * scale)
        else:
            # Rounding a double to a narrow integer may end one step beside rounding a float.
            step = 1 if want.dtype.itemsize == 1 and want.dtype.kind in "iu" else 0
            np.testing.assert_allclose(have.astype(np.int64), want.astype(np.int64), rtol=0, atol=step)
