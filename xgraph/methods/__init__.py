"""Methods: one file each, a frozen dataclass whose fields are the parameters and whose ``plan`` is the method."""

from xgraph.methods import (  # noqa: F401  each registers itself
    cam,
    grad_cam,
    grad_cam_plus_plus,
    gradient,
    gradient_shap,
    input_x_gradient,
    integrated_gradients,
    layer_cam,
    smooth_grad,
)
from xgraph.methods.registry import Method, MethodInfo, create, infos, objective

__all__ = ["Method", "MethodInfo", "create", "infos", "objective"]
