"""Shape inference where onnx_shape_inference knows less of an operator than can be told. Import it for its effect."""

from __future__ import annotations

import sympy
from onnx_shape_inference import _symbolic_shapes as written

# Each registers what it knows.
from xgraph.graph.inference import computed_axes, grids, microsoft, standard, tabular  # noqa: F401

# Pools with ceil_mode write sizes with it, which could not be read again.
written.ALLOWED_FUNCTIONS.setdefault("ceiling", sympy.ceiling)
