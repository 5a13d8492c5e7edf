"""The rows of most modules: central differences in float64, and ONNX Runtime in float32."""

from __future__ import annotations

import numpy as np
import pytest
from rules.harness import Case, check_directional, check_in_ort, derive
from rules.rows import rows_of

ROWS = rows_of("rows_parameters", "rows_signal", "test_algebra", "test_geometry", "test_indexing")


def names(rows: list[Case]) -> list[str]:
    return [row.name for row in rows]


@pytest.mark.parametrize("row", ROWS, ids=names(ROWS))
def test_gradient_is_the_central_difference(row: Case) -> None:
    check_directional(derive(row, np.float64, dynamic=False), 2)


DYNAMIC = [row for row in ROWS if row.dynamic]


@pytest.mark.parametrize("row", DYNAMIC, ids=names(DYNAMIC))
def test_gradient_with_a_named_batch(row: Case) -> None:
    gradient = derive(row, np.float64, dynamic=True)
    for batch in (1, 3):
        check_directional(gradient, batch)


IN_ORT = [row for row in ROWS if row.ort]


@pytest.mark.parametrize("row", IN_ORT, ids=names(IN_ORT))
def test_float32_in_onnx_runtime(row: Case) -> None:
    check_in_ort(row, dynamic=row.dynamic, batch=3 if row.dynamic else 2)
