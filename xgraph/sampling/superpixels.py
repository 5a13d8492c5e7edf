"""Label maps: which pixels, or tokens, are switched on and off together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from xgraph.errors import InputError, MethodError, nearest

FEATURES_AT_MOST = 100_000
"""Features of a label map that is given: a surrogate has a coefficient for each."""
_LARGEST = 10**6
"""Of every option: beyond it, integers overflow in compiled code."""


@dataclass(frozen=True, slots=True)
class _Option:
    """A number in a spec: its default, and what it must be."""

    default: float
    """0 stands for a default that the picture decides."""
    kind: type = float
    least: float = 0.0
    above: bool = False
    """The number must be larger than ``least``."""

    def read(self, spec: str, name: str, text: str) -> float:
        try:
            number: float = self.kind(text)
        except ValueError:
            number = np.nan
        fits = number > self.least if self.above else number >= self.least
        if not fits or number > _LARGEST:
            what = "a whole number" if self.kind is int else "a number"
            raise MethodError(
                f"segments='{spec}': {name}={text} should be {what} {'above' if self.above else 'from'} {self.least:g}"
                f"{' and at most' if self.above else ' to'} {_LARGEST}"
            )
        return number


_OPTIONS: Mapping[str, Mapping[str, _Option]] = MappingProxyType(
    {
        "quickshift": {
            "kernel_size": _Option(4.0, least=1.0),
            "max_dist": _Option(200.0, above=True),
            "ratio": _Option(0.2),
            "sigma": _Option(0.0),
            "seed": _Option(42, int),
        },
        "slic": {
            "n_segments": _Option(50, int, least=2),
            "compactness": _Option(10.0, above=True),
            "sigma": _Option(1.0),
            "max_num_iter": _Option(10, int, least=1),
        },
        "felzenszwalb": {
            "scale": _Option(100.0, above=True),
            "sigma": _Option(0.5),
            "min_size": _Option(0, int, least=1),
        },
        "grid": {},
        "interpretdl": {},
    }
)
"""Algorithm -> its options. Those of quickshift are how the package ``lime`` calls it."""
_GRID = (7, 7)


def superpixels(picture: np.ndarray, spec: str) -> np.ndarray:
    """Returns the label map of a picture: which superpixel each pixel belongs to.

    * ``quickshift``: mode seeking in colour and space (Vedaldi and Soatto, "Quick Shift and Kernel Methods for Mode
      Seeking", ECCV 2008, doi:10.1007/978-3-540-88693-8_52), with the options that the package ``lime`` uses.
    * ``slic``: k-means in colour and space (Achanta et al., "SLIC Superpixels Compared to State-of-the-Art Superpixel
      Methods", PAMI 2012, doi:10.1109/TPAMI.2012.120).
    * ``felzenszwalb``: minimum spanning trees (Felzenszwalb and Huttenlocher, "Efficient Graph-Based Image
      Segmentation", IJCV 2004, doi:10.1023/B:VISI.0000022288.19776.77); segments have at least a 200th of the picture.
    * ``grid``: rectangles, ``grid:7x7`` is rows x columns. Sides differ by one pixel at most.
    * ``interpretdl``: quickshift with the options of InterpretDL 0.8.0 (``sigma=1``, scikit-image's defaults).

    Args:
        picture: uint8 (H, W, 3), RGB.
        spec: the algorithm, and options behind a colon: ``"slic:n_segments=60,compactness=10"``.

    Returns:
        int32 (H, W), labels 0 .. K - 1 without gaps, K > 1. The same picture has the same labels every time.

    Raises:
        MethodError: There is no such algorithm or option, or a value that it cannot have.
        InputError: It is no such picture, or the algorithm finds fewer than two segments in it.
    """
    name, options = _parse(spec)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size < 6:
        raise InputError(
            "superpixels are made of a uint8 picture of shape (H, W, 3) with two pixels or more, not of "
            f"{picture.dtype} {list(picture.shape)}"
        )
    height, width = picture.shape[:2]
    if name == "grid":
        rows, columns = options["rows"], options["columns"]
        if rows > height or columns > width:
            raise InputError(
                f"segments='{spec}' has more cells than the picture of {height} x {width} pixels; use at most "
                f"'grid:{height}x{width}'"
            )
        return np.asarray(_cells(height, rows)[:, None] * columns + _cells(width, columns), np.int32)
    labels, inverse = np.unique(_segmented(picture, name, options), return_inverse=True)
    if len(labels) < 2:
        instead = "'grid'" if name == "slic" else "'grid' or 'slic'"
        raise InputError(
            f"segments='{spec}' finds {len(labels)} segment in the picture of {height} x {width} pixels, and at least "
            f"2 are needed; use {instead}"
        )
    return inverse.reshape(height, width).astype(np.int32)


def check_spec(spec: str) -> None:
    """Checks what can be known of a spec without a picture.

    Raises:
        MethodError: There is no such algorithm or option, or a value that it cannot have.
    """
    _parse(spec)


def check_segments(given: Any, shape: tuple[int, ...], rows: int) -> np.ndarray:
    """Returns a label map that a user gives, one per row.

    Numbers are kept as they are, gaps included.

    Args:
        given: whole numbers of ``shape``, for all rows, or of ``(rows, *shape)``. A negative one is an entry that is
            never switched off.
        shape: (H, W) of a picture, or (T,) of a text.
        rows: how many samples there are.

    Returns:
        int32 (rows, *shape), -1 for entries that are never switched off; read-only where all rows share one map.

    Raises:
        InputError: Another shape, values that are no whole numbers, a row in which all are negative, or more than
            ``FEATURES_AT_MOST`` features.
    """
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise InputError("segments: rows of different lengths; give an array, padded with -1") from error
    fitting = (tuple(shape), (1, *shape), (rows, *shape))
    if array.shape not in fitting:
        raise InputError(
            f"segments of shape {list(array.shape)} do not fit {rows} samples of shape {list(shape)}; give one label "
            "map of that shape, or one per sample"
        )
    whole = array.dtype.kind in "biu" or (
        array.dtype.kind == "f" and bool(np.all(np.isfinite(array) & (np.rint(array) == array)))
    )
    if not whole:
        raise InputError(f"segments of dtype {array.dtype} are not whole numbers; number the segments 0, 1, 2 ...")
    if array.dtype.kind in "bu":
        array = np.minimum(array, np.uint64(FEATURES_AT_MOST)).astype(np.int64)
    array = array.reshape(-1, *shape)
    largest = array.max(axis=tuple(range(1, array.ndim)), initial=-1)
    empty = np.flatnonzero(largest < 0)
    if len(empty):
        raise InputError(
            f"segments of row {empty[0]} are all negative: nothing can be switched off; number some from 0"
        )
    if largest.max(initial=-1) >= FEATURES_AT_MOST:
        raise InputError(
            f"segments have numbers from {FEATURES_AT_MOST} on; number them 0, 1, 2 ..., {FEATURES_AT_MOST} at most"
        )
    labels = np.where(array < 0, -1, array).astype(np.int32)
    return labels if len(labels) == rows else np.broadcast_to(labels, (rows, *shape))


def _parse(spec: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(spec, str):
        raise MethodError(f"segments={spec!r} is no text; name one of {', '.join(_OPTIONS)}")
    name, colon, text = spec.partition(":")
    if name not in _OPTIONS:
        raise MethodError(f"segments='{spec}' is not one of {', '.join(_OPTIONS)}{nearest(name, _OPTIONS)}")
    known = _OPTIONS[name]
    options: dict[str, Any] = {key: option.default for key, option in known.items()}
    if name == "grid":
        return name, _grid(spec, text) if colon else {"rows": _GRID[0], "columns": _GRID[1]}
    for entry in text.split(",") if colon else ():
        key, equals, value = (part.strip() for part in entry.partition("="))
        if key not in known or not equals:
            offers = f"has the options {', '.join(known)}" if known else "has no options"
            raise MethodError(f"segments='{spec}': '{entry}' is not understood; {name} {offers}{nearest(key, known)}")
        options[key] = known[key].read(spec, key, value)
    return name, options


def _grid(spec: str, text: str) -> dict[str, Any]:
    sides = [side.strip() for side in text.lower().split("x")]
    numbers = [int(side) for side in sides if side.isdecimal() and len(side) < 7]
    if len(sides) != 2 or len(numbers) != 2 or 0 in numbers or numbers == [1, 1]:
        raise MethodError(f"segments='{spec}' is not rows x columns with two cells or more; write 'grid:7x7'")
    return {"rows": numbers[0], "columns": numbers[1]}


def _cells(size: int, count: int) -> np.ndarray:
    return np.arange(size) * count // size


def _segmented(picture: np.ndarray, name: str, options: Mapping[str, Any]) -> np.ndarray:
    from skimage import segmentation

    found: Any
    if name == "slic":
        found = segmentation.slic(picture, start_label=0, **options)
    elif name == "felzenszwalb":
        least = options["min_size"] or max(picture.shape[0] * picture.shape[1] // 200, 1)
        found = segmentation.felzenszwalb(picture, **{**options, "min_size": least})
    elif name == "quickshift":
        plain = {key: value for key, value in options.items() if key != "seed"}
        found = segmentation.quickshift(picture, rng=options["seed"], **plain)
    else:
        found = segmentation.quickshift(picture, sigma=1)
    return np.asarray(found)
