"""How ``--target`` is written on a command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from xgraph.errors import TargetError, nearest
from xgraph.of import Of
from xgraph.preprocess import is_image, load_image
from xgraph.target import Target

TARGETS = (
    "a class (number or label), one per sample as 3,7,7, "
    "top:K, contrast:A,B, index:I,J, pixel:C,Y,X, region:C,MASK.png "
    "(or .npy) or box:I,C, each with OUTPUT= in front for an output other than the first"
)
"""How targets are written."""


def read_target(text: str | None, of: Of, labels: Sequence[str], outputs: Sequence[str] = ()) -> Target:
    """Returns the target that ``text`` describes; None: the predicted class.

    Args:
        text: one of ``TARGETS``, where ``OUTPUT=`` alone stands for the predicted class of that output.
        of: what is explained of it.
        labels: names of the classes.
        outputs: names of the model's outputs.

    Raises:
        TargetError: The text is none of the known forms, no label, or names no output.
    """
    if text is None:
        return Target.top(of=of)
    if text in labels:
        return _read(text, of, labels)
    # A label or the name of a mask may hold the sign too, so an output's name decides.
    for name in outputs:
        if text.startswith(f"{name}="):
            rest = text.removeprefix(f"{name}=")
            return replace(_read(rest, of, labels) if rest else Target.top(of=of), output=name)
    name, sign, _ = text.partition("=")
    if sign and outputs and not text.startswith("region:"):
        listed = nearest(name, outputs) or f"; it has {', '.join(outputs)}"
        raise TargetError(f"target '{text}': the model has no output '{name}'{listed}")
    return _read(text, of, labels)


def _read(text: str, of: Of, labels: Sequence[str]) -> Target:
    named = [i for i, label in enumerate(labels) if label == text]
    if len(named) > 1:
        raise TargetError(f"the label '{text}' stands for the classes {', '.join(map(str, named))}; give the number")
    if named:
        return Target.index(named[0], of=of)
    form, colon, rest = text.partition(":")
    if colon and form == "region":
        return _region(text, rest, of, labels)
    numbers = _numbers(rest if colon else text, labels)
    if numbers is None:
        close = nearest(text, labels)
        raise TargetError(f"target '{text}' is not understood{close or f'; write {TARGETS}'}")
    match (form if colon else "class", len(numbers)):
        case ("class", 1):
            return Target.index(numbers[0], of=of)
        case ("class", _):
            return Target.per_row(numbers, of=of)
        case ("top", 1):
            return Target.top(numbers[0], of=of)
        case ("contrast", 2):
            return Target.contrast(numbers[0], numbers[1], of=of)
        case ("pixel", 3):
            return Target.pixel(numbers[0], numbers[1], numbers[2], of=of)
        case ("box", 2):
            return Target.box(numbers[0], numbers[1], of=of)
        case ("index", _):
            return Target.index(tuple(numbers), of=of)
    raise TargetError(f"target '{text}' is not understood; write {TARGETS}")


def _region(text: str, rest: str, of: Of, labels: Sequence[str]) -> Target:
    """Reads ``C,MASK``; the file's name may hold commas."""
    chosen, comma, file = rest.partition(",")
    numbers = _numbers(chosen, labels)
    if not comma or not file or numbers is None:
        raise TargetError(f"target '{text}' is not understood; write region:C,MASK.png or region:C,MASK.npy")
    return Target.region(numbers[0], _mask(Path(file)), of=of)


def _mask(path: Path) -> np.ndarray:
    if path.suffix.lower() != ".npy":
        if not is_image(path):
            raise TargetError(f"the mask {path} is no picture and no .npy file")
        return np.asarray(load_image(path).any(axis=2))
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise TargetError(f"the mask {path} is not a readable NumPy file of a plain array") from error


def _numbers(text: str, labels: Sequence[str]) -> list[int] | None:
    """Returns the numbers in ``text``; a label that only one class has stands for its number."""
    numbers = []
    for part in text.split(","):
        named = [i for i, label in enumerate(labels) if label == part.strip()]
        try:
            numbers.append(named[0] if len(named) == 1 else int(part))
        except ValueError:
            return None
    return numbers
