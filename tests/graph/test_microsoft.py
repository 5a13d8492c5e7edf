"""Operators of ONNX Runtime's own domains: taken apart, they compute what ONNX Runtime computes with them."""

from __future__ import annotations

import re
from math import erf as _erf

import ml_dtypes
import numpy as np
import pytest
from graph.pulled import gradients
from integers import exact_products

from xgraph.errors import GraphError
from xgraph.graph.normalise import normalise
from xgraph.graph.normalise.decompose.microsoft.nchwc import unblocked

DOMAINS = ', "com.microsoft": 1, "com.microsoft.nchwc": 1'


def array(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def whole(low, high, *shape, dtype=np.int32, seed=0):
    return np.random.default_rng([seed, *shape]).integers(low, high, shape).astype(dtype)


def signed(*shape, seed=0):
    return whole(-100, 100, *shape, dtype=np.int8, seed=seed)


def signed4(*shape, seed=0):
    return whole(-8, 8, *shape, dtype=np.int8, seed=seed).astype(ml_dtypes.int4)


def unsigned(*shape, seed=0):
    return whole(0, 256, *shape, dtype=np.uint8, seed=seed)


def scalar(number, dtype=np.float32):
    return np.asarray(number, dtype)


GRID = {
    "sa": scalar(0.03),
    "za": scalar(7, np.uint8),
    "sb": scalar(0.02),
    "zb": scalar(120, np.uint8),
    "sy": scalar(0.05),
    "zy": scalar(100, np.uint8),
}
BERT = {"g": array(8, seed=1), "c": array(8, seed=2), "k": array(8, seed=3)}
TABLES = {"w": array(11, 8), "p": array(9, 8, seed=1), "s": array(2, 8, seed=2)}
PACKED = {"w": array(8, 24), "c": array(24)}
CONV = {"w": array(6, 3, 3, 3), "c": array(6)}


def rotary(width):
    angles = np.arange(12)[:, None] * np.linspace(0.1, 1, width // 2)
    return {"cos": np.cos(angles).astype(np.float32), "sin": np.sin(angles).astype(np.float32)}


def tokens(new, *, rows=2, capacity=None, lengths=None, packed=False, bias=False):
    """Returns what GroupQueryAttention reads of 4 heads and 2 for keys, each of 16 numbers."""
    lengths = np.asarray(lengths if lengths is not None else [new + (capacity or 0)] * rows, np.int32)
    feeds = {"q": array(rows, new, 64), "k": array(rows, new, 32), "v": array(rows, new, 32, seed=1)}
    feeds = {"x": np.concatenate(list(feeds.values()), 2)} if packed else feeds
    if capacity is not None:
        feeds |= {name: array(rows, 2, capacity, 16, seed=i) for i, name in enumerate("ab")}
    if bias:
        feeds["r"] = array(1, 4, new, lengths.max())
    return {**feeds, "n": lengths - 1, "t": lengths.max(keepdims=True)}


# Name -> (operator call, its inputs as "name: array", constants).
CASES = {
    "Gelu": ("Gelu(x)", {"x": array(2, 5)}, {}),
    "FastGelu": ("FastGelu(x)", {"x": array(2, 5)}, {}),
    "FastGelu with a bias": ("FastGelu(x, c)", {"x": array(2, 5)}, {"c": array(5)}),
    "BiasGelu": ("BiasGelu(x, c)", {"x": array(2, 5)}, {"c": array(5)}),
    "QuickGelu": ("QuickGelu(x)", {"x": array(2, 5)}, {}),
    "QuickGelu of factor 1": ("QuickGelu<alpha = 1.0>(x)", {"x": array(2, 5)}, {}),
    "FusedMatMul": ("FusedMatMul<alpha = 0.5>(x, y)", {"x": array(2, 3, 4), "y": array(2, 4, 5)}, {}),
    "FusedMatMul transposed": (
        "FusedMatMul<transA = 1, transB = 1>(x, y)",
        {"x": array(2, 4, 3), "y": array(2, 5, 4)},
        {},
    ),
    "FusedMatMul of batches behind": (
        "FusedMatMul<transBatchA = 1, transBatchB = 1, transB = 1>(x, y)",
        {"x": array(3, 2, 6, 4), "y": array(5, 2, 6, 4)},
        {},
    ),
    "FusedMatMul of both": (
        "FusedMatMul<transBatchA = 1, transA = 1>(x, y)",
        {"x": array(4, 2, 3), "y": array(2, 4, 5)},
        {},
    ),
    "TransposeMatMul": ("TransposeMatMul<transA = 1, alpha = 2.0>(x, y)", {"x": array(4, 3), "y": array(4, 5)}, {}),
    "FusedGemm": (
        'FusedGemm<activation = "Relu", alpha = 0.5, transB = 1>(x, y, z)',
        {"x": array(3, 4), "y": array(5, 4), "z": array(5)},
        {},
    ),
    "FusedGemm leaky": (
        'FusedGemm<activation = "LeakyRelu", activation_alpha = 0.2>(x, y)',
        {"x": array(3, 4), "y": array(4, 5)},
        {},
    ),
    "FusedConv without": ("FusedConv(x, w)", {"x": array(2, 3, 6, 6)}, CONV),
    **{
        f"FusedConv {kind}": (
            f'FusedConv<activation = "{kind}", pads = [1, 1, 1, 1], strides = [2, 2]>(x, w, c)',
            {"x": array(2, 3, 6, 6)},
            CONV,
        )
        for kind in ("Relu", "Tanh", "Sigmoid")
    },
    "FusedConv LeakyRelu": (
        'FusedConv<activation = "LeakyRelu", activation_params = [0.3]>(x, w, c)',
        {"x": array(2, 3, 6, 6)},
        CONV,
    ),
    "FusedConv Clip": (
        'FusedConv<activation = "Clip", activation_params = [-1.0, 2.0]>(x, w, c)',
        {"x": array(2, 3, 6, 6)},
        CONV,
    ),
    "FusedConv HardSigmoid": (
        'FusedConv<activation = "HardSigmoid", activation_params = [0.1, 0.4]>(x, w, c)',
        {"x": array(2, 3, 6, 6)},
        CONV,
    ),
    "FusedConv sum": (
        'FusedConv<activation = "Relu", kernel_shape = [3, 3]>(x, w, c, z)',
        {"x": array(2, 3, 6, 6), "z": array(2, 6, 4, 4)},
        CONV,
    ),
    "NhwcMaxPool": ("NhwcMaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x)", {"x": signed(2, 6, 4, 3)}, {}),
    "ConvTransposeWithDynamicPads": (
        "ConvTransposeWithDynamicPads<strides = [2, 2]>(x, w, p)",
        {"x": array(2, 3, 5, 5)},
        {"w": array(3, 4, 3, 3), "p": np.asarray([1, 1, 1, 1])},
    ),
    "SkipLayerNormalization": (
        "SkipLayerNormalization(x, y, g, c, k)",
        {"x": array(2, 3, 8), "y": array(2, 3, 8, seed=1)},
        BERT,
    ),
    "SkipLayerNormalization sum": (
        "SkipLayerNormalization<epsilon = 0.01>(x, y, g, c) -> , , ,",
        {"x": array(2, 3, 8), "y": array(3, 8)},
        BERT,
    ),
    "SkipSimplifiedLayerNormalization": (
        "SkipSimplifiedLayerNormalization(x, y, g, k)",
        {"x": array(2, 3, 8), "y": array(2, 3, 8, seed=1)},
        BERT,
    ),
    "EmbedLayerNormalization": (
        "EmbedLayerNormalization(i, t, w, p, s, g, c, m) -> ,",
        {"i": whole(0, 11, 2, 5), "t": whole(0, 2, 2, 5, seed=1), "m": whole(0, 2, 2, 5, seed=2)},
        {**TABLES, **BERT},
    ),
    "EmbedLayerNormalization positions": (
        "EmbedLayerNormalization(i, , w, p, , g, c, , q) -> ,,",
        {"i": whole(0, 11, 2, 5), "q": whole(0, 9, 2, 5, seed=3)},
        {**TABLES, **BERT},
    ),
    "Attention": ("Attention<num_heads = 2>(x, w, c)", {"x": array(2, 5, 8)}, PACKED),
    "Attention scale": ("Attention<num_heads = 2, scale = 0.2>(x, w, c)", {"x": array(2, 5, 8)}, PACKED),
    "Attention mask": ("Attention<num_heads = 2>(x, w, c, m)", {"x": array(2, 5, 8), "m": whole(0, 2, 2, 5)}, PACKED),
    "Attention mask of pairs": (
        "Attention<num_heads = 2>(x, w, c, m)",
        {"x": array(2, 5, 8), "m": whole(0, 2, 2, 5, 5)},
        PACKED,
    ),
    "Attention lengths": (
        "Attention<num_heads = 2>(x, w, c, m)",
        {"x": array(2, 5, 8), "m": np.asarray([3, 5], np.int32)},
        PACKED,
    ),
    "Attention causal": ("Attention<num_heads = 2, unidirectional = 1>(x, w, c)", {"x": array(2, 5, 8)}, PACKED),
    "Attention bias": (
        "Attention<num_heads = 2>(x, w, c, , , r)",
        {"x": array(2, 5, 8), "r": array(1, 2, 5, 5)},
        PACKED,
    ),
    "Attention past": (
        "Attention<num_heads = 2, unidirectional = 1>(x, w, c, , p) -> ,",
        {"x": array(2, 5, 8), "p": array(2, 2, 2, 3, 4)},
        PACKED,
    ),
    "Attention of other widths": (
        "Attention<num_heads = 2, qkv_hidden_sizes = [8, 8, 12]>(x, w, c)",
        {"x": array(2, 5, 8)},
        {"w": array(8, 28), "c": array(28)},
    ),
    "MultiHeadAttention": (
        "MultiHeadAttention<num_heads = 2>(q, k, v)",
        {"q": array(2, 5, 8), "k": array(2, 6, 8), "v": array(2, 6, 8, seed=1)},
        {},
    ),
    "MultiHeadAttention bias": (
        "MultiHeadAttention<num_heads = 2, scale = 0.3>(q, k, v, c, m, r)",
        {
            "q": array(2, 5, 8),
            "k": array(2, 6, 8),
            "v": array(2, 6, 8, seed=1),
            "m": whole(0, 2, 2, 6),
            "r": array(2, 2, 5, 6),
        },
        {"c": array(24)},
    ),
    "MultiHeadAttention of heads": (
        "MultiHeadAttention<num_heads = 2>(q, k, v)",
        {"q": array(2, 5, 8), "k": array(2, 2, 6, 4), "v": array(2, 2, 6, 4, seed=1)},
        {},
    ),
    "MultiHeadAttention causal with a past": (
        "MultiHeadAttention<num_heads = 2, unidirectional = 1>(q, k, v, , , , a, b) -> ,,",
        {
            "q": array(2, 5, 8),
            "k": array(2, 5, 8, seed=1),
            "v": array(2, 5, 8, seed=2),
            "a": array(2, 2, 3, 4),
            "b": array(2, 2, 3, 4, seed=1),
        },
        {},
    ),
    **{
        f"RotaryEmbedding {kind}": (f"RotaryEmbedding<{attributes}>(x, i, cos, sin)", {"x": x, "i": i}, tables)
        for kind, attributes, x, i, tables in (
            ("", "num_heads = 2", array(2, 5, 16), whole(0, 12, 2, 5, dtype=np.int64), rotary(8)),
            ("from an offset", "num_heads = 2", array(2, 5, 16), np.asarray([3]), rotary(8)),
            ("of pairs", "interleaved = 1", array(2, 5, 16), np.asarray([0]), rotary(8)),
            ("of heads", "interleaved = 0", array(2, 2, 5, 8), whole(0, 12, 2, 5, dtype=np.int64), rotary(8)),
            (
                "of a part",
                "num_heads = 2, rotary_embedding_dim = 4",
                array(2, 5, 16),
                whole(0, 12, 2, 5, dtype=np.int64),
                rotary(4),
            ),
            (
                "of packed batches",
                "num_heads = 2, is_packed_batching = 1",
                array(2, 5, 16),
                whole(0, 12, 2, 5, dtype=np.int64),
                rotary(8),
            ),
        )
    },
    **{
        f"GroupQueryAttention {kind}": (
            f"GroupQueryAttention<num_heads = 4, kv_num_heads = 2{more}>({call}) -> ,,",
            feeds,
            rotary(16),
        )
        for kind, more, call, feeds in (
            ("", "", "q, k, v, , , n, t", tokens(5)),
            ("packed", ", scale = 0.3", "x, , , , , n, t", tokens(5, packed=True)),
            ("of ragged rows", "", "q, k, v, , , n, t", tokens(5, lengths=(3, 5))),
            ("local", ", local_window_size = 2", "q, k, v, , , n, t", tokens(5)),
            ("capped", ", softcap = 1.5", "q, k, v, , , n, t, , , , r", tokens(5, bias=True)),
            ("both ways", ", causal = 0", "q, k, v, , , n, t", tokens(5, lengths=(3, 5))),
            ("smooth", ", smooth_softmax = 1", "q, k, v, , , n, t", tokens(5)),
            ("with a sink", "", "q, k, v, , , n, t, , , , , h", {**tokens(5), "h": array(4)}),
            ("turned", ", do_rotary = 1", "q, k, v, , , n, t, cos, sin", tokens(5)),
            (
                "turned in pairs",
                ", do_rotary = 1, rotary_interleaved = 1",
                "x, , , , , n, t, cos, sin, p",
                {**tokens(5, packed=True), "p": 2 + np.tile(np.arange(5), (2, 1))},
            ),
            ("with an empty past", "", "q, k, v, a, b, n, t", tokens(5, capacity=0)),
            ("with a past", ", do_rotary = 1", "q, k, v, a, b, n, t, cos, sin", tokens(1, capacity=3)),
            ("with pasts of lengths", "", "q, k, v, a, b, n, t", tokens(1, capacity=6, lengths=(2, 4))),
            ("of two with a past", "", "q, k, v, a, b, n, t, , , , r", tokens(2, rows=1, capacity=3, bias=True)),
            (
                "with a roomy past",
                ", do_rotary = 1, local_window_size = 3",
                "q, k, v, a, b, n, t, cos, sin, p",
                {**tokens(1, capacity=9, lengths=(5, 5)), "p": np.asarray([[7], [2]])},
            ),
            (
                "prompted into a buffer",
                ", do_rotary = 1",
                "x, , , a, b, n, t, cos, sin",
                {**tokens(4, capacity=9, lengths=(3, 4), packed=True)},
            ),
        )
    },
    "MatMulNBits": (
        "MatMulNBits<K = 32, N = 5, block_size = 16, bits = 4>(x, w, s)",
        {"x": array(3, 32)},
        {"w": unsigned(5, 2, 8), "s": array(10)},
    ),
    "MatMulNBits zero points": (
        "MatMulNBits<K = 40, N = 5, block_size = 16, bits = 4>(x, w, s, z)",
        {"x": array(3, 40)},
        {"w": unsigned(5, 3, 8), "s": array(15), "z": unsigned(10)},
    ),
    "MatMulNBits of 8 bits": (
        "MatMulNBits<K = 32, N = 5, block_size = 16, bits = 8>(x, w, s)",
        {"x": array(3, 32)},
        {"w": unsigned(5, 2, 16), "s": array(10)},
    ),
    "MatMulBnb4": (
        "MatMulBnb4<K = 32, N = 5, block_size = 16, quant_type = 1>(x, w, s)",
        {"x": array(3, 32)},
        {"w": unsigned(80), "s": array(10)},
    ),
    **{
        f"GatherBlockQuantized {kind}": (
            f"GatherBlockQuantized<block_size = 16, quantize_axis = 1{more}>({call})",
            {"i": whole(0, 7, 2, 3, dtype=np.int64)},
            weights,
        )
        for kind, more, call, weights in (
            ("", ", bits = 4", "w, i, s", {"w": unsigned(7, 16), "s": array(7, 2)}),
            (
                "zero points",
                ", bits = 4",
                "w, i, s, z",
                {"w": unsigned(7, 24), "s": array(7, 3), "z": unsigned(7, 2)},
            ),
            ("of 8 bits", ", bits = 8", "w, i, s", {"w": unsigned(7, 32), "s": array(7, 2)}),
            (
                "of int4",
                ", gather_axis = 1",
                "w, i, s, z",
                {"w": signed4(5, 32), "s": array(5, 2), "z": signed4(5, 2, seed=1)},
            ),
        )
    },
    "Unique": ("Unique(x) -> ,,", {"x": np.asarray([2, 1, 1, 3, 4, 3], np.float32)}, {}),
    "CDist": ('CDist<metric = "euclidean">(x, y)', {"x": array(3, 4), "y": array(5, 4)}, {}),
    "CDist squared": ('CDist<metric = "sqeuclidean">(x, y)', {"x": array(3, 4), "y": array(5, 4)}, {}),
    "ExpandDims": ("ExpandDims(x, a)", {"x": array(3, 4)}, {"a": scalar(1, np.int32)}),
    "GatherND": ("GatherND(x, i)", {"x": array(3, 4)}, {"i": np.asarray([[0, 1], [2, 3]])}),
    "GridSample": (
        "GridSample<align_corners = 1>(x, g)",
        {"x": array(1, 2, 4, 4), "g": np.tanh(array(1, 3, 3, 2))},
        {},
    ),
    "Pad": ("Pad(x, p, v)", {"x": array(3, 4)}, {"p": np.asarray([1, 0, 0, 2]), "v": np.asarray([0.5], np.float32)}),
    "Range": ("Range(x, y)", {"x": np.asarray([1.0], np.float32), "y": np.asarray([5.0], np.float32)}, {}),
    "SampleOp": ("SampleOp(x)", {"x": array(3, 4)}, {}),
    "Trilu": ("Trilu<upper = 0>(x)", {"x": array(3, 4)}, {}),
    "QLinearAdd": ("QLinearAdd(x, sa, za, y, sb, zb, sy, zy)", {"x": unsigned(2, 3), "y": unsigned(3)}, GRID),
    "QLinearMul": (
        "QLinearMul(x, sa, za, y, sb, zb, sy, zy)",
        {"x": unsigned(2, 3), "y": unsigned(2, 3, seed=1)},
        GRID,
    ),
    "QLinearSigmoid": ("QLinearSigmoid(x, sa, za, sy, zy)", {"x": unsigned(2, 9)}, GRID),
    "QLinearLeakyRelu": ("QLinearLeakyRelu<alpha = 0.2>(x, sa, za, sy, zy)", {"x": unsigned(2, 9)}, GRID),
    "QLinearSoftmax": (
        "QLinearSoftmax<axis = -1, opset = 13>(x, sa, za, sy, zy)",
        {"x": unsigned(2, 9)},
        {**GRID, "sy": scalar(1 / 256), "zy": scalar(0, np.uint8)},
    ),
    "QLinearSoftmax of before opset 13": (
        "QLinearSoftmax<axis = 1, opset = 12>(x, sa, za, sy, zy)",
        {"x": unsigned(2, 3, 3)},
        {**GRID, "sy": scalar(1 / 256), "zy": scalar(0, np.uint8)},
    ),
    "QLinearConcat": (
        "QLinearConcat<axis = 1>(sy, zy, x, sa, za, y, sb, zb)",
        {"x": unsigned(2, 3), "y": unsigned(2, 4)},
        GRID,
    ),
    "QLinearGlobalAveragePool": ("QLinearGlobalAveragePool(x, sa, za, sy, zy)", {"x": unsigned(2, 3, 4, 4)}, GRID),
    "QLinearGlobalAveragePool last": (
        "QLinearGlobalAveragePool<channels_last = 1>(x, sa, za, sy, zy)",
        {"x": unsigned(2, 4, 4, 3)},
        GRID,
    ),
    "QLinearAveragePool": (
        "QLinearAveragePool<kernel_shape = [2, 2], strides = [2, 2]>(x, sa, za, sy, zy)",
        {"x": unsigned(2, 3, 4, 4)},
        GRID,
    ),
    "QLinearAveragePool last": (
        "QLinearAveragePool<kernel_shape = [2, 2], channels_last = 1>(x, sa, za, sy, zy)",
        {"x": unsigned(2, 4, 4, 3)},
        GRID,
    ),
    "QLinearWhere": (
        "QLinearWhere(c, x, sa, za, y, sb, zb, sy, zy)",
        {"c": whole(0, 2, 2, 3, dtype=bool), "x": unsigned(2, 3), "y": unsigned(2, 3, seed=1)},
        GRID,
    ),
    "QLinearConv last": (
        "QLinearConv<channels_last = 1, pads = [1, 1, 1, 1]>(x, sa, za, w, sw, zw, sy, zy, c)",
        {"x": unsigned(2, 5, 5, 4)},
        {
            **GRID,
            "w": signed(6, 4, 3, 3),
            "sw": np.abs(array(6)) * 0.01,
            "zw": np.zeros(6, np.int8),
            "c": whole(-99, 99, 6),
            "sy": scalar(0.5),
        },
    ),
    "QGemm": (
        "QGemm<alpha = 0.5, transB = 1>(x, sa, za, w, sb, zw, c, sy, zy)",
        {"x": unsigned(3, 4)},
        {**GRID, "w": signed(5, 4), "zw": scalar(3, np.int8), "c": whole(-99, 99, 5)},
    ),
    "QGemm to float": (
        "QGemm(x, sa, za, w, sb, zw)",
        {"x": unsigned(3, 4)},
        {**GRID, "w": signed(4, 5), "zw": scalar(3, np.int8)},
    ),
    "MatMulIntegerToFloat": (
        "MatMulIntegerToFloat(x, w, sa, sw, za, zw, c)",
        {"x": unsigned(3, 4)},
        {**GRID, "w": signed(4, 5), "sw": np.abs(array(5)), "zw": np.zeros(5, np.int8), "c": array(5)},
    ),
    "DynamicQuantizeMatMul": (
        "DynamicQuantizeMatMul(x, w, sb, zw, c)",
        {"x": array(3, 4)},
        {**GRID, "w": signed(4, 5), "zw": scalar(0, np.int8), "c": array(5)},
    ),
    "QAttention": (
        "QAttention<num_heads = 2>(x, w, c, sa, sb, m, za, zw)",
        {"x": unsigned(2, 5, 8), "m": whole(0, 2, 2, 5)},
        {**GRID, "w": signed(8, 24), "c": array(24), "zw": scalar(0, np.int8)},
    ),
    "QEmbedLayerNormalization": (
        "QEmbedLayerNormalization(i, t, w, p, s, g, k, , sa, sa, sa, sa, sa, za, za, za, za, za) -> ,",
        {"i": whole(0, 11, 2, 5), "t": whole(0, 2, 2, 5, seed=1)},
        {
            **GRID,
            "w": unsigned(11, 8),
            "p": unsigned(9, 8),
            "s": unsigned(2, 8),
            "g": unsigned(8),
            "k": unsigned(8, seed=1),
        },
    ),
    **{
        f"{op} of {kind}": (f"{op}({x}, sy, z)", {x: a}, {**GRID, "z": z})
        for kind, z in (
            ("16 bits", scalar(-300, np.int16)),
            ("unsigned 16 bits", scalar(300, np.uint16)),
            ("8 bits", scalar(3, np.int8)),
        )
        for op, x, a in (
            ("QuantizeLinear", "x", 2000 * array(3, 4)),
            ("DequantizeLinear", "q", whole(0, 120, 3, 4, dtype=z.dtype)),
        )
    },
    "DequantizeLinear along an axis": (
        "DequantizeLinear<axis = 0>(q, s, z)",
        {"q": whole(-999, 999, 3, 4, dtype=np.int16)},
        {"s": np.abs(array(3)), "z": whole(-9, 9, 3, dtype=np.int16)},
    ),
    "DequantizeLinear of int4": (
        "DequantizeLinear(w, sy, z)",
        {},
        {**GRID, "w": signed4(3, 4), "z": signed4()},
    ),
    "ConvInteger": (
        ".ConvInteger(x, w, za, zw)",
        {"x": unsigned(2, 3, 5, 5)},
        {**GRID, "w": signed(4, 3, 3, 3), "zw": scalar(3, np.int8)},
    ),
    "MatMulInteger": (
        ".MatMulInteger(x, w, za, zw)",
        {"x": unsigned(3, 4)},
        {**GRID, "w": signed(4, 5), "zw": signed(5, seed=1)},
    ),
    "QLinearConv": (
        ".QLinearConv<strides = [2, 2]>(x, sa, za, w, sw, zw, sy, zy, c)",
        {"x": unsigned(2, 4, 5, 5)},
        {
            **GRID,
            "w": signed(6, 4, 3, 3),
            "sw": np.abs(array(6)) * 0.01,
            "zw": np.zeros(6, np.int8),
            "c": whole(-99, 99, 6),
            "sy": scalar(0.5),
        },
    ),
    "QLinearMatMul": (
        ".QLinearMatMul(x, sa, za, w, sw, zw, sy, zy)",
        {"x": unsigned(3, 4)},
        {**GRID, "w": signed(4, 5), "sw": np.abs(array(5)) * 0.01, "zw": np.zeros(5, np.int8)},
    ),
    "DynamicQuantizeLinear": (".DynamicQuantizeLinear(x) -> ,,", {"x": array(3, 4)}, {}),
}

KINDS = {
    "f4": "float",
    "i4": "int32",
    "i8": "int64",
    "u1": "uint8",
    "i1": "int8",
    "i2": "int16",
    "u2": "uint16",
    "b1": "bool",
}


def model_of(name, parse, opset):
    call, feeds, weights = CASES[name]
    call, _, outputs = call.partition(" -> ")
    call = call.removeprefix(".") if call.startswith(".") else f"com.microsoft.{call}"
    names = [f"out{i}" for i in range(outputs.count(",") + 1)]
    declared = ", ".join(f"{KINDS[a.dtype.str[1:]]}{list(a.shape) or '[]'} {n}" for n, a in feeds.items())
    used = {n: a for n, a in weights.items() if n in call.replace("(", " ").replace(")", " ").replace(",", " ").split()}
    kinds = ", ".join(f"{ {'mask': 'int32'}.get(n, 'float') } {n}" for n in names)
    text = f"g ({declared}) => ({kinds}) {{ {', '.join(names)} = {call} }}"
    model = parse(text, opset=opset, weights=used, domains=DOMAINS)
    for value in model.graph.outputs:
        value.type = None  # ONNX Runtime infers it
    return model, feeds


SATURATING = ("QLinearConv last", "QAttention", "DynamicQuantizeMatMul")
"""Cases whose products do not fit into 16 bits."""


@pytest.mark.parametrize("name", CASES)
def test_same_numbers(name, parse, run):
    if name in SATURATING and not exact_products():
        pytest.skip("8-bit integer products saturate on this CPU (no VNNI)")
    model, feeds = model_of(name, parse, 18)
    expected = run(model, feeds)
    result = normalise(model)
    assert not {node.domain for node in result.graph} - {""}
    found = run(result, feeds)
    for want, have in zip(expected, found, strict=True):
        assert want.dtype == have.dtype
        assert want.shape == have.shape
        if want.dtype.kind == "f":
            np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-5 * np.abs(want).max(initial=1e-3))
        else:
            # Sums in int32 and in float may fall to either side of half a step.
            steps = np.abs(have.astype(int) - want.astype(int))
            assert steps.max() <= 1
            assert np.mean(steps != 0) <= 0.1


def convolved(x, w):
    """Channels last, a row of zeros above and below, weights (M, kh, kw, C)."""
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0))), w.shape[1:3], (1, 2)
    )
    return np.einsum("nhwcij,mijc->nhwm", windows, w)


