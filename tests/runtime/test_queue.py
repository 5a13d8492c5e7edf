"""The order in which pairs of rows and draws are run, and rows that are done early."""

from __future__ import annotations

import numpy as np

from xgraph.runtime.run import _Queue


def test_rows_in_order_in_batches_of_one_size() -> None:
    queue = _Queue(np.array([3, 0, 2]), np.arange(3))
    assert queue.waiting == 5
    rows, draws = queue.take(4)
    assert (rows.tolist(), draws.tolist()) == ([0, 0, 0, 2], [0, 1, 2, 0])
    rows, draws = queue.take(4)
    assert (rows.tolist(), draws.tolist(), queue.waiting) == ([2], [1], 0)


def test_some_rows_alone() -> None:
    queue = _Queue(np.array([2, 2, 2]), np.array([1]))
    rows, draws = queue.take(9)
    assert (rows.tolist(), draws.tolist()) == ([1, 1], [0, 1])


def test_rows_that_are_done_are_forgotten() -> None:
    queue = _Queue(np.array([5, 4, 3]), np.arange(3))
    queue.take(7)
    queue.drop([0, 1])
    assert queue.waiting == 3
    rows, draws = queue.take(2)
    assert (rows.tolist(), draws.tolist()) == ([2, 2], [0, 1])
    queue.drop([1])
    assert queue.waiting == 1
