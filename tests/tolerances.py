"""How closely numbers must agree: one table for all tests, each with its reason."""

from __future__ import annotations

RULE = 1e-5
"""A rule against differences or a literal formula in float64: of the largest entry."""
IMPORT = 1e-4
"""An imported model against its source, float32 both: of the largest output."""
WHOLE_MODEL = 3.0
"""A whole model's float32 gradient: so many times the reference's own distance between float32 and float64.

No fixed number would do: where a ReLU or a pool sits at its kink, rounding flips it, and torch differs from itself
by 1e-2 on a random ResNet-50.
"""
FLOOR = 1e-6
"""Of the largest entry: what a float32 gradient may always be off, a dozen roundings of 6e-8. A reference that happens
to be nearly exact proves nothing about sums taken in another order."""
FORMULA = 1e-5
"""A formula on given maps (Grad-CAM's weighting, input x gradient): of the largest entry."""
