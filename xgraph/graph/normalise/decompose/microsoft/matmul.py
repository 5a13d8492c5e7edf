"""Matrix products with transposes, factors and activations fused into them."""

from __future__ import annotations

from collections.abc import Sequence

from xgraph.graph.emit import Emit, Value
from xgraph.graph.normalise.decompose.microsoft.activation import activated_by_name
from xgraph.graph.shapes import rank
from xgraph.graph.site import Site


def fused_matmul(b: Emit, s: Site) -> Sequence[Value]:
    """``alpha A' B'``; each operand may be transposed, and have its first axis moved behind its batch axes."""
    left = _operand(b, s.input(0), s.attr("transBatchA", 0), s.attr("transA", 0))
    right = _operand(b, s.input(1), s.attr("transBatchB", 0), s.attr("transB", 0))
    alpha = float(s.attr("alpha", 1.0))
    # The factor goes to the query side, where recognisers of attention look for it.
    return [b.MatMul(left if alpha == 1.0 else b.Mul(left, alpha), right)]


def fused_gemm(b: Emit, s: Site) -> Sequence[Value]:
    """An activation of ``alpha A' B' + beta C``."""
    attributes = {name: value for name, value in s.attributes().items() if not name.startswith("activation")}
    return [activated_by_name(b, s, b.Gemm(s.input(0), s.input(1), s.input(2) if s.has(2) else None, **attributes))]


def _operand(b: Emit, x: Value, batch: int, transposed: int) -> Value:
    axes = list(range(rank(x)))
    if len(axes) < 2:
        return x
    if batch:
        axes = [*axes[1:-1], axes[0], axes[-1]]
    if transposed:
        axes = [*axes[:-2], axes[-1], axes[-2]]
    return x if axes == sorted(axes) else b.Transpose(x, perm=axes)


MATMULS = {"FusedGemm": fused_gemm, "FusedMatMul": fused_matmul, "TransposeMatMul": fused_matmul}
