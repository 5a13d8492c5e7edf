"""Runs one method of DIANNA in its own environment; bench/black_box.py calls this, see setup.sh.

    .venv-dianna/bin/python run_dianna.py rise MODEL.onnx IMAGE.npy --target 5 --samples 1000 --out maps.npz

Prints one JSON document: the seconds that the explanation took (imports and the export of the model are not in it)
and versions. The map goes to ``--out``; KernelSHAP's features come with it.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import redirect_stdout
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any

import dianna
import numpy as np
from dianna.methods.kernelshap_image import KERNELSHAPImage
from dianna.utils.onnx_runner import SimpleModelRunner


def keep_session() -> None:
    """Opens the session of a runner once; as shipped it is opened for every batch."""
    import onnxruntime

    sessions: dict[str, Any] = {}

    def call(self: SimpleModelRunner, data: Any) -> Any:
        if self.filename not in sessions:
            options = onnxruntime.SessionOptions()
            options.enable_cpu_mem_arena = False
            sessions[self.filename] = onnxruntime.InferenceSession(self.filename, sess_options=options)
        session = sessions[self.filename]
        data = data if self.preprocess_function is None else self.preprocess_function(data)
        return session.run([session.get_outputs()[0].name], {session.get_inputs()[0].name: data})[0]

    SimpleModelRunner.__call__ = call


def rise(arguments: argparse.Namespace, image: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the map of the target."""
    found = dianna.explain_image(
        arguments.model,
        image,
        method="RISE",
        labels=[arguments.target],
        n_masks=arguments.samples,
        feature_res=arguments.cells,
        p_keep=arguments.p_keep,
        batch_size=arguments.batch,
    )
    return {"map": np.asarray(found[0])}


def kernel_shap(arguments: argparse.Namespace, image: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the map of the target, and the labels of the segments, from 1."""
    explainer = KERNELSHAPImage()
    found = explainer.explain(
        arguments.model,
        image,
        [arguments.target],
        nsamples=arguments.samples,
        n_segments=arguments.segments,
        compactness=10.0,
        sigma=0,
    )
    return {"map": np.asarray(found[0]), "segments": np.asarray(explainer.image_segments)}


def main() -> None:
    """Runs the method that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", choices=("rise", "kernel_shap"))
    parser.add_argument("model")
    parser.add_argument("image", type=Path, help="float32 (3, H, W), as the model takes it")
    parser.add_argument("--target", type=int, default=0)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=100, help="of RISE; DIANNA's default is 100")
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--p-keep", type=float, default=0.5)
    parser.add_argument("--segments", type=int, default=50)
    parser.add_argument("--keep-session", action="store_true")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.keep_session:
        keep_session()
    np.random.seed(0)  # noqa: NPY002 - DIANNA draws from the global state
    image = np.load(arguments.image)
    with redirect_stdout(sys.stderr):
        start = perf_counter()
        found = {"rise": rise, "kernel_shap": kernel_shap}[arguments.method](arguments, image)
        seconds = perf_counter() - start
    if arguments.out:
        np.savez(arguments.out, **found)
    versions = {name: metadata.version(name) for name in ("dianna", "onnxruntime", "shap", "numpy")}
    print(json.dumps({"seconds": seconds, "versions": versions}))


if __name__ == "__main__":
    main()
