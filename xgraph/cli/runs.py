"""The runs of ``explain``: inputs in groups that fit into memory, each through all methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from xgraph.cli.sources import Source, read
from xgraph.errors import MethodError
from xgraph.model import Model
from xgraph.program import Program
from xgraph.result import Attribution
from xgraph.runtime.run import Settings
from xgraph.target import Target

_TOGETHER = 256
"""Samples held in memory at once."""


def explained(
    model: Model,
    files: Sequence[Path],
    programs: Sequence[tuple[Program, Settings]],
    target: Target,
    seed: int,
) -> Iterator[tuple[Source, list[Attribution]]]:
    """Yields inputs, each with one attribution per program.

    Samples are numbered through all inputs, so that random draws do not depend on how these are grouped.

    Args:
        model: of all programs.
        files: the inputs.
        programs: each with how it runs.
        target: what to explain; each program says of what (logit, probability or loss).
        seed: of random draws.
    """
    done = 0
    together = next((p.method.name for p, _ in programs if getattr(p.method, "together", False)), None)
    groups: Iterable[list[Source]] = _groups(model, files, _TOGETHER if together is None else None)
    if together is not None and len(groups := list(groups)) > 1:
        raise MethodError(
            f"{together} puts all samples of a run together, but the inputs differ in shape; resize pictures with "
            "--size, or explain inputs of one shape at a time"
        )
    for sources in groups:
        feeds = {name: np.concatenate([source.feeds[name] for source in sources]) for name in sources[0].feeds}
        rows = sum(source.rows for source in sources)
        part = replace(target, value=target.value[done : done + rows]) if target.kind == "per_row" else target
        attributions = [
            program.explain([replace(part, of=program.target.of)], feeds, settings, seed, done)[0]
            for program, settings in programs
        ]
        start = 0
        for source in sources:
            own = slice(start, start + source.rows)
            yield source, [attribution.rows(own) for attribution in attributions]
            start += source.rows
        done += rows


def _groups(model: Model, files: Sequence[Path], limit: int | None) -> Iterator[list[Source]]:
    """Yields inputs that go through the model together: of equal shapes, and not more than ``limit`` at once."""
    group: list[Source] = []
    for file in files:
        for source in read(model, file, _TOGETHER):
            same = not group or _shapes(source) == _shapes(group[0])
            if group and (not same or (limit and sum(one.rows for one in group) + source.rows > limit)):
                yield group
                group = []
            group.append(source)
    if group:
        yield group


def _shapes(source: Source) -> list[tuple[int, ...]]:
    return [array.shape[1:] for array in source.feeds.values()]
