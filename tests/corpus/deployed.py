"""Files as ONNX Runtime's own tools leave them, made from the models that come with the package."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

import xgraph
from xgraph.inputs import prepare

DATA = Path(xgraph.__file__).parent / "data"
ROWS = 4


class Calibration(CalibrationDataReader):
    """What the quantiser finds the ranges of activations with."""

    def __init__(self, name: str) -> None:
        samples = samples_of(name)
        # With more contrast, for the margin that a real calibration set has: what is clipped has no gradient.
        stronger = {key: array * 1.25 if array.dtype.kind == "f" else array for key, array in samples.items()}
        self._feeds = iter([dict(samples), {key: a.astype(samples[key].dtype) for key, a in stronger.items()}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def source(name: str) -> Path:
    """Returns a model that comes with the package."""
    return DATA / name / f"{name}.onnx"


@cache
def samples_of(name: str) -> Mapping[str, np.ndarray]:
    """Returns real inputs for one of these models."""
    if name == "reviews_bert":
        arrays = np.load(DATA / "reviews" / "samples.npz")
        return {"ids": arrays["ids"][:ROWS], "mask": arrays["mask"][:ROWS]}
    pictures = sorted((DATA / "shapes").glob("*.png"))[:ROWS]
    return prepare(xgraph.load(source(name), verify=False), pictures)


@cache
def target_of(name: str) -> list[int]:
    """Returns what one of these models takes its samples for."""
    session = onnxruntime.InferenceSession(str(source(name)), providers=["CPUExecutionProvider"])
    return [int(row) for row in session.run(None, dict(samples_of(name)))[0].argmax(1)]


def optimised(path: Path, level: str, folder: Path) -> Path:
    """Returns what a session writes to ``optimized_model_filepath``."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level.upper()}")
    written = folder / f"{path.stem}.{level}.onnx"
    options.optimized_model_filepath = str(written)
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return written


def quantised(path: Path, name: str, folder: Path, *, form: str, per_channel: bool = False) -> Path:
    """Returns what the quantiser writes: ``form`` is QDQ, QOperator, dynamic, or 16 bits (in com.microsoft's QDQ).

    Transformers are quantised in front of products only, as usual: 8 bits cannot hold a mask of -10000 or a residual
    stream.
    """
    written = folder / f"{path.stem}.{form}{int(per_channel)}.onnx"
    if form == "dynamic":
        quantize_dynamic(path, written, per_channel=per_channel)
        return written
    wide = {"activation_type": QuantType.QInt16, "weight_type": QuantType.QInt16} if form == "16 bits" else {}
    products = None if name == "shapes_cnn" else ["Conv", "Gemm", "MatMul"]
    quantize_static(
        path,
        written,
        Calibration(name),
        quant_format=QuantFormat.QDQ if wide else QuantFormat[form],
        per_channel=per_channel,
        op_types_to_quantize=products,
        extra_options={"UseQDQContribOps": bool(wide)},
        **wide,
    )
    return written
