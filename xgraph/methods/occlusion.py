"""Occlusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from xgraph.errors import MethodError
from xgraph.methods.masked import baselines_for, feature_map, masked_parts, score_plan, score_recipe
from xgraph.methods.registry import register
from xgraph.plan import Stage
from xgraph.reducing import FeatureMeans, Keep, WindowDrops
from xgraph.sampling import LeaveOut, MaskedFeatures, Once, Windows
from xgraph.sampling.windows import clean_names, positions

if TYPE_CHECKING:
    from xgraph.graph.ports import Port
    from xgraph.model import Model
    from xgraph.of import Of
    from xgraph.plan import Plan
    from xgraph.target import Target

_PIECES = 14
"""Windows that lie side by side along the shorter side of a picture, by default."""


@register
@dataclass(frozen=True, slots=True, eq=False)
class Occlusion:
    """Occlusion: a window slides over the sample; f(x) - f(x with the window hidden), on what it hides.

    Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2013, arXiv:1311.2901. Where windows
    overlap, the mean of their drops. Windows begin at multiples of the stride; the last ones are cut at the edge.

    Attributes:
        window: size on every axis but the batch, channels included: ``(3, 16, 16)``; of tokens and columns ``(1,)``.
            Default: all channels of a square with a 14th of the shorter side, one token, one column.
        stride: steps on the same axes, or one number for all. Default: half the window; all of it along channels.
        baseline: what shows in the window: a number, ``zero``, ``mean``, ``blur``, an array of one sample or one per
            row; of tokens a token number. Default: zero, or the mask, unknown or padding token.
        incremental: run anew only what a window reaches, which gives the same numbers, and reuse the activations of the
            clean sample for the rest; ``details["window"]["sweep"]`` says what was done and why. Default: where it
            pays.
        normalise: divide by the number of windows over each place; without it drops are summed up.
        wrt: ``"input:NAME"``; default: the image, token or float inputs.
        variant: ``"interpretdl"``: the plain sum, of the probability, as InterpretDL 0.8.0 computes it (its stride is
            1).
    """

    name: ClassVar[str] = "occlusion"
    kind: ClassVar[Literal["attribution"]] = "attribution"
    needs: ClassVar[str] = "forward"

    window: tuple[int, ...] | None = None
    stride: int | tuple[int, ...] | None = None
    baseline: str | float | np.ndarray | None = None
    incremental: bool | None = None
    normalise: bool = True
    wrt: str | None = None
    variant: Literal["paper", "interpretdl"] = "paper"

    def objective(self, model: Model) -> Of:
        """Returns what is explained unless the caller says."""
        return "probability" if self.variant == "interpretdl" else "logit"

    def plan(self, model: Model, target: Target) -> Plan:
        """Returns one run per window.

        Raises:
            MethodError: The window or stride does not fit the input.
        """
        places, parts = masked_parts(model, self.wrt, target.output)
        ports = [port for port in model.inputs if any(part.wrt.name == port.name for part in parts)]
        baselines = baselines_for(model, parts, self.baseline)
        normalise = self.normalise and self.variant == "paper"
        if len(ports[0].shape) == 2 or (len(ports) > 1 and self.window is None):
            window, stride = self._of_features(parts[0].role)
            sampler = MaskedFeatures(feature_map(model, parts, None, False), LeaveOut(window, stride), baselines)
            recipe = score_recipe(model, target, places, "segments")
            return score_plan(recipe, places, sampler, FeatureMeans("drop" if normalise else "sum"))
        if len(ports) > 1:
            raise MethodError(f"occlusion: {len(ports)} inputs are explained; choose one with wrt='input:NAME'")
        size, step = self._on_axes(ports[0])
        # A window that covers an axis is told apart, so that its graph takes any size there.
        whole = [None if own == have else own for own, have in zip(size, ports[0].shape[1:], strict=True)]
        recipe = score_recipe(model, target, places, "window", size=tuple(whole))
        plan = score_plan(recipe, places, Windows(parts[0], tuple(size), step, baselines), WindowDrops(normalise))
        if self.incremental is False:
            return plan
        return self._reusing(plan, model, ports[0], whole, size, step)

    def _reusing(
        self,
        plan: Plan,
        model: Model,
        port: Port,
        whole: Sequence[int | None],
        size: Sequence[int | None],
        step: tuple[int, ...],
    ) -> Plan:
        """Returns the plan with clean activations reused, or as it is with the reason.

        Raises:
            MethodError: They cannot be reused, and were asked to be.
        """
        stage = plan.stages[0]
        found: Any
        if port.role != "image" or port.channel_axis != 1 or whole[0] is not None:
            found = "windows over all channels of an image (N, channels, height, width) are needed"
        elif not all(isinstance(side, int) for side in port.shape[1:]):
            found = f"the image input '{port.name}' has dynamic sizes"
        else:
            sides = [int(side) for side in port.shape[2:]]
            window = (size[1] or sides[0], size[2] or sides[1])
            lattice = positions(sides, window, step[1:])
            starts = tuple(tuple(range(0, int(n) * s, s)) for n, s in zip(lattice, step[1:], strict=True))
            found = model.plan_windows(port.name, window, (starts[0], starts[1]))
        if isinstance(found, str):
            if self.incremental:
                raise MethodError(f"occlusion: incremental=true, but {found}; leave it out for a full sweep")
            return replace(plan, stages=(replace(stage, reducer=replace(stage.reducer, sweep=f"full: {found}")),))
        options = (("starts", found.starts), ("window", found.window))
        names = clean_names(len(found.caches))
        look = replace(stage.recipe, readout="clean", options=options, mask=None, taps=names, wrt=())
        recipe = replace(stage.recipe, options=options, mask="reuse")
        reducer = replace(stage.reducer, sweep=f"incremental: {found.share:.0%} of the multiply-adds of a full sweep")
        again = replace(stage, recipe=recipe, sampler=replace(stage.sampler, caches=len(names)), reducer=reducer)
        return replace(plan, stages=(Stage(look, Once(), Keep()), again), by_row=True)

    def _of_features(self, role: str) -> tuple[int, int]:
        """Returns window and stride over tokens or columns."""
        window = self.window or (1,)
        stride = (self.stride,) if isinstance(self.stride, int) else self.stride or (max(1, window[0] // 2),)
        if len(window) != 1 or len(stride) != 1 or window[0] < 1 or stride[0] < 1:
            raise MethodError(
                f"occlusion: window={list(window)}, stride={list(stride)}; {role} have one axis: give one number from "
                "1 each"
            )
        return window[0], stride[0]

    def _on_axes(self, port: Port) -> tuple[Sequence[int | None], tuple[int, ...]]:
        """Returns window (None: all of an axis) and stride on every axis but the batch."""
        sizes = port.shape[1:]
        window: Sequence[int | None]
        if self.window is not None:
            window = self.window
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
        if isinstance(self.stride, int):
            stride: tuple[int, ...] = (self.stride,) * len(sizes)
        elif self.stride is not None:
            stride = self.stride
        else:
            channels = (port.channel_axis or 1) - 1
            halves = [max(1, (own or 1) // 2) for own in window]
            stride = tuple((window[i] or 1) if i == channels else half for i, half in enumerate(halves))
        if len(window) != len(sizes) or len(stride) != len(sizes):
            raise MethodError(
                f"occlusion: window={list(window)}, stride={list(stride)} do not fit samples of shape {list(sizes)}; "
                "give one number per axis, channels included"
            )
        if min(own or 1 for own in window) < 1 or min(stride) < 1:
            raise MethodError(f"occlusion: window={list(window)}, stride={list(stride)}; both count from 1")
        for own, size in zip(window, sizes, strict=True):
            if own is not None and isinstance(size, int) and own > size:
                raise MethodError(f"occlusion: window={list(window)} is larger than the sample, {list(sizes)}")
        return window, stride
