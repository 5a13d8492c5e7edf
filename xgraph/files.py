"""Writing files so that no reader ever meets half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from uuid import uuid4


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Opens a new binary file that takes the place of ``path`` once the block ends without an error.

    The file is written beside ``path`` (a rename is atomic only within one file system) and keeps the user's
    umask, which ``tempfile`` would not. Missing parent folders are made.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    draft = final.with_name(f".{final.name[:80]}.{uuid4().hex[:12]}.part")
    try:
        with draft.open("xb") as file:
            yield file
        draft.replace(final)
    finally:
        draft.unlink(missing_ok=True)
