"""What is explained of a target: its logit, its probability, or its loss."""

from __future__ import annotations

from typing import Literal, TypeAlias

Of: TypeAlias = Literal["logit", "probability", "loss"]
OF: tuple[Of, ...] = ("logit", "probability", "loss")
