"""How loops are compiled, and how arrays reach them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import DTypeLike

_LOG = logging.getLogger(__name__)

Loop = TypeVar("Loop", bound=Callable[..., Any])


def compiled(loop: Loop) -> Loop:
    """Returns a loop that is compiled when it is first called, without Python's lock, and kept on disk if possible.

    What is kept is thrown away when the loop's own file changes, not when a file does that it calls into.
    """
    try:
        return cast(Loop, njit(cache=True, nogil=True)(loop))
    except RuntimeError as error:
        # Neither the folder of the module nor the user's cache can be written to.
        _LOG.info("%s is compiled anew in every process: %s", loop.__name__, error)
        return cast(Loop, njit(nogil=True)(loop))


def plain(array: Any, dtype: DTypeLike) -> np.ndarray:
    """Returns an array of the one kind that loops are compiled for; copied only where it is of another.

    Numba compiles a loop anew for each dtype and layout, and for arrays that are read-only.
    """
    return np.require(array, dtype, ("C", "A", "W", "E"))
