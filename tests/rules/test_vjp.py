"""The gradient book against central differences: one row per use of an operator."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import pytest
from rules.harness import Const, Draw, Fed, N, case, check_directional, check_in_ort, derive

RNG = np.random.default_rng(5)
NEWER = min(onnx.defs.onnx_opset_version(), 22)
"""The gradients are compared with differences at the opset of their case, 18 for most, and run at this one."""
OWN_OPSET = {"GroupNormalization", "GlobalLpPool"}
"""One took another meaning at opset 21 and has cases for both, the other lacks a kernel for 22."""
HAS_SWISH = onnx.defs.onnx_opset_version() >= 24
MOST = np.iinfo(np.int64).max
LEAST = np.iinfo(np.int64).min


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


def positive(*shape: int) -> np.ndarray:
    return RNG.uniform(0.5, 2.0, shape)


def drawn(*shape: int | str, low: float = -2.0, high: float = 2.0) -> Draw:
    return Draw(shape, low, high)


def fixed(*shape: int | str, low: float = -2.0, high: float = 2.0) -> Draw:
    return Draw(shape, low, high, wrt=False)


def indices(shape: tuple[int | str, ...], below: int, seed: int = 0) -> Fed:
    """Indices that repeat, some counted from the end."""

    def make(batch: int) -> np.ndarray:
        sizes = tuple(batch if d == N else d for d in shape)
        return np.random.default_rng(seed).integers(-below, below, sizes)

    return Fed(make, shape)


def distinct(shape: tuple[int | str, ...], below: int) -> Fed:
    """Indices that differ along the last axis."""

    def make(batch: int) -> np.ndarray:
        sizes = tuple(batch if d == N else d for d in shape)
        rng = np.random.default_rng(1)
        rows = [rng.permutation(below)[: sizes[-1]] for _ in range(int(np.prod(sizes[:-1])))]
        return np.reshape(rows, sizes).astype(np.int64)

    return Fed(make, shape)


def told(*values: int) -> Fed:
    """Integers that arrive at run time."""
    return Fed(lambda _: np.asarray(values, np.int64), (len(values),))


X = (N, 3, 4)
IMAGE = (N, 4, 6, 5)

UNARY = [
    *(case(op, X) for op in ("Identity", "Neg", "Abs", "Exp", "Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh")),
    *(case(op, X) for op in ("Asinh", "Tanh", "Sigmoid", "Erf", "Softplus", "Softsign", "Mish", "Relu")),
    *(case(op, drawn(N, 3, 4, low=0.3, high=3.0)) for op in ("Log", "Sqrt", "Reciprocal")),
    *(case(op, drawn(N, 3, 4, low=-0.9, high=0.9)) for op in ("Asin", "Acos", "Atanh")),
    case("Reciprocal", drawn(2, 3, low=-3.0, high=-0.3), label="negative"),
    case("Acosh", drawn(N, 3, 4, low=1.1, high=3.0)),
    case("HardSwish", drawn(N, 3, 5, low=-5.0, high=5.0)),
    case("HardSigmoid", drawn(N, 3, 5, low=-5.0, high=5.0)),
    case("HardSigmoid", drawn(N, 3, 5, low=-5.0, high=5.0), alpha=0.5, beta=0.25),
    case("LeakyRelu", X),
    case("LeakyRelu", X, alpha=0.0),
    case("LeakyRelu", X, alpha=0.3),
    case("PRelu", X, X),
    case("PRelu", (N, 3, 4, 4), (3, 1, 1)),
    case("PRelu", (N, 3, 4), positive(1)),
    case("ThresholdedRelu", X),
    case("ThresholdedRelu", X, alpha=-0.4),
    case("Elu", X),
    case("Elu", X, alpha=0.4),
    case("Selu", X),
    case("Selu", X, alpha=0.7, gamma=1.3),
    case("Celu", X),
    case("Celu", X, alpha=0.4),
    case("Gelu", X, opset=20),
    case("Gelu", X, opset=20, approximate="tanh"),
    *([case("Swish", X, opset=24), case("Swish", X, opset=24, alpha=1.7)] if HAS_SWISH else []),
    case("Shrink", X),
    case("Shrink", X, lambd=0.8, bias=0.3),
    case("Dropout", X, outputs=1),
    case("Dropout", X, np.asarray(0.3), outputs=2, label="ratio and mask"),
    case("Dropout", X, np.asarray(0.3), Const(np.asarray(False)), label="training_mode=False"),
    case("Cast", X, to=11, label="double"),
    case("CastLike", X, fixed(2)),
    *(case(op, X, axis=axis) for op in ("Softmax", "LogSoftmax") for axis in (-1, 0, 1)),
    case("Softmax", X, label="default axis"),
    case("Softmax", (5,)),
]

CLIP = [
    case("Clip", X, -0.5, 0.7),
    case("Clip", X, -0.5),
    case("Clip", X, None, 0.7),
    case("Clip", X),
    case("Clip", X, drawn(low=-1.0, high=-0.5), drawn(low=0.5, high=1.0), label="computed bounds"),
    case("Clip", X, drawn(low=-1.0, high=-0.5), label="computed low"),
    case("Clip", X, None, drawn(low=0.5, high=1.0), label="computed high"),
]

PAIRS = [
    (X, X),
    (X, (4,)),
    ((3, 1), X),
    ((N, 1, 4), (3, 1)),
    ((N, 3, 1), (1, 3, 4)),
    ((), X),
    (X, (1, 1, 1, 1)),
    ((2, 3), (2, 3)),
]
BINARY = [
    *(case(op, *pair) for op in ("Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean") for pair in PAIRS),
    *(case("Div", a, drawn(*c, low=0.4, high=2.0)) for a, c in PAIRS),
    case("Div", drawn(N, 3, low=-3.0, high=-1.0), drawn(3, low=-2.0, high=-0.4), label="negative"),
    *(case("Pow", drawn(*a, low=0.4, high=2.0), c) for a, c in PAIRS),
    *(case("Pow", X, float(e)) for e in (0, 1, 2, 3, 4)),
    case("Pow", X, 2),
    case("Pow", drawn(2, 3, low=-2.0, high=-0.5), -2.0),
    case("Pow", drawn(N, 3, low=0.4), 0.5),
    case("Pow", drawn(N, 3, low=0.4), 2.5),
    case("Pow", drawn(N, 3, low=0.4), np.asarray([0.0, 1.5, 2.0]), label="exponents"),
    *(case("Mod", a, drawn(*c, low=0.7, high=1.5), fmod=1) for a, c in PAIRS[:4]),
    *(case(op, X, (4,), (3, 1)) for op in ("Sum", "Mean", "Max", "Min")),
    *(case(op, X) for op in ("Sum", "Mean", "Max", "Min")),
    *(case("Where", Const(normal(3, 4) > 0), a, c) for a, c in PAIRS if len(a) == 3 or len(c) == 3),
    case("Where", Fed(lambda n: np.arange(n * 4).reshape(n, 1, 4) % 3 > 0, (N, 1, 4)), (3, 1), (), label="fed"),
]

LINEAR = [
    case("MatMul", (N, 3), (3, 4)),
    case("MatMul", (N, 5, 3), (3, 4)),
    case("MatMul", (N, 5, 3), (N, 3, 4)),
    case("MatMul", (N, 5, 3), (1, 3, 4)),
    case("MatMul", (5, 3), (N, 3, 4)),
    case("MatMul", (N, 1, 5, 3), (2, 3, 4)),
    case("MatMul", (3,), (3,)),
    case("MatMul", (3,), (3, 4)),
    case("MatMul", (3,), (N, 3, 4)),
    case("MatMul", (N, 3), (3,)),
    case("MatMul", (N, 5, 3), (3,)),
    case("MatMul", (N, 5, 3), normal(3, 4)),
    case("Gemm", (N, 3), (3, 4)),
    case("Gemm", (N, 3), normal(3, 4), normal(4)),
    *(
        case("Gemm", (3, N) if ta else (N, 3), (4, 3) if tb else (3, 4), c, transA=ta, transB=tb, alpha=0.7, beta=1.3)
        for ta in (0, 1)
        for tb in (0, 1)
        for c in ((4,), (N, 1), (N, 4), ())
    ),
    case("Einsum", (N, 3), (3, 4), equation="ij,jk->ik"),
    case("Einsum", (N, 2, 5, 3), (N, 2, 4, 3), equation="bhid,bhjd->bhij"),
    case("Einsum", (N, 3), (3, 4), equation="ij, jk"),
    case("Einsum", (N, 5, 3), (3, 4), equation="...i,ij->...j"),
    case("Einsum", (N, 5, 3), (N, 3, 4), equation="...ij,...jk->...ik"),
    case("Einsum", (N, 3), (N, 3), (3,), equation="ij,ij,j->i"),
    case("Einsum", (N, 3, 4), equation="abc->ca"),
    case("Einsum", (N, 3, 4), equation="abc->b"),
    case("Einsum", (3,), (4,), equation="i,j->ij"),
    case("Einsum", (3,), (3,), equation="i,i->"),
]

CONVOLUTION = [
    case("Conv", IMAGE, normal(3, 4, 3, 3)),
    case("Conv", IMAGE, normal(3, 4, 3, 3), (3,), pads=[1, 0, 1, 2]),
    case("Conv", IMAGE, normal(3, 4, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1]),
    case("Conv", IMAGE, normal(3, 4, 2, 2), strides=[3, 2]),
    case("Conv", IMAGE, normal(3, 4, 1, 1), strides=[2, 2]),
    case("Conv", IMAGE, normal(3, 4, 2, 3), dilations=[2, 1], pads=[1, 1, 1, 1]),
    case("Conv", IMAGE, normal(4, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    case("Conv", IMAGE, normal(6, 2, 3, 3), group=2, strides=[2, 1]),
    case("Conv", IMAGE, normal(3, 4, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    case("Conv", IMAGE, normal(3, 4, 3, 2), auto_pad="SAME_LOWER", strides=[2, 2]),
    case("Conv", IMAGE, normal(3, 4, 3, 3), auto_pad="VALID"),
    case("Conv", (N, 2, 7), normal(3, 2, 3), strides=[2]),
    case("Conv", (N, 2, 4, 5, 4), normal(3, 2, 2, 3, 2), pads=[0, 1, 0, 1, 1, 0], strides=[1, 2, 2]),
    case("ConvTranspose", IMAGE, normal(4, 3, 3, 3)),
    case("ConvTranspose", IMAGE, normal(4, 3, 3, 3), (3,), pads=[1, 0, 1, 2]),
    case("ConvTranspose", IMAGE, normal(4, 3, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1]),
    case("ConvTranspose", IMAGE, normal(4, 3, 2, 2), strides=[2, 2]),
    case("ConvTranspose", IMAGE, normal(4, 3, 3, 3), strides=[3, 2], output_padding=[2, 1]),
    case("ConvTranspose", IMAGE, normal(4, 3, 3, 3), strides=[2, 2], pads=[1] * 4, output_padding=[1, 1]),
    case("ConvTranspose", IMAGE, normal(4, 3, 2, 3), dilations=[2, 1], strides=[2, 1]),
    case("ConvTranspose", IMAGE, normal(4, 2, 3, 3), group=2, strides=[2, 2]),
    case("ConvTranspose", IMAGE, normal(4, 3, 3, 3), strides=[2, 2], output_shape=[12, 10]),
    case("ConvTranspose", IMAGE, normal(4, 3, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    case("ConvTranspose", IMAGE, normal(4, 3, 3, 3), strides=[2, 2], auto_pad="SAME_LOWER"),
    case("ConvTranspose", (N, 2, 5), normal(2, 3, 4), strides=[2], pads=[1, 1]),
    case("ConvTranspose", (N, 2, 3, 2, 3), normal(2, 2, 2, 3, 2), strides=[2, 1, 2]),
]

POOLING = [
    case("MaxPool", IMAGE, kernel_shape=[2, 2], strides=[2, 2]),
    case("MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    case("MaxPool", IMAGE, kernel_shape=[3, 2], label="overlapping"),
    case("MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    case("MaxPool", IMAGE, kernel_shape=[2, 2], dilations=[2, 2]),
    case("MaxPool", IMAGE, kernel_shape=[2, 2], strides=[2, 2], outputs=2, label="indices"),
    case("MaxPool", (N, 2, 7), kernel_shape=[3], strides=[2]),
    case("MaxPool", (N, 2, 4, 4, 4), kernel_shape=[2, 2, 2], strides=[2, 2, 2]),
    case("MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    case("AveragePool", IMAGE, kernel_shape=[2, 2], strides=[2, 2]),
    case("AveragePool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    case("AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    case("AveragePool", (N, 2, 7), kernel_shape=[3], strides=[2]),
    case("AveragePool", (N, 2, 4, 4, 4), kernel_shape=[2, 2, 2], strides=[2, 2, 2]),
    case("AveragePool", IMAGE, kernel_shape=[2, 2], dilations=[2, 2], opset=19),
    case("GlobalAveragePool", IMAGE),
    case("GlobalAveragePool", (N, 3, "height", 5)),
    case("GlobalAveragePool", (N, 3, 4)),
    case("GlobalMaxPool", IMAGE),
    case("GlobalMaxPool", (N, 3, 4)),
    case("GlobalLpPool", IMAGE),
    case("GlobalLpPool", IMAGE, p=1),
    case("GlobalLpPool", IMAGE, p=3),
    case("LpPool", IMAGE, kernel_shape=[2, 2]),
    case("LpPool", IMAGE, kernel_shape=[3, 2], strides=[2, 1], p=3),
    case("LpPool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 1, 1], p=1),
]

GROUPS_AT_18 = [case("GroupNormalization", IMAGE, positive(2), normal(2), num_groups=2)]
if onnx.defs.get_schema("GroupNormalization", 18).deprecated:
    # Newer checkers refuse it.
    GROUPS_AT_18 = []

NORMALISATION = [
    case("BatchNormalization", IMAGE, positive(4), normal(4), normal(4), positive(4)),
    case("BatchNormalization", (N, 4), positive(4), normal(4), normal(4), positive(4), epsilon=0.1),
    case(
        "BatchNormalization",
        IMAGE,
        fixed(4),
        fixed(4),
        fixed(4),
        fixed(4, low=0.5),
        label="computed",
    ),
    case("InstanceNormalization", IMAGE, positive(4), normal(4)),
    case("InstanceNormalization", (N, 3, 7), normal(3), normal(3), epsilon=0.2),
    *GROUPS_AT_18,
    case("GroupNormalization", IMAGE, positive(4), normal(4), num_groups=2, opset=21),
    case("LayerNormalization", X, positive(4)),
    case("LayerNormalization", X, positive(4), normal(4), epsilon=0.3),
    case("LayerNormalization", X, positive(3, 4), normal(3, 4), axis=1),
    case("LRN", IMAGE, size=3),
    case("LRN", IMAGE, size=2, alpha=0.5, beta=0.6, bias=1.5, ort=False),
    case("LRN", IMAGE, size=4, alpha=0.5, ort=False),
    case("LpNormalization", X),
    case("LpNormalization", X, p=1),
    case("LpNormalization", X, axis=1, p=2),
    case("LpNormalization", X, axis=0, p=1),
]

REDUCTION = [
    *(
        case(f"Reduce{op}", Draw(X, low=0.2, high=2.0) if op.startswith("Log") else X, axes, keepdims=keepdims)
        for op in ("Sum", "Mean", "Max", "Min", "Prod", "LogSum", "LogSumExp", "L1", "L2", "SumSquare")
        for axes, keepdims in (([1], 1), ([-1], 0), ([0, 2], 0), ([-1, 1], 1), ([0], 1), (None, 0), ([], 1))
    ),
    case("ReduceSum", X, [], noop_with_empty_axes=1),
    *(
        case(f"Reduce{op}", X, told(-1, 1), keepdims=k, ranks=(1 + 2 * k,), label=f"told,keepdims={k}")
        for op in ("Sum", "Mean", "LogSumExp")
        for k in (0, 1)
    ),
    case("ReduceMax", (N, 1, 4), [1]),
    case("ReduceMean", (1, 1), [1], keepdims=0),
    case("ReduceMean", (N, "rows", 4), [1, 2], keepdims=0),
    case("ReduceMax", (N, "rows", 4), [1, 2], keepdims=0),
    *(case("CumSum", X, axis, exclusive=e, reverse=r) for axis in (1, -1) for e in (0, 1) for r in (0, 1)),
]

MOVEMENT = [
    case("Reshape", X, [0, 12]),
    case("Reshape", X, [-1]),
    case("Reshape", (N, "rows", 4), [0, -1]),
    case("Flatten", IMAGE),
    case("Flatten", IMAGE, axis=2),
    case("Flatten", IMAGE, axis=0),
    case("Squeeze", (N, 1, 4, 1), [1, -1]),
    case("Squeeze", (2, 1, 4, 1)),
    case("Unsqueeze", X, [0, -1]),
    case("Unsqueeze", X, told(1, 2), ranks=(5,)),
    case("Transpose", X),
    case("Transpose", (N, 3, 4, 2), perm=[2, 0, 3, 1]),
    case("Expand", (N, 1, 4), [3, 1]),
    case("Expand", (N, 1, 4), [2, 1, 3, 1]),
    case("Expand", (3, 1), Fed(lambda n: np.asarray([n, 3, 4]), (3,)), ranks=(3,), label="told"),
    case("Concat", X, (N, 2, 4), axis=1),
    case("Concat", (N, 3), (N, 2), fixed(N, 2), axis=-1, label="last not wanted"),
    case("Concat", fixed(N, 3), (N, 2), axis=-1, label="one wanted"),
    case("Concat", X, X, axis=0),
    case("Concat", X, axis=0),
    case("Split", (N, 6), [1, 2, 3], axis=1, outputs=3),
    case("Split", (N, 6), axis=-1, outputs=2, num_outputs=2),
    case("Split", (N, 7), axis=1, outputs=3, num_outputs=3),
    case("Split", (6, 2), told(4, 2), outputs=2, ranks=(2, 2)),
    case("Slice", (N, 6), [1], [4], [1]),
    case("Slice", (6, 5), [1, 0], [4, MOST]),
    case("Slice", (N, 6, 5), [0, 1], [MOST, MOST], [1, 2], [2, 2]),
    case("Slice", (N, 3, 8, 8), [1, 0], [MOST, MOST], [2, 3], [2, 2]),
    case("Slice", (N, 7), [-1], [LEAST], [1], [-1]),
    case("Slice", (N, 7), [-2], [0], [1], [-3]),
    case("Slice", (N, 7), [5], [-100], [-1], [-2]),
    case("Slice", (N, 7), [1], [2], [1], [3]),
    case("Slice", (N, 7), [1], [-2], [-1]),
    case("Slice", X, [0], [1]),
    case("Slice", X, [0], [MOST], [0], [2], label="batch strided"),
    case("Slice", (N, "rows", 8), [0, 1], [MOST, 7], [1, 2], [1, 3]),
    case("Slice", (N, 7), told(1), told(6), [1], [2]),
    case("Slice", (N, 7, 5), told(-1, 1), told(-6, 4), [1, 2], told(-2, 1)),
    case("Slice", (7, 5), told(1), told(6), label="told, no axes"),
    case("Pad", X, [0, 1, 2, 0, 2, 1]),
    case("Pad", X, [0, 0, 0, 0, 0, 0]),
    case("Pad", X, [1, 2], 0.5, [-1], label="value,axes"),
    case("Pad", X, [1, 2], (), [-1], label="computed value"),
    case("Pad", X, told(0, 1, 2, 0, 2, 1), label="told"),
    case("Pad", X, told(1, 2), None, [1], label="told,axes"),
    case("Pad", X, [0, 1, 2, 0, 2, 1], mode="reflect"),
    case("Pad", X, [0, 1, 2, 0, 2, 1], mode="edge"),
    case("Pad", (N, 3, "width"), [0, 0, 2, 0, 0, 1], mode="reflect"),
    case("Pad", X, told(0, 1, 2, 0, 2, 1), mode="edge", label="edge,told"),
    case("Pad", X, [0, 1, 2, 0, 2, 1], mode="wrap", opset=19),
    case("Tile", X, [1, 2, 3]),
    case("Tile", X, [2, 1, 1]),
    case("Tile", X, [1, 1, 1]),
    case("Tile", (N, "rows"), [3, 2]),
    case("Tile", X, told(2, 1, 3), ranks=(3,)),
    case("Trilu", (N, 4, 4)),
    case("Trilu", (N, 4, 5), 1, upper=0),
    case("Trilu", (N, 4, 5), -1),
    case("DepthToSpace", (N, 8, 2, 3), blocksize=2),
    case("DepthToSpace", (N, 8, 2, 3), blocksize=2, mode="CRD"),
    case("DepthToSpace", (N, 8, "height", 3), blocksize=2, mode="CRD"),
    case("SpaceToDepth", (N, 2, 4, 6), blocksize=2),
]

INDEXING = [
    case("Gather", X, 1, axis=1),
    case("Gather", X, -1, axis=2),
    case("Gather", X, [1, 2], axis=1),
    case("Gather", X, [2, 0], axis=1),
    case("Gather", X, [-1, 1, 1], axis=1),
    case("Gather", X, Const(np.asarray([[0, 2], [1, 3]])), axis=2),
    case("Gather", X, Const(np.asarray([[0, 2], [2, 3]])), axis=2, label="repeated"),
    case("Gather", X, 0),
    case("Gather", X, [0, 0]),
    case("Gather", (5, 3), indices((N, 4), 5)),
    case("Gather", (4, 5, 3), indices((N, 4), 5), axis=1),
    case("Gather", (4, 5), indices((), 5), axis=1),
    case("GatherElements", X, indices((N, 2, 4), 3), axis=1),
    case("GatherElements", (5, 3), indices((4, 2), 5)),
    case("GatherND", (4, 5, 3), indices((N, 2), 4)),
    case("GatherND", (4, 5), indices((N, 6, 2), 4)),
    case("GatherND", X, indices((N, 5, 1), 3), batch_dims=1),
    case("GatherND", (N, 3, 4, 2), indices((N, 3, 1), 4), batch_dims=2),
    case("ScatterElements", X, distinct((N, 3, 2), 4), (N, 3, 2), axis=-1),
    case("ScatterElements", X, indices((N, 2, 4), 3), (N, 2, 4), axis=1, reduction="add"),
    case("ScatterND", (5, 3), Const(np.asarray([[3], [0], [4]])), (3, 3)),
    case("ScatterND", (4, 5), Const(np.asarray([[0, 3], [1, 0], [0, 0]])), (3,), label="elements"),
    case("ScatterND", (5, 3), indices((N, 1), 5), (N, 3), reduction="add"),
    case("TopK", (N, 7), [3], outputs=2),
    case("TopK", (N, 7, 2), [2], axis=1, largest=0, outputs=2),
    case("TopK", (N, 7), told(3), outputs=2),
    case("Range", drawn(low=0.1, high=0.2), Const(np.asarray(2.0)), drawn(low=0.34, high=0.36)),
]


lengths = Fed(lambda batch: np.asarray([4, 1, 5][:batch], np.int32), (N,))


def recurrent(op: str, *rest: object, directions: int = 1, steps: int | str = 3, **attributes: object) -> object:
    """A layer from 2 to 3 channels with a bias; ``rest`` are sequence_lens, the first states and peepholes."""
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[op] * 3
    weights = [normal(directions, gates, 2), normal(directions, gates, 3), normal(directions, 2 * gates)]
    label = ",".join([f"{steps} steps", *[f"{k}={v}" for k, v in attributes.items()]])
    label += "".join(
        f" {name}" for name, given in zip(("lengths", "state", "cell", "peepholes"), rest, strict=False) if given
    )
    attributes.setdefault("outputs", 3 if op == "LSTM" else 2)
    return case(op, (steps, N, 2), *weights, *rest, label=label, hidden_size=3, **attributes)


RECURRENT = [
    *(recurrent(op, steps=steps) for op in ("RNN", "GRU", "LSTM") for steps in (1, 3)),
    *(recurrent(op, direction="reverse") for op in ("RNN", "GRU", "LSTM")),
    *(
        recurrent(op, None, *[(2, N, 3)] * states, direction="bidirectional", directions=2)
        for op, states in (("RNN", 1), ("GRU", 1), ("LSTM", 2))
    ),
    *(
        recurrent("GRU", None, (2, N, 3), direction="bidirectional", directions=2, linear_before_reset=1, steps=k)
        for k in (1, 4)
    ),
    *(
        recurrent(op, lengths, *[(2, N, 3)] * states, direction="bidirectional", directions=2, steps=5)
        for op, states in (("RNN", 1), ("GRU", 1), ("LSTM", 2))
    ),
    recurrent("LSTM", lengths, direction="reverse", steps=5),
    recurrent("LSTM", None, (1, N, 3), (1, N, 3), (1, 9)),
    recurrent("LSTM", None, None, None, (1, 9), clip=0.4),
    recurrent("LSTM", input_forget=1, clip=0.7),
    recurrent("GRU", linear_before_reset=1, clip=0.5),
    *(replace(recurrent(op, layout=1), ort=False) for op in ("RNN", "GRU", "LSTM")),
    recurrent(
        "LSTM",
        direction="bidirectional",
        directions=2,
        activations=["Affine", "ScaledTanh", "LeakyRelu", "HardSigmoid", "Elu", "Softplus"],
        activation_alpha=[0.3, 0.5, 0.7, 0.6, 0.2],
        activation_beta=[0.4, 0.8, 0.1],
    ),
    recurrent("GRU", activations=["softsign", "ThresholdedRelu"], activation_alpha=[0.1]),
    recurrent("RNN", activations=["Relu"]),
    *(recurrent(op, steps="T") for op in ("RNN", "GRU", "LSTM")),
    *(
        case(
            op,
            (3, N, 2),
            (1, 3 * gates, 2),
            (1, 3 * gates, 3),
            (1, 6 * gates),
            hidden_size=3,
            outputs=2,
            label="computed weights",
        )
        for op, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4))
    ),
]

# Small: the reference evaluator resizes one element at a time.
SMALL = (N, 1, 4, 2)
RESAMPLING = [
    case("Resize", SMALL, None, np.asarray([1, 1, 2, 2], np.float32), mode="nearest", label="nearest"),
    case(
        "Resize",
        SMALL,
        None,
        None,
        [5, 3],
        axes=[2, 3],
        mode="linear",
        coordinate_transformation_mode="align_corners",
        label="linear",
    ),
    case("Resize", SMALL, None, np.asarray([1, 1, 0.5, 2.5], np.float32), mode="cubic", label="cubic"),
]

CASES = [
    row
    for row in [
        *UNARY,
        *CLIP,
        *BINARY,
        *LINEAR,
        *CONVOLUTION,
        *POOLING,
        *NORMALISATION,
        *REDUCTION,
        *MOVEMENT,
        *INDEXING,
        *RECURRENT,
        *RESAMPLING,
    ]
    if row
]


def names(rows: list) -> list[str]:
    return [row.name for row in rows]


def test_no_two_cases_have_one_name() -> None:
    assert [name for name, count in Counter(names(CASES)).items() if count > 1] == []


@pytest.mark.parametrize("row", CASES, ids=names(CASES))
def test_gradient_is_the_central_difference(row) -> None:
    check_directional(derive(row, np.float64, dynamic=False), 2)


DYNAMIC = [row for row in CASES if row.dynamic]


@pytest.mark.parametrize("row", DYNAMIC, ids=names(DYNAMIC))
def test_gradient_with_a_named_batch(row) -> None:
    gradient = derive(row, np.float64, dynamic=True)
    for batch in (1, 3):
        check_directional(gradient, batch)


IN_ORT = [row for row in CASES if row.ort]


@pytest.mark.parametrize("row", IN_ORT, ids=names(IN_ORT))
def test_float32_in_onnx_runtime_at_a_newer_opset(row) -> None:
    opset = row.opset if row.op in OWN_OPSET else max(NEWER, row.opset)
    check_in_ort(replace(row, opset=opset), dynamic=row.dynamic, batch=3 if row.dynamic else 2)


HALVES = [
    case("LayerNormalization", X, positive(4), normal(4)),
    case("InstanceNormalization", IMAGE, positive(4), normal(4)),
    case("BatchNormalization", IMAGE, positive(4), normal(4), normal(4), positive(4)),
    case("Softmax", X),
    case("Relu", X),
    case("ReduceMean", X, [1]),
    case("Gather", X, [-1, 1, 1], axis=1),
    case("MatMul", (N, 5, 3), (3, 4)),
    case("Conv", IMAGE, normal(3, 4, 3, 3), strides=[2, 2]),
    case("Gather", (5, 3), indices((N, 4), 5)),
    case("GatherElements", (5, 3), indices((4, 2), 5)),
]


@pytest.mark.parametrize("row", HALVES, ids=names(HALVES))
def test_float16_in_onnx_runtime(row) -> None:
    check_in_ort(row, dynamic=True, batch=3, dtype=np.float16, relative=1e-2)
