"""Rewrites what the converter gets wrong, or does not know, into operators that it converts rightly.

Runs in the conversion's own process, on the Paddle program and with Paddle's own functions, so that both
program formats share it. Each entry of ``REWRITES`` takes one operator, and either says nothing (the
converter is right about this one) or builds the values that stand for its results. What Paddle computes is
compared with the program *before* this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Rewrite = Callable[[Any], Sequence[Any] | None]


def rewrite(program: Any) -> bool:
    """Rewrites the main block of a PIR program in place; tells whether anything changed."""
    import paddle

    block = program.global_block()
    changed = False
    with paddle.static.program_guard(program):
        for op in list(block.ops):
            make = REWRITES.get(op.name().removeprefix("pd_op."))
            if make is None:
                continue
            before = {other.id() for other in block.ops}
            paddle.pir.set_insertion_point(op)
            results = make(op)
            if results is None:
                continue
            layer = op.attrs().get("struct_name")
            for new in block.ops if layer else ():
                if new.id() not in before:
                    new.set_str_attr("struct_name", layer)
            for old, new in zip(op.results(), results, strict=False):
                old.replace_all_uses_with(new)
            block.remove_op(op)
            changed = True
        paddle.pir.reset_insertion_point_to_end()
    return changed


def _x(op: Any, index: int = 0) -> Any:
    return op.operand_source(index)


def _given(op: Any, index: int) -> bool:
    """Tells whether the optional operand is there."""
    return index < op.num_operands() and bool(op.operand_source(index).initialized())


def _numbers(value: Any) -> list[int] | None:
    """Returns the integers of a constant operand."""
    op = value.get_defining_op()
    return list(op.attrs()["value"]) if op.name() == "pd_op.full_int_array" else None


def _number(value: Any) -> float | None:
    """Returns the number of a constant scalar operand."""
    op = value.get_defining_op()
    return float(op.attrs()["value"]) if op.name() == "pd_op.full" else None


# ----- pools whose windows differ in size


def _pool_with_kernel_operand(op: Any) -> Sequence[Any] | None:
    attributes = op.attrs()
    if not attributes["adaptive"] or attributes["data_format"] != "NCHW":
        return None
    return _adaptive(op, _numbers(_x(op, 1)), attributes["pooling_type"])


def _pool(op: Any) -> Sequence[Any] | None:
    attributes = op.attrs()
    if not attributes["adaptive"] or attributes["data_format"] != "NCDHW":
        return None
    return _adaptive(op, list(attributes["kernel_size"]), attributes["pooling_type"])


def _max_pool_with_index(op: Any) -> Sequence[Any] | None:
    attributes = op.attrs()
    if not attributes["adaptive"] or not op.result(1).use_empty():
        return None
    return _adaptive(op, list(attributes["kernel_size"]), "max")


def _adaptive(op: Any, sizes: list[int] | None, kind: str) -> Sequence[Any] | None:
    """Pools each axis in turn: window ``i`` of ``n`` spans ``[floor(i d / n), ceil((i + 1) d / n))``.

    A window of several axes is a product of windows, and both the mean and the maximum can be taken along
    one axis after the other.
    """
    import paddle

    x = _x(op)
    if sizes is None or all(
        n == 1 or (n > 0 and d > 0 and d % n == 0) for n, d in zip(sizes, x.shape[2:], strict=True)
    ):
        return None
    pool = paddle.mean if kind == "avg" else paddle.max
    for axis, n in enumerate(sizes, start=2):
        length = x.shape[axis] if x.shape[axis] >= 0 else paddle.shape(x)[axis]
        if n in (-1, x.shape[axis]):
            continue
        windows = [paddle.slice(x, [axis], [i * length // n], [((i + 1) * length + n - 1) // n]) for i in range(n)]
        x = paddle.concat([pool(window, axis=axis, keepdim=True) for window in windows], axis=axis)
    return [x]


# ----- activations and other elementwise operators


def _celu(op: Any) -> Sequence[Any]:
    import paddle

    alpha = op.attrs()["alpha"]
    return [alpha * paddle.nn.functional.elu(_x(op) / alpha)]


def _hardtanh(op: Any) -> Sequence[Any]:
    import paddle

    return [paddle.clip(_x(op), op.attrs()["t_min"], op.attrs()["t_max"])]


def _softplus(op: Any) -> Sequence[Any] | None:
    import paddle

    x, beta, threshold = _x(op), op.attrs()["beta"], op.attrs()["threshold"]
    if beta == 1 and threshold == 20:
        return None
    return [paddle.where(beta * x > threshold, x, paddle.nn.functional.softplus(beta * x) / beta)]


def _stanh(op: Any) -> Sequence[Any]:
    import paddle

    return [op.attrs()["scale_b"] * paddle.tanh(op.attrs()["scale_a"] * _x(op))]


def _rrelu(op: Any) -> Sequence[Any] | None:
    import paddle

    attributes = op.attrs()
    if not attributes["is_test"] or not op.result(1).use_empty():
        return None
    return [paddle.nn.functional.leaky_relu(_x(op), (attributes["lower"] + attributes["upper"]) / 2)]


def _maxout(op: Any) -> Sequence[Any]:
    import paddle

    x, groups, axis = _x(op), op.attrs()["groups"], op.attrs()["axis"] % len(_x(op).shape)
    apart = paddle.unflatten(x, axis, [x.shape[axis] // groups, groups])
    return [paddle.max(apart, axis=axis + 1)]


def _expm1(op: Any) -> Sequence[Any]:
    return [_x(op).exp() - 1.0]


def _asinh(op: Any) -> Sequence[Any]:
    size = _x(op).abs()
    return [_x(op).sign() * (size + (size * size + 1.0).sqrt()).log()]


def _acosh(op: Any) -> Sequence[Any]:
    x = _x(op)
    return [(x + (x * x - 1.0).sqrt()).log()]


def _atanh(op: Any) -> Sequence[Any]:
    x = _x(op)
    return [0.5 * ((x + 1.0) / (-x + 1.0)).log()]


def _logit(op: Any) -> Sequence[Any]:
    import paddle

    x, eps = _x(op), op.attrs()["eps"]
    x = paddle.clip(x, eps, 1.0 - eps) if eps else x
    return [(x / (-x + 1.0)).log()]


def _trunc(op: Any) -> Sequence[Any]:
    return [_x(op).sign() * _x(op).abs().floor()]


def _lerp(op: Any) -> Sequence[Any]:
    return [_x(op) + _x(op, 2) * (_x(op, 1) - _x(op))]


def _pairwise(name: str) -> Rewrite:
    def make(op: Any) -> Sequence[Any]:
        import paddle

        return [getattr(paddle, name)(_x(op), _x(op, 1))]

    return make


def _masked_fill(op: Any) -> Sequence[Any]:
    import paddle

    return [paddle.where(_x(op, 1), _x(op, 2), _x(op))]


# ----- reductions and products


def _extreme(name: str) -> Rewrite:
    """``amax`` and ``max`` differ in how they share a gradient among ties, not in value."""

    def make(op: Any) -> Sequence[Any]:
        import paddle

        axes = list(op.attrs()["axis"]) or None
        return [getattr(paddle, name)(_x(op), axis=axes, keepdim=op.attrs()["keepdim"])]

    return make


def _p_norm(op: Any) -> Sequence[Any] | None:
    import paddle

    attributes = op.attrs()
    if not np.isinf(attributes["porder"]):
        return None
    extreme = paddle.max if attributes["porder"] > 0 else paddle.min
    axis = None if attributes["asvector"] else attributes["axis"]
    return [extreme(_x(op).abs(), axis=axis, keepdim=attributes["keepdim"])]


def _addmm(op: Any) -> Sequence[Any]:
    import paddle

    return [op.attrs()["beta"] * _x(op) + op.attrs()["alpha"] * paddle.matmul(_x(op, 1), _x(op, 2))]


def _bilinear(op: Any) -> Sequence[Any]:
    """Of rows ``x`` and ``y``: ``x W_k y`` for each ``k``, plus the bias."""
    import paddle

    product = (paddle.matmul(_x(op), _x(op, 2)) * _x(op, 1)).sum(-1).transpose([1, 0])
    return [product + _x(op, 3) if _given(op, 3) else product]


# ----- norms and convolutions


def _group_norm(op: Any) -> Sequence[Any] | None:
    """The converter knows images only; the statistics do not care how many axes a channel has."""
    import paddle

    x, attributes = _x(op), op.attrs()
    channels_first = not attributes["data_format"].endswith("C")
    if len(x.shape) == 4 and channels_first:
        return None
    rank = len(x.shape)
    ahead = x if channels_first else x.transpose([0, rank - 1, *range(1, rank - 1)])
    image = paddle.flatten(ahead.unsqueeze(-1), 2, rank - 1)
    weight, bias = (_x(op, k) if _given(op, k) else None for k in (1, 2))
    normed = paddle.nn.functional.group_norm(image, attributes["groups"], attributes["epsilon"], weight, bias)
    normed = paddle.reshape(normed, paddle.shape(ahead))
    return [normed if channels_first else normed.transpose([0, *range(2, rank), 1])]


def _deformable_conv(op: Any) -> Sequence[Any] | None:
    """Without modulation it is the one whose mask is all ones; the converter dies on a mask that is not there."""
    import paddle

    if _given(op, 3):
        return None
    attributes = op.attrs()
    return [
        paddle._C_ops.deformable_conv(
            _x(op),
            _x(op, 1),
            _x(op, 2),
            paddle.ones_like(_x(op, 1)[:, ::2]),
            *(attributes[name] for name in ("strides", "paddings", "dilations")),
            *(attributes[name] for name in ("deformable_groups", "groups", "im2col_step")),
        )
    ]


# ----- rearranging


def _pixel_unshuffle(op: Any) -> Sequence[Any] | None:
    import paddle

    x, factor = _x(op), op.attrs()["downscale_factor"]
    if op.attrs()["data_format"] != "NCHW" or -1 in x.shape[1:]:
        return None
    _, channels, height, width = x.shape
    blocks = paddle.reshape(x, [-1, channels, height // factor, factor, width // factor, factor])
    blocks = blocks.transpose([0, 1, 3, 5, 2, 4])
    return [paddle.reshape(blocks, [-1, channels * factor * factor, height // factor, width // factor])]


def _channel_shuffle(op: Any) -> Sequence[Any] | None:
    import paddle

    x, groups = _x(op), op.attrs()["groups"]
    if op.attrs()["data_format"] != "NCHW" or -1 in x.shape[1:]:
        return None
    _, channels, height, width = x.shape
    apart = paddle.reshape(x, [-1, groups, channels // groups, height, width]).transpose([0, 2, 1, 3, 4])
    return [paddle.reshape(apart, [-1, channels, height, width])]


def _repeat_interleave(op: Any) -> Sequence[Any] | None:
    """Keeps the repeats in an axis of their own, then merges the two: grouped attention repeats its keys so."""
    import paddle

    x, axis = _x(op), op.attrs()["axis"] % len(_x(op).shape)
    times = [1] * (len(x.shape) + 1)
    times[axis + 1] = op.attrs()["repeats"]
    return [paddle.flatten(paddle.tile(x.unsqueeze(axis + 1), times), axis, axis + 1)]


def _crop(op: Any) -> Sequence[Any] | None:
    import paddle

    x, sizes, offsets = _x(op), _numbers(_x(op, 1)), _numbers(_x(op, 2))
    if sizes is None or offsets is None:
        return None
    axes = [axis for axis, size in enumerate(sizes) if size >= 0 or offsets[axis]]
    ends = [offsets[axis] + sizes[axis] if sizes[axis] >= 0 else 2**31 - 1 for axis in axes]
    return [paddle.slice(x, axes, [offsets[axis] for axis in axes], ends)]


def _full_batch_size_like(op: Any) -> Sequence[Any]:
    """A number before a tensor of dynamic batch, as in ``1 / x``."""
    import paddle

    attributes = op.attrs()
    shape = list(attributes["shape"])
    shape[attributes["output_dim_idx"]] = paddle.shape(_x(op))[attributes["input_dim_idx"]]
    return [paddle.full(shape, attributes["value"], attributes["dtype"])]


def _sequence_mask(op: Any) -> Sequence[Any] | None:
    import paddle

    longest = _number(_x(op, 1)) if _given(op, 1) else op.attrs().get("maxlen")
    if longest is None:
        return None
    lengths = _x(op)
    end = paddle.full([], int(longest), "int64") if longest > 0 else lengths.max().astype("int64")
    steps = paddle.arange(0, end, 1, dtype="int64")
    return [(steps < lengths.astype("int64").unsqueeze(-1)).astype(op.attrs()["out_dtype"])]


def _affine_grid(op: Any) -> Sequence[Any] | None:
    """Each output pixel's place, in [-1, 1] or at the centres of cells, times the affine matrix."""
    import paddle

    size = _numbers(_x(op, 1))
    if size is None or len(size) != 4:
        return None
    aligned = op.attrs()["align_corners"]
    places = [np.linspace(-1, 1, n) if aligned else (2 * np.arange(n) + 1) / n - 1 for n in size[2:]]
    rows, columns = np.meshgrid(*places, indexing="ij")
    points = np.stack([columns, rows, np.ones_like(rows)], -1).reshape(1, -1, 3).astype(np.float32)
    grid = paddle.matmul(paddle.assign(points), _x(op), transpose_y=True)
    return [paddle.reshape(grid, [-1, *size[2:], 2])]


