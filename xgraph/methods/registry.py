"""The table of methods, and how parameters are checked before a method is made."""

from __future__ import annotations

import types
from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from importlib.metadata import entry_points
from numbers import Integral, Real
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Literal,
    Protocol,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np

from xgraph.errors import MethodError, nearest

if TYPE_CHECKING:
    from xgraph.model import Model
    from xgraph.of import Of
    from xgraph.plan import Plan
    from xgraph.result import Kind
    from xgraph.target import Target


class Method(Protocol):
    """A way to explain. Its fields are its parameters."""

    name: ClassVar[str]
    """The paper's name, in snake_case."""
    needs: ClassVar[str]
    """What it needs of a model: ``"gradient"`` or ``"forward"``."""

    @property
    def kind(self) -> Kind:
        """How its maps are to be read. A class variable, or a property where it is that of a wrapped method."""

    def plan(self, model: Model, target: Target) -> Plan:
        """Returns what is to be computed."""


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """What ``list_methods`` tells about one method."""

    name: str
    summary: str
    kind: str
    needs: str
    parameters: Mapping[str, Any]
    """Parameter name -> default."""
    doc: str


M = TypeVar("M", bound=type)
_METHODS: dict[str, Any] = {}


def register(method: M) -> M:
    """Registers a method class under its name."""
    name: str = method.name  # type: ignore[attr-defined]
    if name in _METHODS:
        raise ValueError(f"the method '{name}' is registered already, by {_METHODS[name].__module__}")
    _METHODS[name] = method
    return method


def create(name: str, parameters: Mapping[str, Any]) -> Method:
    """Returns the method ``name`` with ``parameters``.

    Raises:
        MethodError: There is no such method, it has no such parameter, or a value has the wrong type.
    """
    cls = method_class(name)
    hints = get_type_hints(cls)
    known = {field.name for field in fields(cls)}
    for key, value in parameters.items():
        if key not in known:
            offered = f"; its parameters are {', '.join(sorted(known))}" if known else "; it has no parameters"
            raise MethodError(f"{name} has no parameter '{key}'{nearest(key, known) or offered}")
        if isinstance(value, Real) and value != value:
            raise MethodError(f"{name}: {key}={value!r} is not a number; give {_readable(hints[key])}")
        if not _fits(value, hints[key]):
            raise MethodError(f"{name}: {key}={value!r} should be {_readable(hints[key])}")
    # Recipes and files keep plain numbers.
    method: Method = cls(**{key: _own(value) for key, value in parameters.items()})
    return method


def _own(value: Any) -> Any:
    """Returns a value that nobody else changes."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        value = value.copy()
        value.flags.writeable = False
    return value


def method_class(name: str) -> Any:
    """Returns the class of the method ``name``.

    Raises:
        MethodError: There is no such method.
    """
    methods = _all()
    if name not in methods:
        raise MethodError(f"there is no method '{name}'{nearest(name, methods)} (`xgraph methods` lists them)")
    return methods[name]


def objective(method: Method, model: Model, output: str | None = None) -> Of:
    """Returns what a method explains of an output unless the caller says; the logit unless the method says."""
    own: Callable[[Model, str | None], Of] | None = getattr(method, "objective", None)
    return "logit" if own is None else own(model, output)


def told_parameters(method: Method) -> dict[str, Any]:
    """Returns a method's parameters as results keep them; functions and objects by their names."""

    def told(value: Any) -> Any:
        if isinstance(value, tuple | list):
            return [told(entry) for entry in value]
        if value is None or isinstance(value, str | int | float | np.ndarray | np.generic | Mapping):
            return value
        return getattr(value, "__name__", None) or type(value).__name__

    return {field.name: told(getattr(method, field.name)) for field in fields(method)}  # type: ignore[arg-type]


def infos() -> list[MethodInfo]:
    """Returns all methods in alphabetical order."""
    listed = []
    for name, cls in sorted(_all().items()):
        defaults = {f.name: None if f.default is MISSING else f.default for f in fields(cls)}
        doc = cls.__doc__ or ""
        kind = cls.kind if isinstance(cls.kind, str) else cls().kind
        listed.append(MethodInfo(name, doc.strip().splitlines()[0], kind, cls.needs, defaults, doc))
    return listed


def _all() -> dict[str, Any]:
    _load_plugins()
    return _METHODS


@cache
def _load_plugins() -> None:
    """Registers the methods of other packages, once: reading entry points costs more than a small explanation."""
    for entry in entry_points(group="xgraph.methods"):
        if entry.name not in _METHODS:
            register(entry.load())


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    if origin is Literal:
        return isinstance(value, Hashable) and value in get_args(hint)
    if origin in (tuple, list):
        return isinstance(value, tuple | list) and all(_fits(item, get_args(hint)[0]) for item in value)
    if origin is Callable:
        return callable(value)
    if hint is Any:
        return True
    if hint is type(None):
        return value is None
    if hint is float:
        return not isinstance(value, bool) and isinstance(value, Real) and value == value
    if hint is int:
        return not isinstance(value, bool) and isinstance(value, Integral)
    if hint is bool:
        return isinstance(value, bool | np.bool_)
    return isinstance(value, hint) if isinstance(hint, type) else True


def _readable(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in get_args(hint))
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_readable(option) for option in get_args(hint))
    if get_origin(hint) is Callable:
        return "a function"
    return "None" if hint is type(None) else getattr(hint, "__name__", str(hint))
