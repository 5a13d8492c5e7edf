"""The preprocessing that Paddle's suites write next to an exported model, as fields of ``Preprocess``.

Three dialects: PaddleClas (``PreProcess.transform_ops``), PaddleDetection (``Preprocess``) and PaddleSeg
(``Deploy.transforms``); PaddleX writes the same three as ``inference.yml``. Traps that the suites agree on
only partly: a list for ``size`` is (w, h) in PaddleClas and PaddleSeg but (h, w) in PaddleDetection, and
``scale`` may be the text ``1.0/255.0``. PaddleSeg resizes float pixels, so a served value may differ by half
a grey level from the one here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from xgraph.errors import InputError
from xgraph.preprocess import read_labels

_LOG = logging.getLogger(__name__)

Fields = dict[str, Any]
Parameters = Mapping[str, Any]

_INTERPOLATION = {  # names of PaddleClas and PaddleSeg, and OpenCV's numbers
    **{
        "nearest": "nearest",
        "linear": "bilinear",
        "bilinear": "bilinear",
        "cubic": "bicubic",
        "bicubic": "bicubic",
    },
    **{"area": "area", "box": "area", "lanczos": "lanczos", "lanczos4": "lanczos"},
    **{"0": "nearest", "1": "bilinear", "2": "bicubic", "3": "area", "4": "lanczos"},
}
_RAW: Fields = {
    "scale": 1.0,
    "mean": (0.0,),
    "std": (1.0,),
}  # without a normalising transform, pixels go in as they are


def read_fields(path: Path) -> Fields:
    """Returns keyword arguments for ``Preprocess``.

    Raises:
        InputError: the file cannot be read, holds no preprocessing, or a transform that ``Preprocess`` lacks.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot read it ({error.strerror})") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    document = document if isinstance(document, Mapping) else {}
    if isinstance(section := document.get("PreProcess"), Mapping) and "transform_ops" in section:
        dialect, steps, start = _CLAS, _named(path, section["transform_ops"]), {**_RAW, "layout": "NHWC"}
    elif isinstance(section := document.get("Preprocess"), list):
        dialect, steps, start = _DETECTION, _typed(path, section), {**_RAW, "layout": "NHWC"}
    elif isinstance(section := document.get("Deploy"), Mapping):
        dialect, steps, start = (
            _SEG,
            _typed(path, section.get("transforms") or []),
            {**_RAW, "layout": "NCHW"},
        )
    else:
        raise InputError(
            f"{path}: no PreProcess.transform_ops, Preprocess or Deploy section; give size, mean and std instead"
        )
    found: Fields = {}
    for name, parameters in steps:
        if name not in dialect:
            raise _unsupported(path, name, "does not exist here")
        try:
            step = dialect[name](parameters)
        except (ValueError, TypeError, KeyError, ArithmeticError) as error:
            raise _unsupported(path, name, " ".join(str(error).split())) from error
        repeated = sorted(set(step) & set(found)) or (["size"] if "crop" in found and _resizes(step) else [])
        if repeated:
            raise _unsupported(path, name, f"sets {', '.join(repeated)} again")
        found |= step
    labels = _labels(path, document)
    return start | found | ({"labels": labels} if labels else {})


def _unsupported(path: Path, name: str, reason: str) -> InputError:
    return InputError(
        f"{path}: transform '{name}' cannot be reproduced ({reason}); preprocess the pictures yourself and give arrays"
    )


def _resizes(step: Fields) -> bool:
    return "size" in step or "resize_short" in step


def _named(path: Path, section: object) -> list[tuple[str, Parameters]]:
    """``[{Name: parameters}, ...]``, PaddleClas."""
    if not isinstance(section, list) or not all(isinstance(op, Mapping) and len(op) == 1 for op in section):
        raise InputError(
            f"{path}: transform_ops must be a list of single transforms, like '- CropImage: {{size: 224}}'"
        )
    found = [(str(name), parameters or {}) for op in section for name, parameters in op.items()]
    for name, parameters in found:
        if not isinstance(parameters, Mapping):
            raise _unsupported(path, name, f"its parameters are {parameters!r}, not a mapping")
    return found


def _typed(path: Path, section: object) -> list[tuple[str, Parameters]]:
    """``[{type: Name, parameter: ...}, ...]``, PaddleDetection and PaddleSeg."""
    if not isinstance(section, list) or not all(isinstance(op, Mapping) and "type" in op for op in section):
        raise InputError(f"{path}: transforms must be a list of entries with a 'type'")
    return [(str(op["type"]), op) for op in section]


def _interpolation(value: object, default: str = "bilinear") -> str:
    if value is None:
        return default
    try:
        return _INTERPOLATION[str(value).lower()]
    except KeyError:
        raise ValueError(f"interpolation {value!r}") from None


def _sides(value: Any) -> tuple[int, int]:
    """One number for both sides, or two numbers in the file's order."""
    first, second = (value, value) if isinstance(value, int) else value
    return int(first), int(second)


