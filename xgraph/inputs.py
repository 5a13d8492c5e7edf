"""Inputs: from what a user hands over to one array per model input, or a clear error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xgraph.errors import InputError
from xgraph.graph.ports import Port
from xgraph.model import Model
from xgraph.preprocess import Preprocess, load_image


def prepare(model: Model, x: Any) -> dict[str, np.ndarray]:
    """Returns one array per input of the model, all with the same first axis.

    Args:
        model: the model.
        x: an array, a mapping input name -> array, one image path or several, or uint8 images; the last two
            need a preprocessing spec.

    Raises:
        InputError: A name, shape, dtype or value does not fit.
    """
    given = x if isinstance(x, Mapping) else {_only_input(model).name: x}
    for name in given:
        model.check_input(str(name))
    scalars = [port.name for port in model.inputs if not port.shape]
    if scalars:
        raise InputError(
            f"input '{scalars[0]}' is a single number without an axis of samples; export the model without it"
        )
    _check_sample_axes(model)
    missing = [port.name for port in model.inputs if port.name not in given]
    if missing:
        raise InputError(f"the input '{missing[0]}' is missing; the model takes {_listed(model)}")
    arrays = {port.name: _array(port, given[port.name], model) for port in model.inputs}
    rows = {name: len(array) for name, array in arrays.items()}
    if len(set(rows.values())) != 1:
        found = ", ".join(f"'{name}' has {count}" for name, count in rows.items())
        fixed = next((port.name for port in model.inputs if port.shape[0] == 1), None)
        hint = f"; the model takes one row of '{fixed}' with each sample" if fixed else ""
        raise InputError(f"the inputs differ in their number of samples (first axis): {found}{hint}")
    if next(iter(rows.values())) == 0:
        raise InputError("the input has no samples: its first axis has size 0")
    _check_named_sizes(model, arrays)
    return arrays


def pictures(model: Model, inputs: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """Returns an image input as uint8 (rows, height, width, 3): as it was before preprocessing, where that is known.

    Without a preprocessing spec, what lies between a sample's smallest and largest value becomes 0 to 255.
    """
    array, axis = inputs[name], model.check_input(name).channel_axis
    if array.dtype == np.uint8:
        last = array if axis == 3 else array.transpose(0, 2, 3, 1)
        return np.ascontiguousarray(
            np.broadcast_to(last[..., :3] if last.shape[3] >= 3 else last, (*last.shape[:3], 3))
        )
    if model.preprocess is not None:
        return model.preprocess.invert(array)
    last = (array if axis == 3 else array.transpose(0, 2, 3, 1)).astype(np.float32)
    last = last[..., :3] if last.shape[3] >= 3 else last[..., :1]
    low, high = (bound(axis=(1, 2, 3), keepdims=True) for bound in (last.min, last.max))
    scaled = (last - low) / np.where(high > low, high - low, 1) * 255
    return np.ascontiguousarray(np.broadcast_to(np.rint(scaled).astype(np.uint8), (*last.shape[:3], 3)))


def feed(model: Model, name: str, views: np.ndarray) -> np.ndarray:
    """Returns what the model is fed for uint8 pictures (rows, height, width, 3) of the size that it sees.

    Raises:
        InputError: There is no preprocessing spec.
    """
    return _spec(model.check_input(name), model, "pictures").normalise(views)


def _check_sample_axes(model: Model) -> None:
    """The first axis of every input, and of at least one output, counts samples."""
    sizes = {port.name: port.shape[0] for port in model.inputs}
    for name, size in sizes.items():
        if isinstance(size, int) and size > 1 and len(set(sizes.values())) > 1:
            other = next(n for n, s in sizes.items() if s != size)
            raise InputError(
                f"input '{name}' has a first axis of fixed size {size} and '{other}' has {sizes[other]}, but the first "
                f"axis of every input counts samples; export '{name}' as a constant or with a dynamic first axis"
            )
    named = {size for port in model.inputs for size in port.shape if isinstance(size, str)}
    firsts = {port.name: port.shape[0] for port in model.outputs if port.shape}
    wrong = [n for n, s in firsts.items() if s != model.batch and s != "batch" and (isinstance(s, int) or s in named)]
    if firsts and len(wrong) == len(model.outputs):
        first = next(iter(sizes))
        raise InputError(
            f"the first axis of output '{wrong[0]}' has size {firsts[wrong[0]]} and that of input '{first}' has "
            f"{sizes[first]}, but both should count samples; export the model with the samples on axis 0"
        )


def _only_input(model: Model) -> Port:
    if len(model.inputs) != 1:
        raise InputError(f"the model has {len(model.inputs)} inputs; give a mapping name -> array for {_listed(model)}")
    return model.inputs[0]


def _listed(model: Model) -> str:
    return ", ".join(f"'{port.name}' {list(port.shape)} {port.dtype}" for port in model.inputs)


def _array(port: Port, data: Any, model: Model) -> np.ndarray:
    if isinstance(data, str | Path) or _is_paths(data):
        paths = [data] if isinstance(data, str | Path) else data
        spec = _spec(port, model, "image files")
        data = spec([load_image(path) for path in paths])
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise InputError(f"input '{port.name}' is no array: its rows differ in length") from error
    if array.dtype == np.uint8 and port.is_float:
        array = _spec(port, model, "uint8 images")(array)
    array = _with_dtype(port, array)
    _check_shape(port, array)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))[0].tolist()
        raise InputError(f"input '{port.name}' holds {array[tuple(bad)]} at {bad}; explanations need finite inputs")
    return np.ascontiguousarray(array)


def _is_paths(data: Any) -> bool:
    return isinstance(data, Sequence) and len(data) > 0 and all(isinstance(item, str | Path) for item in data)


def _spec(port: Port, model: Model, what: str) -> Preprocess:
    if port.role != "image":
        raise InputError(f"input '{port.name}' {list(port.shape)} is not an image; give an array instead of {what}")
    if model.preprocess is None and model.preprocess_problem:
        raise InputError(model.preprocess_problem)
    if model.preprocess is None:
        raise InputError(
            f"{what} need a preprocessing spec: put the model's inference.yml beside it, or give "
            "--preprocess FILE.yml, or --size --mean --std --layout "
            "(in Python: xgraph.load(..., preprocess=xgraph.Preprocess(...)))"
        )
    return model.preprocess


def _with_dtype(port: Port, array: np.ndarray) -> np.ndarray:
    wanted = np.dtype(port.dtype)
    if array.dtype == wanted:
        return array
    # Between float widths, and between integer widths that hold the values, nothing is misunderstood.
    if array.dtype.kind == "f" and port.is_float:
        with np.errstate(over="ignore"):  # too large becomes inf, which is reported by its position
            return array.astype(wanted)
    if array.dtype.kind in "iu" and wanted.kind in "iu":
        limits = np.iinfo(wanted)
        if array.size == 0 or (array.min() >= limits.min and array.max() <= limits.max):
            return array.astype(wanted)
    hint = ""
    if array.dtype.kind in "iu" and wanted.kind in "iu":
        hint = f", which cannot hold {array.min()} to {array.max()}"
    elif array.dtype.kind in "biu" and port.is_float:
        hint = (
            "; preprocess images to float first" if port.role == "image" else f"; convert it with x.astype('{wanted}')"
        )
    elif wanted.kind in "iu":
        hint = "; token ids are integers" if port.role == "tokens" else "; give integers"
    raise InputError(f"input '{port.name}' has dtype {array.dtype}, the model takes {wanted}{hint}")


def _check_shape(port: Port, array: np.ndarray) -> None:
    want = port.shape
    if array.ndim == len(want) - 1:
        raise InputError(
            f"input '{port.name}' has the shape {list(array.shape)}, the model takes {list(want)}; "
            "the first axis counts samples: add it with x[None]"
        )
    sizes = zip(array.shape[1:], want[1:], strict=False)
    if array.ndim != len(want) or any(isinstance(w, int) and h != w for h, w in sizes):
        hint = ""
        if len(want) == 4 and array.ndim == 4 and array.shape[3] == want[1] and array.shape[1] != want[1]:
            hint = "; the channel axis seems to be last: transpose to NCHW"
        raise InputError(f"input '{port.name}' has the shape {list(array.shape)}, the model takes {list(want)}{hint}")


def _check_named_sizes(model: Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Axes of one name have one size."""
    sizes: dict[str, tuple[str, int]] = {}
    for port in model.inputs:
        for want, have in zip(port.shape[1:], arrays[port.name].shape[1:], strict=True):
            if isinstance(want, str) and sizes.setdefault(want, (port.name, have))[1] != have:
                other, size = sizes[want]
                raise InputError(f"axis '{want}' has size {size} in input '{other}' and {have} in '{port.name}'")