def of_groups(*, groups=2, silu=False, epsilon=1e-5, last=True):
    def formula(x, w, c):
        n, *sides, channels = (x if last else np.moveaxis(x, 1, 3)).shape
        grouped = (x if last else np.moveaxis(x, 1, 3)).reshape(n, *sides, groups, -1)
        centred = grouped - grouped.mean((1, 2, 4), keepdims=True)
        y = centred / np.sqrt((centred**2).mean((1, 2, 4), keepdims=True) + epsilon)
        y = y.reshape(n, *sides, channels) * w + c
        y = y / (1 + np.exp(-y)) if silu else y
        return y if last else np.moveaxis(y, 3, 1)

    return formula


erf = np.vectorize(_erf, otypes=[np.float32])


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


SUMS = {
    "BiasSoftmax<axis = 3>(x, y)": lambda x, y: softmax(x + y, 3),
    "BiasSoftmax<axis = 2>(x, y)": lambda x, y: softmax(x + y, (2, 3)),
    "BiasAdd(x, y, x)": lambda x, y: 2 * x + y,
    "BiasDropout(x, y, y)": lambda x, y: x + 2 * y,
    "BiasSplitGelu(x, y)": lambda x, y: (
        (x + y)[..., :2] * 0.5 * (x + y)[..., 2:] * (1 + erf((x + y)[..., 2:] / 2**0.5))
    ),
}
CHANNELS = {"w": array(6), "c": array(6, seed=1), "k": array(6, seed=2)}
JUMPS = ("Range", "Unique", "DynamicQuantize", "QuantizeLinear")
"""How many numbers come out, or to which they are rounded, changes in jumps."""
SMOOTH = [
    name
    for name, (_, feeds, _) in CASES.items()
    if not name.startswith(JUMPS) and any(a.dtype == np.float32 for a in feeds.values())
]


