"""Shape inference where onnx_shape_inference knows less of an operator than can be told. Import it for its effect."""

from __future__ import annotations

from xgraph.graph.inference import computed_axes, standard, tabular  # noqa: F401  each registers what it knows
