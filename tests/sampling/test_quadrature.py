"""Nodes and weights on [0, 1]."""

from __future__ import annotations

import numpy as np
import pytest

from xgraph.sampling.quadrature import nodes

STEPS = (1, 2, 3, 4, 7, 16, 33)
EXACT = {
    "gauss_legendre": lambda steps: 2 * steps - 1,
    "riemann_left": lambda steps: 0,
    "riemann_right": lambda steps: 0,
    "riemann_middle": lambda steps: 1,
    "trapezoid": lambda steps: 1,
    "interpretdl": lambda steps: 1 if steps > 1 else 0,
}
"""Rule -> degree up to which it integrates polynomials exactly (equal weights on a symmetric grid: 1)."""


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("rule", EXACT)
def test_weights(rule: str, steps: int) -> None:
    x, w = nodes(rule, steps)  # type: ignore[arg-type]
    assert x.shape == w.shape == (steps,)
    assert x.dtype == w.dtype == np.float64
    assert w.sum() == pytest.approx(1, abs=1e-12)
    assert (w > 0).all()
    assert (x >= 0).all()
    assert (x <= 1).all()
    assert (np.diff(x) > 0).all()


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("rule", EXACT)
def test_polynomials(rule: str, steps: int) -> None:
    x, w = nodes(rule, steps)  # type: ignore[arg-type]
    degree = EXACT[rule](steps)
    for power in range(degree + 1):
        assert w @ x**power == pytest.approx(1 / (power + 1), abs=1e-10)
    assert w @ x ** (degree + 1) != pytest.approx(1 / (degree + 2), abs=1e-14) or degree > 20


def test_positions() -> None:
    expected = {
        "riemann_left": [0, 0.25, 0.5, 0.75],
        "riemann_right": [0.25, 0.5, 0.75, 1],
        "riemann_middle": [0.125, 0.375, 0.625, 0.875],
        "trapezoid": [0, 1 / 3, 2 / 3, 1],
        "interpretdl": [0, 1 / 3, 2 / 3, 1],
    }
    for rule, positions in expected.items():
        np.testing.assert_allclose(nodes(rule, 4)[0], positions, atol=1e-15)  # type: ignore[arg-type]
    np.testing.assert_allclose(nodes("trapezoid", 4)[1], [1 / 6, 1 / 3, 1 / 3, 1 / 6])
    np.testing.assert_allclose(nodes("interpretdl", 4)[1], [0.25] * 4)
    assert nodes("interpretdl", 1)[0] == [0], "InterpretDL evaluates at the baseline"


@pytest.mark.parametrize("cells", [1, 2, 5, 16])
def test_a_trapezoid_and_the_middles_of_its_cells_are_a_finer_trapezoid(cells: int) -> None:
    """What refinement relies on."""
    coarse, middle = nodes("trapezoid", cells + 1), nodes("riemann_middle", cells)
    fine = nodes("trapezoid", 2 * cells + 1)
    both = np.concatenate([coarse[0], middle[0]])
    order = np.argsort(both)
    np.testing.assert_allclose(both[order], fine[0], atol=1e-15)
    np.testing.assert_allclose((np.concatenate([coarse[1], middle[1]]) / 2)[order], fine[1], atol=1e-15)