@pytest.mark.parametrize("name", SMOOTH)
def test_gradient(name, parse, run):
    """Along a random direction, against differences of what ONNX Runtime computes with the operator itself."""
    model, feeds = model_of(name, parse, 18)
    for output in list(model.graph.outputs)[1:]:
        model.graph.outputs.remove(output)
    (y,) = run(model, feeds)
    g = array(*y.shape, seed=7)
    ways = {n: array(*a.shape, seed=8) for n, a in feeds.items() if a.dtype == np.float32 and a.size}
    step = 2e-3
    ends = (run(model, {**feeds, **{n: feeds[n] + sign * u for n, u in ways.items()}})[0] for sign in (step, -step))
    expected = np.sum(g * np.subtract(*ends, dtype=np.float64)) / (2 * step)
    found = gradients(normalise(model), run, {**feeds, "seed": g}, *ways, seed="seed")
    shares = [np.multiply(a, u, dtype=np.float64) for a, u in zip(found, ways.values(), strict=True)]
    noise = np.sqrt(sum(np.sum(share**2) for share in shares))
    assert abs(sum(share.sum() for share in shares) - expected) <= 5e-3 * noise


# Calls, what is fed, weights, and the formula.
FORMULAS = {
    **{call: (call, {"x": array(2, 3, 4, 4), "y": array(4)}, {}, formula) for call, formula in SUMS.items()},
    "NhwcConv": ("NhwcConv<pads = [1, 0, 1, 0]>(x, w)", {"x": array(2, 6, 5, 3)}, {"w": array(4, 3, 2, 3)}, convolved),
    **{
        f"GroupNorm {kind}": (f"GroupNorm<groups = 2{more}>(x, w, c)", {"x": x}, CHANNELS, of_groups(**how))
        for kind, more, x, how in (
            ("", ", activation = 0", array(2, 3, 5, 6), {}),
            ("SiLU", ", activation = 1, epsilon = 0.5", array(2, 3, 5, 6), {"silu": True, "epsilon": 0.5}),
            ("first", ", activation = 1, channels_last = 0", array(2, 6, 3, 5), {"silu": True, "last": False}),
        )
    },
    "SkipGroupNorm": (
        "SkipGroupNorm<groups = 2, activation = 1>(x, w, c, y, k)",
        {"x": array(2, 3, 5, 6), "y": array(2, 6)},
        CHANNELS,
        lambda x, y, w, c, k: of_groups(silu=True)(x + y[:, None, None] + k, w, c),
    ),
    "SkipGroupNorm of an image": (
        "SkipGroupNorm<groups = 3, activation = 0>(x, w, c, y)",
        {"x": array(2, 3, 5, 6), "y": array(2, 3, 5, 6, seed=1)},
        CHANNELS,
        lambda x, y, w, c: of_groups(groups=3)(x + y, w, c),
    ),
    "QLinearReduceMean": (
        "QLinearReduceMean<axes = [1, 3], keepdims = 0>(x, sa, za, sy, zy)",
        {"x": unsigned(2, 3, 4, 5)},
        GRID,
        lambda x, sa, za, sy, zy: np.clip(np.rint((x * 1.0 - za).mean((1, 3)) * sa / sy) + zy, 0, 255),
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_same_as_the_formula(name, parse, run):
    """ONNX Runtime has no CPU kernel for these."""
    call, feeds, weights, formula = FORMULAS[name]
    used = {n: a for n, a in weights.items() if n in re.findall(r"\w+", call.partition("(")[2])}
    kinds = ", ".join(f"{KINDS[a.dtype.str[1:]]}{list(a.shape)} {n}" for n, a in feeds.items())
    text = f"g ({kinds}) => (float out) {{ out = com.microsoft.{call} }}"
    (found,) = run(normalise(parse(text, weights=used, domains=DOMAINS)), feeds)
    np.testing.assert_allclose(found, formula(**feeds, **used), rtol=1e-4, atol=1e-5)


def test_inverse_stays_and_has_a_gradient(parse, run):
    """No operators of the standard invert a matrix."""
    x, g, u = (array(2, 3, 3, seed=i) for i in range(3))
    x += 3 * np.eye(3, dtype=np.float32)
    text = "g (float[2, 3, 3] x) => (float[2, 3, 3] z) { y = com.microsoft.Inverse(x) z = Mul(y, y) }"
    (found,) = gradients(normalise(parse(text, domains=DOMAINS)), run, {"x": x, "g": g}, "x")
    inverse = np.linalg.inv(x.astype(np.float64))
    np.testing.assert_allclose(np.sum(found * u), np.sum(2 * g * inverse * (-inverse @ u @ inverse)), rtol=1e-4)


@pytest.mark.parametrize("scales", [(2,), (2, 16)])
def test_quantised_lstm_stays_and_has_the_gradient_of_its_weights(scales, parse, run):
    weights = {"w": signed(2, 5, 16), "r": signed(2, 4, 16), "c": array(2, 32), "h": array(2, 3, 4)}
    grids = {"sw": 0.01 * np.abs(array(*scales)), "sr": 0.01 * np.abs(array(*scales, seed=1))}
    # ONNX Runtime wants zeros where there is one grid per gate.
    zeros = {"zw": signed(*scales, seed=1) * (len(scales) == 1), "zr": np.zeros(scales, np.int8)}
    form = '<hidden_size = 4, direction = "bidirectional">'
    native = parse(
        f"""g (float[6, 3, 5] x) => (float[6, 2, 3, 4] y)
        {{ y = com.microsoft.DynamicQuantizeLSTM{form}(x, w, r, c, , h, , , sw, zw, sr, zr) }}""",
        weights={**weights, **grids, **zeros},
        domains=DOMAINS,
    )
    floats = dict(weights)
    for n in "wr":
        scale, zero = (v.reshape(2, 1, -1) for v in (grids["s" + n], zeros["z" + n]))
        floats[n] = np.moveaxis((weights[n] - zero.astype(np.float32)) * scale, 1, 2).copy()
    plain = parse(
        f"g (float[6, 3, 5] x) => (float[6, 2, 3, 4] y) {{ y = LSTM{form}(x, w, r, c, , h) }}", weights=floats
    )
    feeds = {"x": array(6, 3, 5), "g": array(6, 2, 3, 4)}
    found, expected = (gradients(normalise(model), run, feeds, "x", "h", "c") for model in (native, plain))
    assert any(node.op_type == "DynamicQuantizeLSTM" for node in normalise(native).graph)
    for have, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("past", [False, True])
def test_grouped_attention_of_any_size(past, parse, run, evaluator):
    """As language models come: lengths from a mask, old keys and values as inputs.

    Without its other outputs ONNX Runtime reads memory that nobody wrote.
    """
    cache, given = ", float[N, 2, P, 16] a, float[N, 2, P, 16] b", "a, b" if past else ", "
    text = f"""g (float[N, S, 128] x, int64[N, T] m{cache if past else ""}) => (float[N, S, 64] y) {{
        n = ReduceSum<keepdims = 0>(m, one) o = Sub(n, one) p = Cast<to = 6>(o)
        s = Shape<start = 1>(m) t = Cast<to = 6>(s)
        y, u, v = com.microsoft.GroupQueryAttention<num_heads = 4, kv_num_heads = 2, do_rotary = 1>
            (x, , , {given}, p, t, cos, sin) }}"""
    weights = {name: np.concatenate([table] * 100) for name, table in rotary(16).items()}
    model = parse(text, weights={**weights, "one": np.ones(1, np.int64)}, domains=DOMAINS)
    result = normalise(model, evaluator=evaluator)
    feeds = {"x": array(2, 1 if past else 6, 128), "m": np.ones((2, 6), np.int64)}
    feeds |= {name: array(2, 2, 5, 16, seed=i) for i, name in enumerate("ab") if past}
    np.testing.assert_allclose(run(result, feeds)[0], run(model, feeds)[0], rtol=1e-4, atol=1e-5)


def test_layer_normalization_from_before_the_standard_had_it(parse, evaluator):
    text = """g (float[N, 3, 8] x, float[N, 3, 8] r) => (float[N, 3, 8] y) {
        a = Softmax<axis = -1>(x) b = LayerNormalization<axis = -1, epsilon = 0.001>(a, w, c)
        d = SimplifiedLayerNormalization<axis = -1>(b, w) e = Add(d, r) y = com.microsoft.BiasGelu(e, c) }"""
    model = parse(
        text, opset=12, weights={"w": array(8, seed=1), "c": array(8, seed=2)}, domains=', "com.microsoft": 1'
    )
    result = normalise(model, evaluator=evaluator)
    assert dict(result.opset_imports) == {"": 18}


@pytest.mark.parametrize("packed", ["q", "kv"])
def test_packed_projections(packed, parse, run):
    """ONNX Runtime has no CPU kernel for these; apart they are the same."""
    parts = {name: array(2, 5, 2, 4, seed=i) for i, name in enumerate("qkv")}
    apart = "MultiHeadAttention<num_heads = 2>(q, k, v)"
    feeds = {n: a.reshape(2, 5, 8) for n, a in parts.items()}
    text = f"g (float[2, 5, 8] q, float[2, 5, 8] k, float[2, 5, 8] v) => (float y) {{ y = com.microsoft.{apart} }}"
    (expected,) = run(parse(text, domains=DOMAINS), feeds)
    if packed == "q":
        text = "g (float[2, 5, 2, 3, 4] x) => (float y) { y = com.microsoft.MultiHeadAttention<num_heads = 2>(x) }"
        given = {"x": np.stack([parts[n] for n in "qkv"], 3)}
    else:
        text = """g (float[2, 5, 8] q, float[2, 5, 2, 2, 4] x) => (float y)
            { y = com.microsoft.MultiHeadAttention<num_heads = 2>(q, x) }"""
        given = {"q": feeds["q"], "x": np.stack([parts[n] for n in "kv"], 3)}
    np.testing.assert_allclose(run(normalise(parse(text, domains=DOMAINS)), given)[0], expected, rtol=1e-4, atol=1e-6)


def blocked(weight, block, plain):
    """Returns weights in the order of com.microsoft.nchwc, written as its loops read them."""
    o, i, kh, kw = weight.shape
    flat = []
    for output in range(0, o, block):
        for channel in range(0, i, 1 if plain else block):
            for y in range(kh):
                for x in range(kw):
                    for c in range(1 if plain else block):
                        flat += [weight[output + k, channel + c, y, x] for k in range(block)]
    return np.asarray(flat, np.float32).reshape(weight.shape)


@pytest.mark.parametrize("block", [8, 16])
def test_blocks_of_weights_are_undone(block):
    for shape, group, plain in (((32, 32, 3, 2), 1, False), ((32, 3, 3, 3), 1, True), ((32, 1, 3, 3), 32, True)):
        weight = array(*shape)
        np.testing.assert_array_equal(unblocked(blocked(weight, block, plain), group, block), weight)


def test_blocked_operators_that_are_not_known_are_refused(parse):
    text = "g (float[N, 16, 4, 4] x) => (float[N, 16, 4, 4] y) { y = com.microsoft.nchwc.Novel(x) }"
    with pytest.raises(GraphError, match=r"Novel of com\.microsoft\.nchwc.*ORT_ENABLE_EXTENDED"):
        normalise(parse(text, domains=DOMAINS))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Attention<num_heads = 2, do_rotary = 1>(x, w)", "do_rotary=1"),
        ("Attention<num_heads = 2>(x, w, , m)", "lengths"),
        ('FusedConv<activation = "Gelu">(v, k)', "activation 'Gelu'"),
    ],
)
def test_variants_that_are_not_known_are_refused(text, reason, parse):
    given = "float[2, 5, 8] x, float[8, 24] w, int32[6] m, float[2, 3, 4, 4] v, float[6, 3, 3, 3] k"
    with pytest.raises(GraphError, match=reason):
        normalise(parse(f"g ({given}) => (float y) {{ y = com.microsoft.{text} }}", domains=DOMAINS))


def test_convolution_with_channels_last(parse, run):
    x, w, c, z = array(2, 6, 6, 3), array(5, 3, 3, 3), array(5), array(2, 4, 4, 5)
    plain = "g (float[2, 3, 6, 6] x, float[2, 5, 4, 4] z) => (float y) { a = Conv(x, w, c) b = Add(a, z) y = Relu(b) }"
    last = """g (float[2, 6, 6, 3] x, float[2, 4, 4, 5] z) => (float y)
        { y = com.microsoft.NhwcFusedConv<activation = "Relu">(x, w, c, z) }"""
    first = {"x": np.moveaxis(x, 3, 1), "z": np.moveaxis(z, 3, 1)}
    (expected,) = run(parse(plain, weights={"w": np.moveaxis(w, 3, 1).copy(), "c": c}), first)
    model = normalise(parse(last, weights={"w": w, "c": c}, domains=DOMAINS))
    np.testing.assert_allclose(np.moveaxis(run(model, {"x": x, "z": z})[0], 3, 1), expected, rtol=1e-4, atol=1e-5)
