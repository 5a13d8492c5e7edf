"""How ``--target`` is written on a command line."""

from __future__ import annotations

from collections.abc import Sequence

from xgraph.errors import TargetError, nearest
from xgraph.of import Of
from xgraph.target import Target

_FORMS = "a class (number or label), one per row as 3,7,7, top:K, contrast:A,B, pixel:C,Y,X, box:I,C or index:I,J"


def read_target(text: str | None, of: Of, labels: Sequence[str]) -> Target:
    """Returns the target that ``text`` describes; None: the predicted class.

    Raises:
        TargetError: The text is none of the known forms, or no label.
    """
    if text is None:
        return Target.top(of=of)
    named = [i for i, label in enumerate(labels) if label == text]
    if len(named) > 1:
        raise TargetError(f"the label '{text}' stands for the classes {', '.join(map(str, named))}; give the number")
    if named:
        return Target.index(named[0], of=of)
    form, colon, rest = text.partition(":")
    if colon and form == "region":
        raise TargetError("a region needs a mask, so it is for Python: xgraph.Target.region(class_index, mask)")
    numbers = _numbers(rest if colon else text, labels)
    if numbers is None:
        close = nearest(text, labels)
        raise TargetError(f"target '{text}' is not understood{close or f'; write {_FORMS}'}")
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
    raise TargetError(f"target '{text}' is not understood; write {_FORMS}")


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