def _number(value: object) -> float:
    """A number, or the text ``a/b``; never evaluated as code."""
    numerator, _, denominator = str(value).partition("/")
    return float(numerator) / float(denominator or 1.0)


def _decode(parameters: Parameters) -> Fields:
    if parameters.get("channel_first"):
        raise ValueError("channel_first")
    mode = parameters.get("img_mode", "RGB" if parameters.get("to_rgb", True) else "BGR")
    return {"channels": str(mode)}


def _clas_resize(parameters: Parameters) -> Fields:
    backend = str(parameters.get("backend", "cv2")).lower()
    fields: Fields = {"interpolation": _interpolation(parameters.get("interpolation"))}
    if backend == "pil":
        fields["antialias"] = True
    elif backend != "cv2":
        raise ValueError(f"backend {backend!r}")
    if parameters.get("resize_short"):
        return fields | {"resize_short": int(parameters["resize_short"])}
    width, height = _sides(parameters["size"])
    return fields | {"size": (height, width)}


def _clas_crop(parameters: Parameters) -> Fields:
    width, height = _sides(parameters["size"])
    return {"crop": (height, width)}


def _clas_normalise(parameters: Parameters) -> Fields:
    if parameters.get("channel_num", 3) != 3:
        raise ValueError(f"channel_num {parameters['channel_num']}")
    scale, mean, std = (parameters.get(name) for name in ("scale", "mean", "std"))
    return {
        "scale": 1.0 / 255.0 if scale is None else _number(scale),
        "mean": tuple((0.485, 0.456, 0.406) if mean is None else mean),
        "std": tuple((0.229, 0.224, 0.225) if std is None else std),
    }


def _detection_resize(parameters: Parameters) -> Fields:
    return {
        "size": _sides(parameters["target_size"]),
        "keep_ratio": bool(parameters.get("keep_ratio", True)),
        "interpolation": _interpolation(parameters.get("interp")),
    }


def _detection_normalise(parameters: Parameters) -> Fields:
    fields: Fields = {"scale": 1.0 / 255.0 if parameters.get("is_scale", True) else 1.0}
    kind = parameters.get("norm_type", "mean_std")
    if kind == "mean_std":
        return fields | {"mean": tuple(parameters["mean"]), "std": tuple(parameters["std"])}
    if kind in (None, "none"):
        return fields | {"mean": (0.0,), "std": (1.0,)}
    raise ValueError(f"norm_type {kind!r}")


def _stride(parameters: Parameters) -> Fields:
    if (parameters.get("stride") or 0) > 0:
        raise ValueError(f"it pads to multiples of {parameters['stride']}")
    return {}


def _seg_resize(parameters: Parameters) -> Fields:
    if parameters.get("keep_ratio") or parameters.get("size_divisor"):
        raise ValueError("keep_ratio or size_divisor")
    width, height = _sides(parameters.get("target_size", (512, 512)))
    return {"size": (height, width), "interpolation": _interpolation(parameters.get("interp"))}


def _seg_normalise(parameters: Parameters) -> Fields:
    half = (0.5, 0.5, 0.5)
    return {
        "scale": 1.0 / 255.0,
        "mean": tuple(parameters.get("mean", half)),
        "std": tuple(parameters.get("std", half)),
    }


def _channels_first(parameters: Parameters) -> Fields:
    return {"layout": "NCHW"}


def _nothing(parameters: Parameters) -> Fields:
    return {}


_Dialect = Mapping[str, Callable[[Parameters], Fields]]
_CLAS: _Dialect = {
    "DecodeImage": _decode,
    "ResizeImage": _clas_resize,
    "CropImage": _clas_crop,
    "NormalizeImage": _clas_normalise,
    "ToCHWImage": _channels_first,
    "KeepKeys": _nothing,
}
_DETECTION: _Dialect = {
    "Resize": _detection_resize,
    "NormalizeImage": _detection_normalise,
    "Permute": _channels_first,
    "PadStride": _stride,
}
_SEG: _Dialect = {"Resize": _seg_resize, "Normalize": _seg_normalise}


def _labels(path: Path, document: Mapping[str, Any]) -> tuple[str, ...]:
    """Finds class names where the suites put them; a missing label file leaves the classes unnamed."""
    after = document.get("PostProcess")
    after = after if isinstance(after, Mapping) else {}
    for section in (document, after, *(entry for entry in after.values() if isinstance(entry, Mapping))):
        listed = section.get("label_list")
        if isinstance(listed, list):
            return tuple(map(str, listed))
        if "label_0" in section and "label_1" in section:  # PaddleClas ThreshOutput, a binary classifier
            return str(section["label_0"]), str(section["label_1"])
        named = section.get("class_id_map_file")
        if named and str(named) != "None":
            # The path is relative to wherever the suite was run; beside the model is where copies end up.
            for candidate in (path.parent / str(named), path.parent / Path(str(named)).name):
                if candidate.is_file():
                    return read_labels(candidate)
            _LOG.warning("%s: label file %s not found; classes are shown as numbers", path, named)
    return ()
