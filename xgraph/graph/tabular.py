"""What the operators of ``ai.onnx.ml`` have in common: attributes as arrays, rows as float32, kernels."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import onnx_ir as ir

from xgraph.errors import GraphError
from xgraph.graph.emit import Emit, Value
from xgraph.graph.shapes import dims
from xgraph.graph.site import Site


def floats(s: Site, name: str) -> np.ndarray:
    """Returns an attribute that is a list of floats; empty where it is missing."""
    return np.asarray(s.attr(name, ()), np.float32)


def single(b: Emit, x: Value) -> Value:
    """Returns ``x`` as float32."""
    return x if x.dtype == ir.DataType.FLOAT else b.cast(x, np.dtype(np.float32))


def rows(b: Emit, x: Value) -> Value:
    """Returns ``x`` as float32 of shape (rows, features); a vector is one row."""
    known = dims(x)
    return single(b, b.Unsqueeze(x, [0]) if known is not None and len(known) == 1 else x)


def decisions(b: Emit, s: Site) -> Value:
    """Returns (rows, pairs) of an SVMClassifier: Σ_i c_i k(x, v_i) + ρ of the classes (0, 1), (0, 2) .. (1, 2) ..

    Of a pair (i, j) count the vectors of class i with row j - 1 of the coefficients, and those of class j with row i.
    """
    owners = np.repeat(np.arange(len(s.ints("vectors_per_class", ()))), s.ints("vectors_per_class", ()))
    table = floats(s, "coefficients").reshape(-1, len(owners))
    pairs = list(combinations(range(len(s.ints("vectors_per_class", ()))), 2))
    weights = np.stack([np.where(owners == i, table[j - 1], np.where(owners == j, table[i], 0)) for i, j in pairs])
    kernels = kernel(b, s, rows(b, s.input(0)), floats(s, "support_vectors").reshape(len(owners), -1))
    return b.Gemm(kernels, weights.T.copy(), floats(s, "rho")[: len(pairs)])


def kernel(b: Emit, s: Site, x: Value, vectors: np.ndarray) -> Value:
    """Returns k(x, v) (rows, vectors): x·v, (γ x·v + r)^d, exp(-γ |x - v|²) or tanh(γ x·v + r)."""
    gamma, shift, degree = (*(float(p) for p in s.attr("kernel_params", ())), 0.0, 0.0, 0.0)[:3]
    kind = str(s.attr("kernel_type", "LINEAR"))
    if kind == "RBF":
        # Not |x|² - 2 x·v + |v|², which cancels in float32 where features are not scaled.
        apart = b.Sub(b.Unsqueeze(x, [1]), vectors[None])
        return b.Exp(b.Mul(b.ReduceSum(b.Mul(apart, apart), [2], keepdims=0), -gamma))
    products = b.MatMul(x, vectors.T.copy())
    if kind == "LINEAR":
        return products
    inner = b.Add(b.Mul(products, gamma), shift)
    if kind == "POLY":
        return b.Pow(inner, degree)
    if kind == "SIGMOID":
        return b.Tanh(inner)
    raise GraphError(f"{s.op} '{s.node.name}' has the unknown kernel '{kind}'")
