"""Every operator case that the installed onnx generates: import, forward, and gradient against differences."""

from __future__ import annotations

from fnmatch import fnmatchcase

import onnx
import pytest
from rules.operator_cases import operator_cases
from rules.operator_check import FAILURES, check
from rules.operator_exceptions import EXCEPTIONS

from xgraph.errors import XGraphError

EXPECTED = (*FAILURES, XGraphError, RuntimeWarning)
NEWEST = 28
"""The opset for which the list of exceptions is whole; older packages lack some of its cases."""


def rows() -> list:
    """Returns one parameter per case; an exception must fail."""
    found = []
    for name in operator_cases():
        reasons = [reason for pattern, reason in EXCEPTIONS.items() if fnmatchcase(name, pattern)]
        failing = [pytest.mark.xfail(reason=reason, raises=EXPECTED) for reason in reasons]
        found.append(pytest.param(name, id=name, marks=failing))
    return found


@pytest.mark.parametrize("name", rows())
def test_operator_case(name: str) -> None:
    check(operator_cases()[name])


@pytest.mark.skipif(onnx.defs.onnx_opset_version() < NEWEST, reason=f"onnx knows no opset {NEWEST}")
def test_exceptions_name_cases() -> None:
    unused = [pattern for pattern in EXCEPTIONS if not any(fnmatchcase(name, pattern) for name in operator_cases())]
    assert unused == []
