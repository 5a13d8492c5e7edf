"""Methods: one file each, a frozen dataclass whose fields are the parameters and whose ``plan`` is the method."""

from xgraph.methods import grad_cam, gradient, input_x_gradient  # noqa: F401  each registers itself
from xgraph.methods.registry import Method, MethodInfo, create, infos

__all__ = ["Method", "MethodInfo", "create", "infos"]
