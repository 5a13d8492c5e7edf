"""Every operator of the standard has a rule, a reason or a decomposition, and every rule has a case."""

from __future__ import annotations

import onnx
from rules.rows import all_rows

from xgraph.graph.normalise.decompose import _COMPOSITE
from xgraph.graph.normalise.sequences import RESOLVED
from xgraph.rules.vjp import vjp

DEPRECATED = {"Scatter": "became ScatterElements at opset 11", "Upsample": "became Resize at opset 10"}
"""No model has them after import, because all are converted to opset 18 at least."""
OF_MODELS = {"If", "Loop", "Scan", "Optional", "OptionalGetElement", "QuantizeLinear", "DequantizeLinear"}
"""They hold graphs, or what is no tensor, or are no functions of floats alone: whole models test them, those of
test_control.py, test_sequences.py and test_quantised.py."""
OF_RUNTIME = "com.microsoft::"
"""What stands before ONNX Runtime's own operators, whose rules tests/graph/test_microsoft.py holds against formulas."""
OF_TABLES = "ai.onnx.ml::"
"""What stands before the operators of scikit-learn, which are held against it in tests/corpus."""


def standard() -> set[str]:
    return {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain}


def test_every_operator_is_answered() -> None:
    assert standard() - {*vjp.entries, *_COMPOSITE, *RESOLVED, *DEPRECATED} == set()


def test_every_rule_has_a_case() -> None:
    known = standard() | {op for op in vjp.entries if "::" in op and not op.startswith((OF_RUNTIME, OF_TABLES))}
    ruled = {op for op, entry in vjp.entries.items() if entry.rule}
    assert (ruled & known) - OF_MODELS - {row.op for row in all_rows()} == set()
