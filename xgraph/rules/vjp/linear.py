"""Matrix products: the gradient of A B is g Bᵀ for A and Aᵀ g for B."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xgraph.graph.arithmetic import positions
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dims, need_static, not_fixed, rank
from xgraph.graph.site import Site
from xgraph.graph.walk import unbroadcast
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.shaping import cast_like, expand_like, like


@vjp("MatMul", broadcasts=True)
def mat_mul(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dA`` = g Bᵀ, dB = Aᵀ g; a vector counts as one row (A) or one column (B)."""
    left, right = s.input(0), s.input(1)
    row, column = rank(left) == 1, rank(right) == 1
    if column:
        g = b.Unsqueeze(g, [-1])
    if row:
        g = b.Unsqueeze(g, [-2])
    d_left = d_right = None
    if s.wants[0]:
        matrix = b.Unsqueeze(right, [1]) if column else right
        d_left = b.MatMul(g, _transposed(b, matrix))
        d_left = b.Squeeze(d_left, [-2]) if row else d_left
    if s.wants[1]:
        matrix = b.Unsqueeze(left, [0]) if row else left
        d_right = _right(b, matrix, g, right)
        d_right = b.Squeeze(d_right, [-1]) if column else d_right
    return [d_left, d_right]


@vjp("Gemm")
def gemm(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """With Y = α A' B' + β C: dA' = α g B'ᵀ, dB' = α A'ᵀ g, dC = β g."""
    left, right = s.input(0), s.input(1)
    flip_left, flip_right = s.attr("transA", 0), s.attr("transB", 0)
    alpha, beta = s.attr("alpha", 1.0), s.attr("beta", 1.0)
    answers: list[Value | None] = [None] * len(s.x)
    if s.wants[0]:
        if flip_left:
            answers[0] = like(b.Gemm(right, g, alpha=alpha, transA=flip_right, transB=1), left)
        else:
            answers[0] = like(b.Gemm(g, right, alpha=alpha, transB=1 - flip_right), left)
    if s.wants[1]:
        if flip_right:
            answers[1] = like(b.Gemm(g, left, alpha=alpha, transA=1, transB=flip_left), right)
        else:
            answers[1] = like(b.Gemm(left, g, alpha=alpha, transA=1 - flip_left), right)
    if len(s.x) > 2 and s.wants[2]:
        answers[2] = unbroadcast(b, g if beta == 1.0 else b.Mul(g, beta), s.input(2))
    return answers


@vjp("Einsum", broadcasts=True)
def einsum(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """The gradient of one operand is the Einsum of g with the others, to the indices of that operand."""
    terms, out = _equation(s)
    answers: list[Value | None] = []
    for i, once in enumerate(terms):
        if not s.wants[i]:
            answers.append(None)
            continue
        term, diagonals = _named_apart(once, {*out}.union(*terms))
        others = [(other, s.input(j)) for j, other in enumerate(terms) if j != i]
        others += [(pair, _identity(b, s.input(i), term.index(pair[1]))) for pair in diagonals]
        reach = set(out).union(*(other for other, _ in others))
        found = "".join(index for index in term if index in reach)
        equation = ",".join([out, *(other for other, _ in others)]) + "->" + found
        share = b.Einsum(g, *(operand for _, operand in others), equation=equation)
        # An index that only this operand has was summed: its gradient is the same all along it.
        summed = [axis for axis, index in enumerate(term) if index not in reach]
        answers.append(expand_like(b, b.Unsqueeze(share, summed), s.input(i)) if summed else share)
    return answers


@vjp("Det", needs=lambda s: not_fixed(s.input(0), [-1]))
def det(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """``dX`` = g cof X, each cofactor being a determinant itself, so that singular matrices have one too."""
    x = s.input(0)
    g = b.Unsqueeze(g, [-2, -1])
    (n,) = need_static(x, slice(-1, None))
    if n == 1:
        return [g]
    others = np.stack([np.delete(np.arange(n), i) for i in range(n)])
    rows = b.Gather(x, others, axis=rank(x) - 2)
    minors = b.Gather(rows, others, axis=rank(x))
    # [.., row left out, rows, column left out, columns]
    ahead = list(range(rank(x) - 2))
    k = len(ahead)
    minors = b.Det(b.Transpose(minors, perm=[*ahead, k, k + 2, k + 1, k + 3]))
    signs = (-1.0) ** np.add.outer(np.arange(n), np.arange(n))
    return [like(b.Mul(g, b.Mul(minors, cast_like(b, b.constant(signs), x))), x)]


def _named_apart(term: str, taken: set[str]) -> tuple[str, list[str]]:
    """Gives an index that occurs again a name of its own; returns the pairs of names that stand for one index."""
    spare = (chr(code) for code in (*range(65, 91), *range(97, 123)) if chr(code) not in taken)
    apart, pairs = "", []
    for index in term:
        fresh = next(spare) if index in apart else index
        pairs += [index + fresh] if fresh != index else []
        apart += fresh
    return apart, pairs


def _identity(b: Emit, x: Value, axis: int) -> Value:
    """Returns the identity matrix of the size of ``x`` along ``axis``."""
    places = positions(b, x, axis)
    return cast_like(b, b.Equal(b.Unsqueeze(places, [1]), b.Unsqueeze(places, [0])), x)


def _transposed(b: Emit, matrix: Value) -> Value:
    n = rank(matrix)
    return b.Transpose(matrix, perm=[*range(n - 2), n - 1, n - 2])


def _right(b: Emit, left: Value, g: Value, right: Value) -> Value:
    """Emits Aᵀ g; to one B shared by a batch the batch is more rows, so that nothing is summed after."""
    rows, columns = (dims(left) or ())[-1], (dims(g) or ())[-1]
    if rank(right) == 2 and rank(left) > 2 and isinstance(rows, int) and isinstance(columns, int):
        left, g = b.Reshape(left, [-1, rows]), b.Reshape(g, [-1, columns])
        return like(b.Gemm(left, g, transA=1), right)
    return b.MatMul(_transposed(b, left), g)


def _equation(s: Site) -> tuple[list[str], str]:
    """Returns the index letters of the operands and of the output, with ellipses spelled out."""
    equation = str(s.attr("equation")).replace(" ", "")
    left, arrow, out = equation.partition("->")
    terms = left.split(",")
    letters = [letter for letter in left if letter.isalpha()]
    if not arrow:
        # Implicit output: the ellipsis, then every index that occurs once, in alphabetical order.
        out = "..." * ("..." in left) + "".join(sorted({x for x in letters if letters.count(x) == 1}))
    spare = [chr(code) for code in (*range(65, 91), *range(97, 123)) if chr(code) not in letters]
    widths = [rank(s.input(i)) - len(term.replace("...", "")) for i, term in enumerate(terms)]
    width = max([w for w, term in zip(widths, terms, strict=True) if "..." in term], default=0)
    ellipsis = "".join(spare[:width])
    terms = [term.replace("...", ellipsis[width - w :]) for w, term in zip(widths, terms, strict=True)]
    return terms, out.replace("...", ellipsis)
