"""Methods: one file each, a frozen dataclass whose fields are the parameters and whose ``plan`` is the method."""

from xgraph.methods import (  # noqa: F401  each registers itself
    cam,
    feature_ablation,
    g_lime,
    grad_cam,
    grad_cam_plus_plus,
    gradient,
    gradient_shap,
    input_x_gradient,
    integrated_gradients,
    kernel_shap,
    layer_cam,
    lime,
    norm_lime,
    occlusion,
    recipro_cam,
    rise,
    score_cam,
    shapley_sampling,
    smooth_grad,
)
from xgraph.methods.registry import Method, MethodInfo, create, infos, objective, told_parameters

__all__ = ["Method", "MethodInfo", "create", "infos", "objective", "told_parameters"]
