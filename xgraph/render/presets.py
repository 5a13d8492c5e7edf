"""How each kind of method is drawn, and what a method is called in a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xgraph.errors import InputError, nearest
from xgraph.render.scale import Reduction, Scaling
from xgraph.result import Kind

Blend = Literal["none", "fade", "grey", "tint"]


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
    """How heat goes over a picture: not at all (beside it), over light grey, over grey, or over its own colours."""
    opacity: float = 1.0
    """The largest opacity of the heat."""
    percentile: float = 99.5
    """Which percentile ends the range."""


PRESETS: dict[Kind, Preset] = {
    "sensitivity": Preset("max_abs", "positive", "gray", "none"),
    "attribution": Preset("sum", "signed", "seismic", "fade", opacity=0.95),
    "cam": Preset("sum", "spread", "inferno", "grey", opacity=0.75, percentile=100.0),
}
"""By the kind of an attribution."""

_WORDS = {"cam": "CAM", "lime": "LIME", "lrp": "LRP", "rise": "RISE", "shap": "SHAP", "x": "×"}
_TITLES = {
    "deconvnet": "DeconvNet",
    "deep_lift": "DeepLIFT",
    "g_lime": "G-LIME",
    "grad_cam": "Grad-CAM",
    "grad_cam_plus_plus": "Grad-CAM++",
    "layer_cam": "LayerCAM",
    "norm_lime": "NormLIME",
    "recipro_cam": "Recipro-CAM",
    "score_cam": "Score-CAM",
    "smooth_grad": "SmoothGrad",
}
"""Names that their papers write in a way of their own."""


def preset(name: str) -> Preset:
    """Returns a preset by name.

    Raises:
        InputError: there is none of that name.
    """
    for kind, found in PRESETS.items():
        if kind == name:
            return found
    raise InputError(f"preset '{name}' is not one of {', '.join(PRESETS)}{nearest(name, list(PRESETS))}")


def title(method: str) -> str:
    """Returns a method's name for readers: ``integrated_gradients`` becomes ``Integrated Gradients``."""
    return _TITLES.get(method) or " ".join(_WORDS.get(word) or word.capitalize() for word in method.split("_"))
