"""Draws the README's picture: one picture, explained in six ways.

python bench/gallery.py [OUT]
"""

from __future__ import annotations

import sys
from importlib.resources import as_file, files

import xgraph
from xgraph.preprocess import load_image
from xgraph.render import gallery, save_png

METHODS = ("gradient", "smooth_grad", "integrated_gradients", "grad_cam", "grad_cam_plus_plus", "layer_cam")


def main(out: str = "bench/gallery.png") -> None:
    """Writes the picture."""
    with as_file(files("xgraph") / "data") as data:
        model = xgraph.load(data / "shapes_cnn" / "shapes_cnn.onnx")
        path = data / "shapes" / "star.png"
        assert model.preprocess is not None, "the demo model comes with its preprocessing"
        view = model.preprocess.view(load_image(path))
        found = [xgraph.explain(model, [path], method) for method in METHODS]
    print(save_png(gallery(found, image=view), out))


if __name__ == "__main__":
    main(*sys.argv[1:])
