"""How each kind of method is drawn, and what it is called in a picture.

Three kinds, as in ExplainableAI.jl: a *sensitivity* (a gradient; its sign says little about importance), an
*attribution* (signed parts of a score; zero means nothing), and a *cam* (a coarse map of amounts).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xgraph.errors import InputError, nearest
from xgraph.render.scale import Reduction, Scaling

Blend = Literal["none", "fade", "tint"]


@dataclass(frozen=True, slots=True)
class Preset:
    """One way to draw a map."""

    reduction: Reduction
    """What becomes of the channels."""
    scaling: Scaling
    """Where the range of colours lies."""
    palette: str
    """Name of the colour map."""
    blend: Blend
    """How heat goes over a picture: not at all (beside it), over faded grey, or over its own colours."""
    opacity: float = 1.0
    """The largest opacity of the heat."""
    percentile: float = 99.5
    """Which percentile ends the range."""


PRESETS: dict[str, Preset] = {
    "sensitivity": Preset("max_abs", "positive", "gray", "none"),
    "attribution": Preset("sum", "signed", "seismic", "fade", opacity=0.95),
    "cam": Preset("sum", "spread", "turbo", "tint", opacity=0.65, percentile=100.0),
}

_SENSITIVITY = ("gradient", "smooth_grad", "vargrad", "guided_backprop", "deconvnet")
_CAM = (
    *("cam", "grad_cam", "grad_cam_pp", "layer_cam", "score_cam", "rise"),
    *("rollout", "transition_attention", "generic_attention", "bidirectional_attention"),
)

_TITLES = {
    "bidirectional_attention": "Bidirectional Attention",
    "cam": "CAM",
    "deconvnet": "DeconvNet",
    "deep_lift": "DeepLIFT",
    "g_lime": "G-LIME",
    "grad_cam": "Grad-CAM",
    "grad_cam_pp": "Grad-CAM++",
    "gradient_shap": "Gradient SHAP",
    "guided_backprop": "Guided Backprop",
    "input_x_gradient": "Input × Gradient",
    "kernel_shap": "Kernel SHAP",
    "layer_cam": "Layer-CAM",
    "lime": "LIME",
    "lrp": "LRP",
    "norm_lime": "NormLIME",
    "rise": "RISE",
    "rollout": "Attention Rollout",
    "score_cam": "Score-CAM",
    "smooth_grad": "SmoothGrad",
    "vargrad": "VarGrad",
}


def kind(method: str) -> str:
    """Returns the preset's name for a method; ``attribution`` for methods that are not listed."""
    if method in _SENSITIVITY:
        return "sensitivity"
    return "cam" if method in _CAM else "attribution"


def preset(name: str) -> Preset:
    """Returns a preset by name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in PRESETS:
        raise InputError(f"preset '{name}' is not one of {', '.join(PRESETS)}{nearest(name, PRESETS)}")
    return PRESETS[name]


def title(method: str) -> str:
    """Returns a method's name for readers: ``integrated_gradients`` becomes ``Integrated Gradients``."""
    return _TITLES.get(method) or " ".join(word.capitalize() for word in method.split("_"))
