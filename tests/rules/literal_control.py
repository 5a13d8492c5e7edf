"""Scan step by step: the reference evaluator walks along the first axis and forwards only."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun

Array = np.ndarray


class Scan(OpRun):
    op_domain = ""

    def need_context(self) -> bool:
        return True

    def _run(
        self,
        *inputs: Array,
        context: dict[str, Array] | None = None,
        num_scan_inputs: int = 0,
        scan_input_axes: list[int] | None = None,
        scan_input_directions: list[int] | None = None,
        scan_output_axes: list[int] | None = None,
        scan_output_directions: list[int] | None = None,
        **_: Any,
    ) -> tuple[Array, ...]:
        count = len(inputs) - num_scan_inputs
        states, scanned = list(inputs[:count]), inputs[count:]
        axes = scan_input_axes or [0] * num_scan_inputs
        backwards = scan_input_directions or [0] * num_scan_inputs
        steps = scanned[0].shape[axes[0]]
        given: list[list[Array]] = [[] for _ in self.body.output_names[count:]]
        for t in range(steps):
            slices = [
                np.take(x, steps - 1 - t if reverse else t, axis)
                for x, axis, reverse in zip(scanned, axes, backwards, strict=True)
            ]
            feeds = {**(context or {}), **dict(zip(self.body.input_names, [*states, *slices], strict=True))}
            found = self.body.run(None, feeds)
            states = found[:count]
            for stack, value in zip(given, found[count:], strict=True):
                stack.append(value)
        axes = scan_output_axes or [0] * len(given)
        backwards = scan_output_directions or [0] * len(given)
        stacks = [
            np.stack(stack[:: -1 if reverse else 1], axis)
            for stack, axis, reverse in zip(given, axes, backwards, strict=True)
        ]
        return (*states, *stacks)
