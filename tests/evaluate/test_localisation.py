"""Localisation metrics on maps small enough to score by hand."""

from __future__ import annotations

import numpy as np
import pytest

from xgraph.errors import InputError
from xgraph.evaluate import inside_mass, pointing_game, ranking_auc

RELEVANCE = np.array([[[4.0, 1.0], [0.0, -3.0]], [[1.0, 2.0], [3.0, 4.0]]])
EVIDENCE = np.array([[[True, False], [False, False]], [[True, False], [False, False]]])


def test_pointing_game() -> None:
    np.testing.assert_array_equal(pointing_game(RELEVANCE, EVIDENCE), [1.0, 0.0])


def test_pointing_game_forgives_what_is_near() -> None:
    far = np.zeros((1, 9, 9))
    far[0, 4, 7] = 1.0
    evidence = np.zeros((1, 9, 9), bool)
    evidence[0, 4, 4] = True
    assert [float(pointing_game(far, evidence, near)[0]) for near in (0, 2, 3)] == [0.0, 0.0, 1.0]


def test_inside_mass_counts_what_is_positive() -> None:
    np.testing.assert_allclose(inside_mass(RELEVANCE, EVIDENCE), [0.8, 0.1])
    assert np.isnan(inside_mass(-np.ones((1, 2)), np.ones((1, 2), bool))[0])


def test_ranking_auc() -> None:
    np.testing.assert_allclose(ranking_auc(RELEVANCE, EVIDENCE), [1.0, 0.0])
    assert np.isnan(ranking_auc(RELEVANCE[:1], np.ones((1, 2, 2), bool))[0])


def test_shapes_must_agree() -> None:
    with pytest.raises(InputError, match="differ in shape"):
        pointing_game(np.zeros((1, 2)), np.zeros((1, 3), bool))
