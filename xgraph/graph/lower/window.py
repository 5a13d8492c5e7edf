"""Window: the geometry that convolutions and pools share.

Output ``o`` of an axis reads the inputs ``o * stride + k * dilation - begin`` for ``k = 0 .. kernel - 1``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xgraph.errors import GraphError
from xgraph.graph.shapes import dims, static
from xgraph.graph.site import Site


@dataclass(frozen=True, slots=True)
class Window:
    """Windows over the spatial axes.

    Attributes:
        kernel: taps per axis.
        strides: step from one window to the next.
        dilations: step from one tap to the next.
        begins: padding in front; None where it follows from sizes that are not static (``auto_pad=SAME_*``).
        ends: padding behind, likewise.
        same: ``"SAME_UPPER"`` or ``"SAME_LOWER"`` as far as padding is not resolved, else ``""``.
        sizes: static sizes of the input, or None.
        outputs: static sizes of the output, or None.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...] | None
    ends: tuple[int, ...] | None
    same: str
    sizes: tuple[int, ...] | None
    outputs: tuple[int, ...] | None

    @property
    def reach(self) -> tuple[int, ...]:
        """Inputs from the first to the last tap of a window: ``(kernel - 1) * dilation + 1``."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def unit_stride(self) -> bool:
        """Whether every stride is 1."""
        return all(stride == 1 for stride in self.strides)

    @property
    def dense(self) -> bool:
        """Whether every dilation is 1."""
        return all(dilation == 1 for dilation in self.dilations)

    def covered(self) -> tuple[int, ...]:
        """Returns the padded sizes that the windows span: ``(outputs - 1) * stride + reach``."""
        if self.outputs is None:
            raise GraphError("the windows of dynamic sizes are not countable")
        return tuple((o - 1) * s + r for o, s, r in zip(self.outputs, self.strides, self.reach, strict=True))


def read_window(s: Site, kernel: Sequence[int]) -> Window:
    """Reads the window attributes of an adjoint node whose output has the shape of the forward input."""
    n = len(kernel)
    strides = tuple(s.ints("strides", [1] * n))
    dilations = tuple(s.ints("dilations", [1] * n))
    sizes = static(s.y[0], slice(2, None))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    mode = s.attr("auto_pad", "NOTSET")
    same = ""
    begins: tuple[int, ...] | None
    ends: tuple[int, ...] | None
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        if sizes is not None:
            totals = [
                max((-(-size // t) - 1) * t + r - size, 0) for size, t, r in zip(sizes, strides, reach, strict=True)
            ]
        elif all(stride == 1 for stride in strides):
            totals = [r - 1 for r in reach]
        else:
            totals = None
        if totals is None:
            same, begins, ends = mode, None, None
        else:
            small, large = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
            begins, ends = (small, large) if mode == "SAME_UPPER" else (large, small)
    elif mode in ("NOTSET", "VALID"):
        pads = s.ints("pads", [0] * (2 * n)) if mode == "NOTSET" else [0] * (2 * n)
        begins, ends = tuple(pads[:n]), tuple(pads[n:])
    else:
        raise GraphError(f"{s.op} '{s.node.name}' has auto_pad='{mode}'; the standard knows no such mode")
    outputs = None
    if sizes is not None and begins is not None and ends is not None:
        outputs = _outputs(s, sizes, begins, ends, strides, reach)
    return Window(tuple(kernel), strides, dilations, begins, ends, same, sizes, outputs)


def _outputs(
    s: Site,
    sizes: Sequence[int],
    begins: Sequence[int],
    ends: Sequence[int],
    strides: Sequence[int],
    reach: Sequence[int],
) -> tuple[int, ...]:
    """Returns the output sizes: those of the gradient where they are annotated, else the standard's formula."""
    known = dims(s.input(0))
    counted = []
    for i, size in enumerate(sizes):
        annotated = known[i + 2] if known is not None else None
        if isinstance(annotated, int):
            counted.append(annotated)
            continue
        free = size + begins[i] + ends[i] - reach[i]
        count = (-(-free // strides[i]) if s.attr("ceil_mode", 0) else free // strides[i]) + 1
        # A window must not start in the padding behind the input.
        while count > 1 and (count - 1) * strides[i] >= size + begins[i] and s.attr("ceil_mode", 0):
            count -= 1
        counted.append(count)
    return tuple(counted)
