"""Coverage: what is said about bodies, about what import took apart, and about operators that nobody knows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import xgraph
from xgraph.cli import command

BODIES = """<ir_version: 10, opset_import: ["" : 20, "com.acme" : 1]>
mixed (float[N, 4] x, bool c) => (float[N, 4] y) {
    smooth = Gelu(x)
    chosen = If (c) <
        then_branch = yes () => (float[N, 4] a) {
            a = Add(smooth, smooth)
        },
        else_branch = no () => (float[N, 4] b) {
            b = com.acme.Odd(smooth)
        }
    >
    y = Relu(chosen)
}"""


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A model with a composite operator, and in a body an operator of a vendor that nobody knows."""
    path = tmp_path / "mixed.onnx"
    onnx.save(onnx.parser.parse_model(BODIES), path)
    return path


def test_bodies_and_reasons(mixed: Path) -> None:
    rows = xgraph.coverage(xgraph.load(mixed, verify=False))
    holder = next(row.node for row in rows if row.op == "If")
    said = {row.op: row for row in rows if row.node.startswith(f"{holder}/")}
    assert list(said) == ["Add", "com.acme::Odd"]
    assert said["Add"].books["vjp"] == "rule"
    assert said["com.acme::Odd"].missing("vjp")
    assert "'com.acme'" in said["com.acme::Odd"].books["vjp"]


def test_what_was_taken_apart(mixed: Path) -> None:
    parts = [row for row in xgraph.coverage(xgraph.load(mixed, verify=False)) if row.part_of]
    assert "Erf" in {row.op for row in parts}
    assert {row.part_of.partition(" ")[0] for row in parts if row.part_of} == {"Gelu"}


def test_lines_and_json(mixed: Path) -> None:
    result = CliRunner().invoke(command, ["inspect", str(mixed), "--coverage", "--no-verify"])
    assert result.exit_code == 0
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert any(op == "Erf" and rest[-1].startswith("part of Gelu") for _, op, *rest in lines)
    assert "missing: com.acme::Odd (1)" in result.stderr
    assert "taken apart at import: Gelu (1)" in result.stderr
    document = json.loads(CliRunner().invoke(command, ["inspect", str(mixed), "--json", "--no-verify"]).stdout)
    assert [row["node"] for row in document["coverage"]] == [node for node, *_ in lines]
    assert {row["op"] for row in document["coverage"] if row["part_of"]} >= {"Erf", "Mul"}


def test_parts_survive_a_bundle(mixed: Path, tmp_path: Path) -> None:
    proto = onnx.load(mixed)
    del proto.graph.node[1:]
    proto.graph.node.append(onnx.helper.make_node("Relu", ["smooth"], ["y"]))
    onnx.save(proto, mixed)
    done = CliRunner().invoke(command, ["compile", str(mixed), "-o", str(tmp_path / "bundle.xgraph")])
    assert done.exit_code == 0, done.output
    rows = xgraph.coverage(xgraph.load(tmp_path / "bundle.xgraph"))
    assert "Erf" in {row.op for row in rows if row.part_of}
    assert np.all([not row.missing("vjp") for row in rows])
