"""One child process that survives what a mutant does to it, by being started again."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("worker.py")
SECONDS = 30.0
"""For one mutant; the slowest unharmed model takes two on a busy core."""


@dataclass
class Child:
    """Use as a context manager; ``ask`` answers for every job, whatever becomes of the process."""

    _process: subprocess.Popen[bytes] | None = None
    _rest: bytes = field(default=b"")

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def ask(self, job: dict[str, Any], seconds: float = SECONDS) -> dict[str, str]:
        """Returns the child's answer, or that it ``crashed`` or was ``hanging``."""
        process = self._started()
        assert process.stdin is not None
        process.stdin.write(json.dumps(job).encode() + b"\n")
        process.stdin.flush()
        line = self._line(seconds)
        if line is None:
            self._stop()
            return {"end": "hanging", "what": f"no answer in {seconds:g} s"}
        if not line:
            code = process.wait()
            self._stop()
            return {"end": "crashed", "what": f"the process ended with {code}"}
        return dict(json.loads(line))

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if os.environ.get("XGRAPH_FUZZ_SHOW") else subprocess.DEVNULL,
                env=environment,
            )
            assert self._line(120) == b"ready", "the child does not start"
        return self._process

    def _line(self, seconds: float) -> bytes | None:
        """One line from the child; empty where it ended, None where time is up."""
        assert self._process is not None
        assert self._process.stdout is not None
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._process.stdout], [], [], seconds)
            if not ready:
                return None
            more = os.read(self._process.stdout.fileno(), 1 << 16)
            if not more:
                return b""
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
        self._process, self._rest = None, b""
