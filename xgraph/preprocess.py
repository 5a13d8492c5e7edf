"""How a deployed model turns pictures into its input: resize, crop, ``(pixel * scale - mean) / std``, layout.

The order is fixed, because it is the one that deployments use: resize, centre crop, channel order,
    normalisation,
layout. What a deployment does beyond that (letter boxes, padding ...) is refused by name rather than
approximated: a picture that differs from the served one is explained for another prediction.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from xgraph.errors import InputError, nearest
from xgraph.resample import INTERPOLATIONS, resize

if TYPE_CHECKING:
    from PIL.Image import Image

Array = NDArray[Any]
PathLike = str | os.PathLike[str]

CONFIG_NAMES = ("inference.yml", "inference.yaml", "infer_cfg.yml", "deploy.yaml")
IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as OpenCV and Pillow
_CHANNELS = {"RGB": 3, "BGR": 3, "L": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """From uint8 RGB pictures to the array that a model takes.

    Resizing samples as OpenCV does (``xgraph.resample``), since that is what Paddle's deployments run; models
    that were served with Pillow, torchvision or timm need ``antialias=True``, which calls Pillow. Against
    OpenCV itself a pixel may be off by one grey level.

    Raises:
        InputError: a value that is out of range, or values that contradict each other; the message names the
            field.
    """

    size: tuple[int, int] | None = None
    """Resize to (h, w)."""
    resize_short: int | None = None
    """Resize so that the short side has this many pixels; the ratio is kept. Not together with ``size``."""
    keep_ratio: bool = False
    """With ``size``: scale both sides alike, as far as ``size`` allows either way round (PaddleDetection)."""
    crop: tuple[int, int] | None = None
    """Cut (h, w) out of the middle, after resizing."""
    interpolation: str = "bilinear"
    """``nearest``, ``bilinear``, ``bicubic``, ``lanczos`` or ``area``."""
    antialias: bool = False
    """Smooth while shrinking, as Pillow does, instead of sampling, as OpenCV does."""
    channels: str = "RGB"
    """``RGB``, ``BGR`` or ``L`` (luma): what the model sees; pictures always come in as RGB."""
    scale: float = 1.0 / 255.0
    """What pixels are multiplied by before ``mean`` is taken off."""
    mean: tuple[float, ...] = (0.0,)
    """One number per channel, in the order of ``channels``, or one for all."""
    std: tuple[float, ...] = (1.0,)
    """As ``mean``; not 0."""
    layout: str = "NCHW"
    """``NCHW`` or ``NHWC``."""
    labels: tuple[str, ...] = ()
    """The name of every class, or nothing."""

    def __post_init__(self) -> None:
        for name in ("size", "crop"):
            object.__setattr__(self, name, _pair(name, getattr(self, name)))
        if self.resize_short is not None:
            object.__setattr__(self, "resize_short", _side("resize_short", self.resize_short))
        if self.size is not None and self.resize_short is not None:
            raise InputError(f"preprocessing: size {self.size} and resize_short {self.resize_short} exclude each other")
        if self.keep_ratio and self.size is None:
            raise InputError("preprocessing: keep_ratio needs a size")
        _member("interpolation", self.interpolation, INTERPOLATIONS)
        _member("channels", self.channels, _CHANNELS)
        _member("layout", self.layout, ("NCHW", "NHWC"))
        object.__setattr__(self, "scale", _numbers("scale", [self.scale])[0])
        for name in ("mean", "std"):
            numbers = _numbers(name, getattr(self, name))
            if len(numbers) not in (1, _CHANNELS[self.channels]):
                raise InputError(
                    f"preprocessing: {name} has {len(numbers)} numbers; {self.channels} needs 1 or "
                    f"{_CHANNELS[self.channels]}"
                )
            object.__setattr__(self, name, numbers)
        if 0.0 in (self.scale, *self.std):
            raise InputError("preprocessing: scale and std must not be 0")
        object.__setattr__(self, "labels", tuple(str(label) for label in self.labels))

    @classmethod
    def from_paddle(cls, path: PathLike) -> Preprocess:
        """Reads a deployment file of PaddleClas, PaddleDetection, PaddleSeg or PaddleX.

        Raises:
            InputError: the file cannot be read, has no such section, or asks for a transform that this class
                cannot reproduce.
        """
        from xgraph.paddle_config import read_fields

        return cls(**read_fields(Path(path)))

    @classmethod
    def beside(cls, model_files: PathLike | Iterable[PathLike]) -> Preprocess | None:
        """Reads the first of ``CONFIG_NAMES`` that lies next to the model files; None where there is none.

        Raises:
            InputError: there is one, and ``from_paddle`` cannot reproduce it. It is meant to be called when
                pictures have to be preprocessed, not on loading a model, which may be fed arrays.
        """
        files = [model_files] if isinstance(model_files, str | os.PathLike) else list(model_files)
        for folder in dict.fromkeys(Path(file).parent for file in files):
            for name in CONFIG_NAMES:
                if (folder / name).is_file():
                    return cls.from_paddle(folder / name)
        return None

    @classmethod
    def from_options(
        cls,
        *,
        size: str | int | Sequence[int] | None = None,
        mean: str | float | Sequence[float] | None = None,
        std: str | float | Sequence[float] | None = None,
        layout: str = "NCHW",
        labels: PathLike | None = None,
        channels: str = "RGB",
        antialias: bool = False,
    ) -> Preprocess:
        """Builds a spec from command-line values: ``"224"``, ``"224x320"`` (h x w), ``"0.485,0.456,0.406"``.

        ``mean`` and ``std`` are those of pixels in [0, 1]; ``labels`` is a file that ``read_labels``
        understands.

        Raises:
            InputError: a value that cannot be read, or a mean that is evidently in grey levels.
        """
        means = _numbers("mean", (0.0,) if mean is None else mean)
        stds = _numbers("std", (1.0,) if std is None else std)
        if max(map(abs, means)) > 2.0:
            raise InputError(
                f"mean {', '.join(f'{value:g}' for value in means)} is in grey levels; "
                "give mean and std for pixels in [0, 1], that is divided by 255"
            )
        return cls(
            size=None if size is None else _parse_size(size),
            mean=means,
            std=stds,
            layout=layout.upper(),
            channels=channels.upper(),
            antialias=antialias,
            labels=() if labels is None else read_labels(labels),
        )

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values by field name, for a bundle's manifest."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Preprocess:
        """Reads what ``to_json`` wrote.

        Raises:
            InputError: an unknown field, or a bad value.
        """
        known = [field.name for field in fields(cls)]
        for name in document:
            if name not in known:
                raise InputError(f"preprocessing: unknown field '{name}'{nearest(name, known)}")
        return cls(**document)

    def view(self, image: Array | Image) -> Array:
        """Returns the picture as the model sees it, to draw on: resized and cropped, not normalised.

        Args:
            image: uint8 (H, W, 3) or (H, W), or a Pillow image.

        Returns:
            Contiguous uint8 (h, w, 3), RGB whatever ``channels`` says.

        Raises:
            InputError: another dtype or shape, or a picture smaller than ``crop``.
        """
        picture = _rgb(image)
        height, width = self._target(*picture.shape[:2])
        if self.antialias:
            picture = _resize_pillow(picture, (height, width), self.interpolation)
        else:
            picture = resize(picture, (height, width), self.interpolation)
        if self.crop is not None:
            rows, columns = self.crop
            if rows > height or columns > width:
                raise InputError(
                    f"the crop of {rows} x {columns} is larger than the picture of {height} x {width}; resize to more"
                )
            top, left = (height - rows) // 2, (width - columns) // 2
            picture = picture[top : top + rows, left : left + columns]
        return np.ascontiguousarray(picture)

    def __call__(self, images: Array | Sequence[Array | Image]) -> Array:
        """Returns the model's input for pictures of any sizes.

        Args:
            images: uint8 (H, W, 3) or (N, H, W, 3), or a sequence of arrays and Pillow images.

        Returns:
            float32 (N, C, h, w), or (N, h, w, C) for ``NHWC``; one picture gives N = 1.

        Raises:
            InputError: what ``view`` refuses, no picture at all, or pictures that end up with different
                sizes.
        """
        if isinstance(images, np.ndarray) and images.ndim == 4:
            pictures: Sequence[Array | Image] = list(images)
        elif isinstance(images, np.ndarray) or hasattr(images, "convert"):
            pictures = [cast("Array", images)]
        else:
            pictures = images
        views = [self.view(picture) for picture in pictures]
        if not views:
            raise InputError("no picture to preprocess; give at least one")
        for i, view in enumerate(views):
            if view.shape != views[0].shape:
                raise InputError(
                    f"pictures 0 and {i} become {views[0].shape[:2]} and {view.shape[:2]} pixels, "
                    "which do not fit one batch; set size or crop, or explain them one by one"
                )
        return self.normalise(np.stack(views))

    def _target(self, height: int, width: int) -> tuple[int, int]:
        if self.resize_short is not None:
            factor = self.resize_short / min(height, width)
            return round(height * factor), round(width * factor)
        if self.size is None:
            return height, width
        if not self.keep_ratio:
            return self.size
        factor = min(self.size) / min(height, width)
        if round(factor * max(height, width)) > max(self.size):
            factor = max(self.size) / max(height, width)
        return max(round(height * factor), 1), max(round(width * factor), 1)

    def normalise(self, views: Array) -> Array:
        """Returns the model's input for pictures that ``view`` returned, uint8 (N, h, w, 3)."""
        if self.channels == "L":
            pixels = np.rint(views.astype(np.float32) @ _LUMA)[..., None]
        elif self.channels == "BGR":
            pixels = views[..., ::-1].astype(np.float32)
        else:
            pixels = views.astype(np.float32)
        pixels *= np.float32(self.scale)
        pixels -= np.array(self.mean, dtype=np.float32)
        pixels /= np.array(self.std, dtype=np.float32)
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)) if self.layout == "NCHW" else pixels

    def invert(self, array: Array) -> Array:
        """Returns the pictures that ``normalise`` made this input from, uint8 (N, h, w, 3), RGB.

        Values between two grey levels are rounded, values beyond black and white cut off; luma stays grey.
        """
        last = array.transpose(0, 2, 3, 1) if self.layout == "NCHW" else array
        pixels = last.astype(np.float32) * np.array(self.std, dtype=np.float32) + np.array(self.mean, dtype=np.float32)
        grey = np.clip(np.rint(pixels / np.float32(self.scale)), 0, 255).astype(np.uint8)
        if self.channels == "BGR":
            grey = grey[..., ::-1]
        return np.ascontiguousarray(np.broadcast_to(grey, (*grey.shape[:3], 3)))


