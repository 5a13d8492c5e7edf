"""Matrix products: the gradient of A B is g Bᵀ for A and Aᵀ g for B."""

from __future__ import annotations

from collections.abc import Sequence

from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dims, rank
from xgraph.graph.site import Site
from xgraph.graph.walk import unbroadcast
from xgraph.rules.vjp.book import vjp
from xgraph.rules.vjp.shaping import expand_like, like


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


def _diagonal(s: Site) -> str | None:
    terms, out = _equation(s)
    twice = any(len(set(term)) < len(term) for term in [*terms, out])
    return "no index twice in one operand (a diagonal)" if twice else None


@vjp("Einsum", broadcasts=True, needs=_diagonal)
def einsum(b: Emit, s: Site, g: Value) -> Sequence[Value | None]:
    """The gradient of one operand is the Einsum of g with the others, to the indices of that operand."""
    terms, out = _equation(s)
    answers: list[Value | None] = []
    for i, term in enumerate(terms):
        if not s.wants[i]:
            answers.append(None)
            continue
        others = [j for j in range(len(terms)) if j != i]
        reach = set(out).union(*(terms[j] for j in others))
        found = "".join(index for index in term if index in reach)
        equation = ",".join([out, *(terms[j] for j in others)]) + "->" + found
        share = b.Einsum(g, *(s.input(j) for j in others), equation=equation)
        # An index that only this operand has was summed: its gradient is the same all along it.
        summed = [axis for axis, index in enumerate(term) if index not in reach]
        answers.append(expand_like(b, b.Unsqueeze(share, summed), s.input(i)) if summed else share)
    return answers


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
