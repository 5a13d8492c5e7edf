"""Questions about a value's shape, with one answer for what is not known."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from xgraph.errors import GraphError, ShapeUnknownError

Dim = int | str | None
"""A static size, the name of a dynamic one, or None where nothing is known."""


def dims(value: ir.Value) -> tuple[Dim, ...] | None:
    """Returns the dimensions of ``value``, or None when not even its rank is known."""
    if value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)


def named_dims(value: ir.Value) -> tuple[int | str, ...]:
    """Returns the dimensions with ``"?"`` for what is unknown; for reports, never for decisions."""
    known = dims(value)
    return ("?",) if known is None else tuple("?" if dim is None else dim for dim in known)


def rank(value: ir.Value) -> int:
    """Returns the rank of ``value``.

    Raises:
        ShapeUnknownError: The rank is not known.
    """
    known = dims(value)
    if known is None:
        raise ShapeUnknownError(f"the rank of '{value.name}' is not known; export the model with static ranks")
    return len(known)


def static(value: ir.Value, axes: slice | None = None) -> tuple[int, ...] | None:
    """Returns the dimensions (those of ``axes``) when all of them are static, else None."""
    known = dims(value)
    if known is None:
        return None
    chosen = known[axes] if axes is not None else known
    return tuple(d for d in chosen if isinstance(d, int)) if all(isinstance(d, int) for d in chosen) else None


def need_static(value: ir.Value, axes: slice | None = None) -> tuple[int, ...]:
    """Returns the dimensions (those of ``axes``).

    Raises:
        ShapeUnknownError: One of them is dynamic.
    """
    sizes = static(value, axes)
    if sizes is None:
        raise ShapeUnknownError(
            f"'{value.name}' has the shape {list(named_dims(value))}, and its gradient needs static sizes; "
            "export the model with fixed sizes for all axes but the batch"
        )
    return sizes


def not_fixed(value: ir.Value, axes: Iterable[int]) -> str | None:
    """Returns what ``value`` would need for static sizes along ``axes``, or None where it has them.

    In words that follow "needs": ``"a fixed 'sequence' axis"``.
    """
    known = dims(value)
    if known is None:
        return "a known rank"
    names = dict.fromkeys(name for axis in axes for name in _open_names(axis, known[axis]))
    if not names:
        return None
    return f"a fixed {next(iter(names))} axis" if len(names) == 1 else f"fixed {' and '.join(names)} axes"


def _open_names(axis: int, dim: Dim) -> list[str]:
    """Returns the quoted names that a dynamic size is computed from, or the number of the axis."""
    if isinstance(dim, int):
        return []
    # Functions such as floor are followed by a parenthesis.
    return [f"'{name}'" for name in re.findall(r"[A-Za-z_][\w.]*\b(?!\()", dim or "")] or [str(axis)]


def same(a: ir.Value, b: ir.Value) -> bool:
    """Tells whether the two shapes are known and equal, named dimensions by name."""
    left, right = dims(a), dims(b)
    return left is not None and left == right and None not in left


def is_float(value: ir.Value) -> bool:
    """Tells whether the value can carry a gradient."""
    return value.dtype is not None and value.dtype.is_floating_point()


def dtype_of(value: ir.Value) -> np.dtype:
    """Returns the NumPy dtype of ``value``.

    Raises:
        GraphError: It is not known.
    """
    if value.dtype is None:
        raise GraphError(f"the dtype of '{value.name}' is not known")
    return np.dtype(value.dtype.numpy())


def simplified(dim: int | ir.SymbolicDim) -> int | ir.SymbolicDim:
    """Returns a size as it can be read again: numbers as numbers, and ⌈e⌉ as -⌊-e⌋.

    Symbolic arithmetic may end in a number that is still wrapped as an expression, and writes what its reader does
    not know.
    """
    if not isinstance(dim, ir.SymbolicDim) or dim.value is None:
        return dim
    if dim.value.isdigit():
        return int(dim.value)
    return ir.SymbolicDim(_without_ceilings(dim.value)) if _CEILING in dim.value else dim


_CEILING = "ceiling("


def _without_ceilings(text: str) -> str:
    while (start := text.find(_CEILING)) >= 0:
        end, depth = start + len(_CEILING), 1
        while depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        text = f"{text[:start]}(-floor(-({text[start + len(_CEILING) : end - 1]}))){text[end:]}"
    return text
