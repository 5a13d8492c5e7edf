"""Occlusion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from xgraph.errors import MethodError
from xgraph.methods.masked import baselines_for, feature_map, masked_parts, score_plan, score_recipe
from xgraph.methods.registry import register
from xgraph.methods.sliding import over_axes, over_features, reusing
from xgraph.plan import Plan, Stage
from xgraph.reducing import FeatureMeans, Keep, WindowDrops
from xgraph.sampling import LeaveOut, MaskedFeatures, Once, Windows
from xgraph.sampling.windows import clean_names

if TYPE_CHECKING:
    from xgraph.model import Model
    from xgraph.of import Of
    from xgraph.target import Target


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

    def objective(self, model: Model, output: str | None = None) -> Of:
        """Returns what is explained unless the caller says."""
        return "probability" if self.variant == "interpretdl" else "logit"

    @property
    def steps(self) -> int | tuple[int, ...] | None:
        """The stride, where one was given or InterpretDL has one by default."""
        return 1 if self.stride is None and self.variant == "interpretdl" else self.stride

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
            window, stride = over_features(self.window, self.steps, parts[0].role)
            columns = [size for port in ports for size in port.shape[1:] if port.role != "tokens"]
            if columns and all(isinstance(size, int) for size in columns) and window > sum(map(int, columns)):
                raise MethodError(f"occlusion: window={[window]} is larger than the sample, {columns}")
            sampler = MaskedFeatures(feature_map(model, parts, None, False), LeaveOut(window, stride), baselines)
            recipe = score_recipe(model, target, places, "segments")
            return score_plan(recipe, places, sampler, FeatureMeans("drop" if normalise else "sum"))
        if len(ports) > 1:
            raise MethodError(f"occlusion: {len(ports)} inputs are explained; choose one with wrt='input:NAME'")
        size, step = over_axes(self.window, self.steps, ports[0])
        # A window that covers an axis is told apart, so that its graph takes any size there.
        whole = [None if own == have else own for own, have in zip(size, ports[0].shape[1:], strict=True)]
        recipe = score_recipe(model, target, places, "window", size=tuple(whole))
        windows, drops = Windows(parts[0], tuple(size), step, baselines), WindowDrops(normalise)
        found = None if self.incremental is False else reusing(model, ports[0], size, step)
        if isinstance(found, str) and self.incremental:
            raise MethodError(f"occlusion: incremental=true, but {found}; leave it out for a full sweep")
        if found is None or isinstance(found, str):
            sweep = "full" if found is None else f"full, because {found}"
            return score_plan(recipe, places, windows, replace(drops, sweep=sweep))
        options, names = (("starts", found.starts), ("window", found.window)), clean_names(len(found.caches))
        look = replace(recipe, readout="clean", options=options, mask=None, taps=names, wrt=())
        sweep = f"incremental: {found.share:.0%} of the multiply-adds of a full one"
        again = Stage(
            replace(recipe, options=options, mask="reuse"),
            replace(windows, caches=len(names)),
            replace(drops, sweep=sweep),
        )
        return Plan((Stage(look, Once(), Keep()), again), tuple(place.label for place in places), by_row=True)
