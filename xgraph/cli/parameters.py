"""Which of the ``--set`` parameters go to which method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from xgraph.errors import MethodError, nearest
from xgraph.methods import infos


def distribute(parameters: Mapping[str, Any], methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Returns for each method the parameters that it has.

    Raises:
        MethodError: A method does not exist, or none of them has some parameter.
    """
    table = {info.name: info for info in infos()}
    chosen = list(methods)
    for name in chosen:
        if name not in table:
            raise MethodError(f"there is no method '{name}'{nearest(name, table)} (`xgraph methods` lists them)")
    known = {key for name in chosen for key in table[name].parameters}
    for key in parameters:
        if key not in known:
            raise MethodError(
                f"no parameter '{key}' in {', '.join(chosen)}{nearest(key, known)} (`xgraph methods NAME`)"
            )
    return {name: {key: value for key, value in parameters.items() if key in table[name].parameters} for name in chosen}
