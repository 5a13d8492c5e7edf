"""Sliding windows: their default size, whether they fit, and whether what they leave clean can be reused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xgraph.errors import MethodError
from xgraph.sampling.windows import positions

if TYPE_CHECKING:
    from xgraph.graph.incremental import Windows
    from xgraph.graph.ports import Port
    from xgraph.model import Model

_PIECES = 14
"""Windows that lie side by side along the shorter side of a picture, by default."""


def over_features(window: Sequence[int] | None, stride: int | Sequence[int] | None, role: str) -> tuple[int, int]:
    """Returns window and stride over tokens or columns.

    Raises:
        MethodError: They are not one number each, from 1.
    """
    window = window or (1,)
    stride = (stride,) if isinstance(stride, int) else stride or (max(1, window[0] // 2),)
    if len(window) != 1 or len(stride) != 1 or window[0] < 1 or stride[0] < 1:
        raise MethodError(
            f"occlusion: window={list(window)}, stride={list(stride)}; {role} have one axis: give one number from "
            "1 each"
        )
    return window[0], stride[0]


def over_axes(
    given: Sequence[int] | None, steps: int | Sequence[int] | None, port: Port
) -> tuple[Sequence[int | None], tuple[int, ...]]:
    """Returns window (None: all of an axis) and stride on every axis but the batch.

    Raises:
        MethodError: They do not fit the input.
    """
    sizes = port.shape[1:]
    window: Sequence[int | None]
    if given is not None:
        window = given
    else:
        axis = (port.channel_axis or 1) - 1
        spatial = [size for i, size in enumerate(sizes) if i != axis]
        known = [size for size in spatial if isinstance(size, int)]
        if len(known) < len(spatial):
            raise MethodError(
                f"occlusion: the input '{port.name}' has the open shape {list(port.shape)}; give the window, such "
                "as window=[3, 16, 16] with the channels in front"
            )
        side = max(1, round(min(known) / _PIECES))
        window = [None if i == axis else side for i in range(len(sizes))]
    if isinstance(steps, int):
        stride: tuple[int, ...] = (steps,) * len(sizes)
    elif steps is not None:
        stride = tuple(steps)
    else:
        channels = (port.channel_axis or 1) - 1
        halves = [max(1, (own or 1) // 2) for own in window]
        stride = tuple((window[i] or 1) if i == channels else half for i, half in enumerate(halves))
    if len(window) != len(sizes) or len(stride) != len(sizes):
        raise MethodError(
            f"occlusion: window={list(window)}, stride={list(stride)} do not fit samples of shape {list(sizes)}; "
            "give one number per axis, channels included"
        )
    if min(1 if own is None else own for own in window) < 1 or min(stride) < 1:
        raise MethodError(f"occlusion: window={list(window)}, stride={list(stride)}; both count from 1")
    for own, size in zip(window, sizes, strict=True):
        if own is not None and isinstance(size, int) and own > size:
            raise MethodError(f"occlusion: window={list(window)} is larger than the sample, {list(sizes)}")
    return window, stride


def reusing(model: Model, port: Port, size: Sequence[int | None], step: Sequence[int]) -> Windows | str:
    """Returns how windows reuse clean activations, or in words why they do not."""
    if port.role != "image" or port.channel_axis != 1 or size[0] not in (None, port.shape[1]):
        return "its windows are not over all channels of an image (N, channels, height, width)"
    sides = [side for side in port.shape[2:] if isinstance(side, int)]
    if len(sides) < 2:
        return f"the image input '{port.name}' has open sizes"
    window = (size[1] or sides[0], size[2] or sides[1])
    lattice = positions(sides, window, step[1:])
    tops, lefts = (tuple(range(0, int(count) * by, by)) for count, by in zip(lattice, step[1:], strict=True))
    return model.plan_windows(port.name, window, (tops, lefts))
