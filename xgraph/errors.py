"""The few exceptions of xgraph.

Every message is one line: what was found, where, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class XGraphError(Exception):
    """Base of every error that a user of xgraph can cause or meet."""


class ExportError(XGraphError):
    """A model file cannot be read, or its converter failed."""


class GraphError(XGraphError):
    """A model's graph is invalid, or a rewrite of it did not keep its meaning."""


class ShapeUnknownError(GraphError):
    """A derivation needs a static dimension that the graph does not tell."""


class UnsupportedOpError(XGraphError):
    """Some operators have no rule in the book that was asked for. Lists all of them."""


class TargetError(XGraphError):
    """The thing to explain (class, output, pixel ...) does not exist in this model."""


class InputError(XGraphError):
    """Input data do not fit the model: name, shape, dtype or values."""


class MethodError(XGraphError):
    """An unknown method, a bad parameter, or a method that does not fit this model."""


class LayerError(XGraphError):
    """A layer, attention block or value that was named does not exist."""


class ProviderError(XGraphError):
    """An execution provider is missing or cannot do what was asked."""


class BundleError(XGraphError):
    """A bundle is damaged, incomplete, of another format version, or cannot be written."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """Returns ``"; did you mean 'a', 'b'?"`` for the known names closest to ``name``, or ``""``."""
    matches = get_close_matches(name, list(known), n=count, cutoff=0.5)
    if not matches:
        return ""
    return "; did you mean " + ", ".join(f"'{match}'" for match in matches) + "?"
