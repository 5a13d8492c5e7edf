"""What bench/black_box.py times: calls of xgraph, bare forward passes, and calls of a peer, here or in a child."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Protocol, TypeAlias

import numpy as np

import xgraph
from xgraph.aim import forward
from xgraph.runtime.providers import Provider
from xgraph.runtime.session import open_session

PEERS = Path(__file__).parent / "peers"
Values: TypeAlias = Mapping[str, np.ndarray]
Measure: TypeAlias = Callable[[Values, Values], float]
"""From what a peer and xgraph found to how far they are apart."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One call."""

    seconds: float
    values: Values
    versions: Mapping[str, str] = field(default_factory=dict)


class Entry(Protocol):
    """One row of a table."""

    name: str
    measure: Measure | None
    """None: there is nothing to compare."""
    limit: float | None
    """How large the measure may be; None: it is not a distance, or is only told."""
    note: str

    def prepare(self) -> None:
        """Does once what is not timed."""

    def run(self) -> Outcome:
        """Does what is timed."""


def distance(theirs: Values, ours: Values) -> float:
    """Returns the largest difference, relative to the largest value of the peer."""
    a, b = theirs["values"], ours["values"]
    return float(np.abs(a - b).max() / np.abs(a).max())


def correlation(theirs: Values, ours: Values) -> float:
    """Returns Pearson's correlation."""
    return float(np.corrcoef(theirs["values"].ravel(), ours["values"].ravel())[0, 1])


@dataclass(slots=True)
class Ours:
    """A method of xgraph on one provider. The first call compiles and opens what it needs; it is timed apart."""

    name: str
    model: xgraph.Model
    x: Any
    target: int
    method: str
    provider: Provider
    threads: int
    of: Any
    parameters: Mapping[str, Any]
    read: Callable[[xgraph.Attribution], np.ndarray]
    measure: Measure | None = distance
    """Of a second precision or variant, from the first one."""
    limit: float | None = None
    note: str = ""
    passes: bool = True
    """Whether the method needs one forward pass per sample; not so where it recomputes parts of them."""
    first: float = 0.0
    batches: list[int] = field(default_factory=list)
    """Samples in each batch of the first call."""
    program: xgraph.Program | None = None
    another: Values = field(default_factory=dict)
    """What the first call found, with another seed than the timed ones: how far apart two draws of masks are."""

    def prepare(self) -> None:
        """Makes the first call, and takes down the batches that it runs in."""
        steps: list[tuple[int, int]] = []
        start = perf_counter()
        self.program = xgraph.compile(self.model, self.method, of=self.of, **self.parameters)
        found = self._call(lambda done, of: steps.append((done, of)), seed=1)
        self.first = perf_counter() - start
        self.another = {"values": self.read(found)}
        most = max(of for _, of in steps)
        done = [0, *(done for done, of in steps if of == most)]
        self.batches = [after - before for before, after in pairwise(done)]

    def run(self) -> Outcome:
        """Explains once."""
        start = perf_counter()
        found = self._call()
        return Outcome(perf_counter() - start, {"values": self.read(found)})

    def _call(self, progress: Any = None, seed: int = 0) -> xgraph.Attribution:
        assert self.program is not None
        return self.program(
            self.x,
            self.target,
            device=self.provider.device,
            precision=self.provider.precision,
            threads=self.threads,
            seed=seed,
            progress=progress,
        )


@dataclass(slots=True)
class Forward:
    """The forward passes of a method alone: as many batches of the same size, in a session of the same settings."""

    name: str
    ours: Ours
    x: np.ndarray
    measure: Measure | None = None
    limit: float | None = None
    note: str = ""
    session: Any = None

    def prepare(self) -> None:
        """Opens the session."""
        program, settings = self.ours.program, self.ours
        assert program is not None
        artifact = program.artifact(forward(program.model, program.target).recipe, settings.provider.profile)
        size = settings.batches[0]
        self.session = open_session(artifact, settings.provider, threads=settings.threads, batch=size)
        self.x = np.repeat(self.x, size, axis=0)
        self.session.run({"image": self.x})

    def run(self) -> Outcome:
        """Runs all batches."""
        start = perf_counter()
        for _ in self.ours.batches:
            self.session.run({"image": self.x})
        return Outcome(perf_counter() - start, {})


@dataclass(slots=True)
class Call:
    """A peer in this process."""

    name: str
    call: Callable[[], np.ndarray]
    warm: Callable[[], object]
    measure: Measure | None = distance
    limit: float | None = None
    note: str = ""

    def prepare(self) -> None:
        """Lets the peer meet its input once, with few samples."""
        self.warm()

    def run(self) -> Outcome:
        """Explains once."""
        start = perf_counter()
        found = self.call()
        return Outcome(perf_counter() - start, {"values": np.asarray(found)})


@dataclass(slots=True)
class Child:
    """A peer in its own environment, which tells the time that the explanation took."""

    name: str
    peer: str
    arguments: Sequence[str]
    read: Callable[[Values], np.ndarray]
    measure: Measure | None = distance
    limit: float | None = None
    note: str = ""
    threads: int = 1

    def prepare(self) -> None:
        """Does nothing: every run is a process of its own."""

    def run(self) -> Outcome:
        """Explains once."""
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(names, str(self.threads))}
        with TemporaryDirectory() as folder:
            out = Path(folder) / "found.npz"
            script = PEERS / f"run_{self.peer}.py"
            command = [str(python_of(self.peer)), str(script), *self.arguments, "--out", str(out)]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{self.name} failed:\n{done.stderr[-2000:]}")
            told = json.loads(done.stdout.splitlines()[-1])
            with np.load(out) as stored:
                found = dict(stored)
        return Outcome(told["seconds"], {**found, "values": self.read(found)}, told["versions"])


def python_of(peer: str) -> Path:
    """Returns the interpreter of a peer's environment, which bench/peers/setup.sh makes."""
    return PEERS / f".venv-{peer}" / "bin" / "python"
