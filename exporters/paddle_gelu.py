"""Repairs GELU in its tanh form, which the converter silently writes in its erf form.

The converter emits ``0.5 x (1 + Erf(x / sqrt 2))`` whatever the program says. Where the program says
``approximate``, the ``Erf`` of it becomes ``Tanh(x (a + b x^2))`` with ``a = sqrt(2 / pi)`` and
``b = 0.044715 a`` (Hendrycks and Gimpel, Gaussian Error Linear Units, 2016, arXiv:1606.08415). The two forms
differ by up to 5e-4: too little to be noticed in one layer, too much to be left in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from xgraph.errors import ExportError
from xgraph.exporters.paddle_nodes import constant, node, producers, replace_nodes, value_names
from xgraph.exporters.paddle_program import Program

LINEAR = math.sqrt(2 / math.pi)
CUBIC = 0.044715 * LINEAR
CHAIN = (("Mul", 0), ("Mul", 1), ("Add", 0), ("Erf", 0), ("Div", 0))
"""From a GELU's result back to its argument: the operator, and which of its inputs to follow."""


def repair_gelu(program: Program, converted: Path) -> None:
    """Rewrites the file ``converted`` in place where the program has GELUs in tanh form.

    Raises:
        ExportError: The converter emitted something else than the erf form.
    """
    approximate = [op for op in program.ops if op.kind == "gelu" and op.attributes.get("approximate")]
    if not approximate:
        return
    model = onnx.load(str(converted), load_external_data=False)
    producer, names = producers(model.graph.node), value_names(program)
    instead: dict[str, list[onnx.NodeProto]] = {}
    for op in approximate:
        chain = _chain(producer, names[op.outputs[0]])
        erf, argument = chain[-2], chain[-1]
        erf.op_type = "Tanh"
        instead[argument.output[0]] = list(_tanh_argument(argument, producer))
    replace_nodes(model, [new for old in model.graph.node for new in instead.get("".join(old.output[:1]), [old])])
    converted.write_bytes(model.SerializeToString())


def _chain(producer: Mapping[str, onnx.NodeProto], output: str) -> list[onnx.NodeProto]:
    value = output
    chain = []
    for kind, follow in CHAIN:
        made = producer.get(value)
        if made is None or made.op_type != kind:
            raise ExportError(f"GELU '{output}' has a form that was not expected from this paddle2onnx: no {kind}")
        chain.append(made)
        value = made.input[follow]
    return chain


def _tanh_argument(division: onnx.NodeProto, producer: Mapping[str, onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yields the nodes that compute ``x (a + b x^2)`` under the name that ``x / sqrt 2`` had."""
    x, result = division.input[0], division.output[0]
    dtype = numpy_helper.to_array(producer[division.input[1]].attribute[0].t).dtype
    yield constant(f"{result}.linear", np.asarray(LINEAR, dtype))
    yield constant(f"{result}.cubic", np.asarray(CUBIC, dtype))
    yield node("Mul", [x, x], [f"{result}.square"])
    yield node("Mul", [f"{result}.square", f"{result}.cubic"], [f"{result}.scaled"])
    yield node("Add", [f"{result}.scaled", f"{result}.linear"], [f"{result}.factor"])
    yield node("Mul", [x, f"{result}.factor"], [result])