REWRITES: dict[str, Rewrite] = {
    "pool2d": _pool_with_kernel_operand,
    "pool3d": _pool,
    "max_pool2d_with_index": _max_pool_with_index,
    "max_pool3d_with_index": _max_pool_with_index,
    "celu": _celu,
    "hardtanh": _hardtanh,
    "softplus": _softplus,
    "stanh": _stanh,
    "rrelu": _rrelu,
    "maxout": _maxout,
    "expm1": _expm1,
    "asinh": _asinh,
    "acosh": _acosh,
    "atanh": _atanh,
    "logit": _logit,
    "trunc": _trunc,
    "lerp": _lerp,
    "fmax": _pairwise("maximum"),
    "fmin": _pairwise("minimum"),
    "masked_fill": _masked_fill,
    "amax": _extreme("max"),
    "amin": _extreme("min"),
    "p_norm": _p_norm,
    "addmm": _addmm,
    "bilinear": _bilinear,
    "group_norm": _group_norm,
    "deformable_conv": _deformable_conv,
    "pixel_unshuffle": _pixel_unshuffle,
    "channel_shuffle": _channel_shuffle,
    "repeat_interleave": _repeat_interleave,
    "crop": _crop,
    "full_batch_size_like": _full_batch_size_like,
    "sequence_mask": _sequence_mask,
    "affine_grid": _affine_grid,
}
"""Kind of operator -> what stands for it."""
