"""Shape inference where onnx_shape_inference knows less of an operator than can be told. Import it for its effect."""

from __future__ import annotations

import sympy
from onnx_shape_inference import _symbolic_shapes as written

from xgraph.graph.inference import computed_axes, microsoft, standard, tabular  # noqa: F401  each registers what it knows

# Pools with ceil_mode write sizes with it, which could not be read again.
written.ALLOWED_FUNCTIONS.setdefault("ceiling", sympy.ceiling)
