"""Baselines: where a path begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xgraph.errors import MethodError
from xgraph.sampling.philox import normals, uniforms

NAMES = ("zero", "mean", "blur", "uniform", "gaussian")
RANDOM = ("uniform", "gaussian")
_BLUR = 0.1
"""Standard deviation of the blur, as a share of the shorter side."""


def baseline(
    spec: Any,
    x: np.ndarray | None,
    shape: Sequence[int],
    rows: np.ndarray,
    draws: np.ndarray,
    *,
    samples: int,
    seed: int = 0,
    part: int = 0,
    channel_axis: int = 1,
    first_row: int = 0,
) -> np.ndarray:
    """Returns float32 baselines of ``(pairs, *shape)``, or with axes of size 1 where they are constant.

    Args:
        spec: a number; ``zero``; ``mean`` (of each channel of the sample), ``blur`` (of the sample), ``uniform``
            (random between the sample's smallest and largest value), ``gaussian`` (standard normal); or an array of
            one sample or one per row.
        x: the samples, where what is perturbed is an input, else None.
        shape: of one perturbed value.
        rows: sample row of each pair.
        draws: which random baseline of the row.
        samples: how many samples there are in all.
        seed: of random ones.
        part: which of several perturbed values.
        channel_axis: of the samples, which have colours along it.
        first_row: number of row 0 among all rows that share the seed.

    Raises:
        MethodError: There is no such baseline, it needs an input, or an array does not fit.
    """
    if isinstance(spec, np.ndarray):
        return _given(spec, shape, rows, samples)
    if isinstance(spec, int | float) and not isinstance(spec, bool):
        return np.full((len(rows), *[1] * len(shape)), spec, np.float32)
    if spec == "zero":
        return np.zeros((len(rows), *[1] * len(shape)), np.float32)
    if spec == "gaussian":
        return normals("baseline", seed, first_row + rows, draws, shape, part)
    if spec not in NAMES:
        raise MethodError(f"baseline={spec!r} is not known; it is a number, an array, or one of {', '.join(NAMES)}")
    if x is None:
        raise MethodError(
            f"baseline='{spec}' is made from an input; for layers and embeddings use 'zero', a number or an array"
        )
    chosen = x[rows].astype(np.float32)
    if spec == "mean" and x.ndim < 3:
        raise MethodError(
            f"baseline='mean' is for samples with axes behind their channels, not of shape {list(x.shape[1:])}; "
            "use a number or an array"
        )
    if spec == "mean":
        over = tuple(axis for axis in range(1, chosen.ndim) if axis != channel_axis)
        return np.asarray(chosen.mean(axis=over, keepdims=True))
    if spec == "blur":
        return _blurred(x.astype(np.float32), rows, channel_axis)
    axes = tuple(range(1, chosen.ndim))
    low, high = chosen.min(axis=axes, keepdims=True), chosen.max(axis=axes, keepdims=True)
    return np.asarray(low + (high - low) * uniforms("baseline", seed, first_row + rows, draws, shape, part))


def specs_of(given: Any) -> tuple[Any, ...]:
    """Returns the baselines of a tuple or list, or the only one.

    Raises:
        MethodError: The tuple is empty.
    """
    specs = tuple(given) if isinstance(given, tuple | list) else (given,)
    if not specs:
        raise MethodError("baseline=() names no baseline; give at least one, or leave it out for zero")
    return specs


def described(spec: Any) -> str:
    """Returns how a message names a baseline, in one line."""
    return f"an array of shape {list(spec.shape)}" if isinstance(spec, np.ndarray) else repr(spec)


def misfit(array: np.ndarray, shape: Sequence[int | str | None], samples: int | None = None) -> MethodError:
    """Returns the error for an array that is no baseline of samples of ``shape``."""
    count = f"{samples} " if samples else ""
    return MethodError(
        f"a baseline of shape {list(array.shape)} does not fit {count}samples of shape {list(shape)}; give an array of "
        "one sample, or one per row"
    )


def _given(array: np.ndarray, shape: Sequence[int], rows: np.ndarray, samples: int) -> np.ndarray:
    if array.shape == tuple(shape) or array.shape == (1, *shape):
        return np.broadcast_to(array.astype(np.float32), (len(rows), *shape))
    if array.shape == (samples, *shape):
        return np.asarray(array[rows], np.float32)
    raise misfit(array, shape, samples)


def _blurred(x: np.ndarray, rows: np.ndarray, channel_axis: int) -> np.ndarray:
    from skimage.filters import gaussian

    if x.ndim != 4:
        raise MethodError(f"baseline='blur' is for images (N, C, H, W), not for samples of shape {list(x.shape[1:])}")
    sigma = _BLUR * min(size for axis, size in enumerate(x.shape) if axis not in (0, channel_axis))
    blurred = np.empty((len(rows), *x.shape[1:]), np.float32)
    for row in np.unique(rows):
        blurred[rows == row] = gaussian(x[row], sigma=sigma, channel_axis=channel_axis - 1, mode="nearest")
    return blurred