def is_image(path: PathLike) -> bool:
    """Says whether the file's name ends like a picture's; the file need not exist."""
    return Path(path).suffix.lower() in IMAGE_SUFFIXES


def load_image(path: PathLike) -> Array:
    """Reads a picture file as uint8 (H, W, 3), RGB.

    EXIF orientation is applied, greyscale and palettes become RGB, 16 bits become 8, transparency is laid on
    white.

    Raises:
        InputError: the file is missing, not a picture, or damaged.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            upright = ImageOps.exif_transpose(file)
            if upright.mode == "F":
                raise InputError(f"{path}: a picture of float pixels; save it with 8 bits, or give an .npy array")
            if upright.mode.startswith("I"):
                grey = np.clip(np.rint(np.asarray(upright, dtype=np.float64) / 257.0), 0, 255).astype(np.uint8)
                return np.repeat(grey[..., None], 3, axis=2)
            if "A" in upright.getbands() or "transparency" in upright.info:
                layers = upright.convert("RGBA")
                white = Image.new("RGBA", layers.size, "white")
                upright = Image.alpha_composite(white, layers)
            return np.array(upright.convert("RGB"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not a readable picture ({reason})") from error


def read_labels(path: PathLike) -> tuple[str, ...]:
    """Reads class names: one per line (``name``, or all ``index name``), or a JSON list, or object by index.

    Raises:
        InputError: the file cannot be read, or its indices are not 0, 1, 2 ...
    """
    import json

    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        if Path(path).suffix.lower() == ".json":
            document = json.loads(text)
            if isinstance(document, Mapping):
                return tuple(str(document[str(i)]) for i in range(len(document)))
            return tuple(str(label) for label in document)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read labels ({getattr(error, 'strerror', None) or error})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: labels must be a JSON list, or an object with the keys 0, 1, 2 ...") from error
    lines = text.rstrip().splitlines()
    pairs = [line.strip().partition(" ") for line in lines]
    if lines and all(head == str(i) and name for i, (head, _, name) in enumerate(pairs)):
        return tuple(name.strip() for _, _, name in pairs)
    return tuple(line.strip() for line in lines)


def _rgb(image: Array | Image) -> Array:
    pixels = np.asarray(image.convert("RGB") if not isinstance(image, np.ndarray) else image)
    if pixels.dtype != np.uint8:
        raise InputError(f"a picture must be uint8, not {pixels.dtype}; arrays of floats go to the model as they are")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
        raise InputError(f"a picture must have the shape (H, W, 3), not {pixels.shape}")
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _resize_pillow(picture: Array, size: tuple[int, int], interpolation: str) -> Array:
    from PIL import Image

    filters = {
        "nearest": Image.Resampling.NEAREST,
        "bilinear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
        "lanczos": Image.Resampling.LANCZOS,
        "area": Image.Resampling.BOX,
    }
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize(size[::-1], filters[interpolation]))


def _member(name: str, value: str, allowed: Iterable[str]) -> None:
    if value not in (known := list(allowed)):
        hint = nearest(str(value), known)
        raise InputError(f"preprocessing: {name} '{value}' is not one of {', '.join(known)}{hint}")


def _side(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 < value <= 65536:
        raise InputError(f"preprocessing: {name} {value!r} is not a number of pixels")
    return int(value)


def _pair(name: str, value: object) -> tuple[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise InputError(f"preprocessing: {name} {value!r} is not (height, width)")
    return _side(name, value[0]), _side(name, value[1])


def _numbers(name: str, value: object) -> tuple[float, ...]:
    entries: Any = value
    if isinstance(value, str):
        entries = value.strip("[]() ").split(",")
    elif isinstance(value, int | float):
        entries = [value]
    try:
        numbers = tuple(float(number) for number in entries)
    except (TypeError, ValueError) as error:
        raise InputError(f"preprocessing: {name} {value!r} is not numbers; write 0.485,0.456,0.406") from error
    if not all(map(math.isfinite, numbers)):
        raise InputError(f"preprocessing: {name} {value!r} holds a number that is not finite")
    return numbers


def _parse_size(value: str | int | Sequence[int]) -> tuple[int, int]:
    try:
        if isinstance(value, str):
            sides = [int(side) for side in value.lower().replace("x", ",").split(",")]
        else:
            sides = [value] if isinstance(value, int) else list(value)
        height, width = sides * 2 if len(sides) == 1 else sides
    except (TypeError, ValueError) as error:
        raise InputError(f"size '{value}' is not 224 or 224x320 (height x width)") from error
    return height, width
