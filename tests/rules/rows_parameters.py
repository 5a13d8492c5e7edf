"""The gradients of layers with respect to their weights, where those are computed from what is explained."""

from __future__ import annotations

import numpy as np
import onnx
from rules.harness import Draw, N, case

IMAGE = (N, 4, 6, 5)
POSITIVE = Draw((4,), 0.5, 2.0)

GROUPS_AT_18 = [case("GroupNormalization", IMAGE, Draw((2,), 0.5, 2.0), (2,), num_groups=2)]
if onnx.defs.get_schema("GroupNormalization", 18).deprecated:
    # Newer checkers refuse it.
    GROUPS_AT_18 = []

CONVOLUTION = [
    case("Conv", IMAGE, (3, 4, 3, 3)),
    case("Conv", IMAGE, (3, 4, 3, 3), (3,), pads=[1, 0, 1, 2]),
    case("Conv", IMAGE, (3, 4, 2, 2), strides=[3, 2]),
    case("Conv", IMAGE, (3, 4, 2, 3), strides=[1, 2], dilations=[2, 1], pads=[1, 1, 1, 1]),
    case("Conv", IMAGE, (4, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    case("Conv", IMAGE, (6, 2, 3, 3), group=2, strides=[2, 1]),
    case("Conv", IMAGE, (3, 4, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    case("Conv", IMAGE, (3, 4, 3, 2), auto_pad="SAME_LOWER", strides=[2, 2]),
    case("Conv", (N, 4, "height", "width"), (3, 4, 3, 2), auto_pad="SAME_UPPER", strides=[3, 2]),
    case("Conv", (N, 4, "height", "width"), (6, 2, 3, 2), strides=[2, 1], group=2),
    case("Conv", (N, 2, 7), (3, 2, 3), strides=[2]),
    case("Conv", (N, 2, 4, 5, 4), (3, 2, 2, 3, 2), pads=[0, 1, 0, 1, 1, 0], strides=[1, 2, 2]),
    case("ConvTranspose", IMAGE, (4, 3, 3, 3), (3,), pads=[1, 0, 1, 2]),
    case("ConvTranspose", IMAGE, (4, 3, 3, 3), strides=[3, 2], output_padding=[2, 1]),
    case("ConvTranspose", IMAGE, (4, 3, 2, 3), dilations=[2, 1], strides=[2, 1]),
    case("ConvTranspose", IMAGE, (4, 2, 3, 3), group=2, strides=[2, 2]),
    case("ConvTranspose", IMAGE, (4, 3, 3, 3), strides=[2, 2], output_shape=[12, 10]),
    case("ConvTranspose", IMAGE, (4, 3, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    case("ConvTranspose", (N, 2, 3), (2, 3, 3), strides=[3], output_shape=[11]),
    case("ConvTranspose", (N, 2, "height", "width"), (2, 3, 3, 4), strides=[2, 3], output_shape=[7, 13]),
    case("ConvTranspose", (N, 2, "height"), (2, 3, 3), strides=[2], output_shape=[7], auto_pad="SAME_UPPER"),
    case("ConvTranspose", (N, 2, 3, 2, 3), (2, 2, 2, 3, 2), strides=[2, 1, 2]),
]

BATCH = (POSITIVE, (4,), (4,), POSITIVE)
NORMALISATION = [
    case("BatchNormalization", IMAGE, *BATCH),
    case("BatchNormalization", (N, 4), *BATCH, epsilon=0.1),
    case("BatchNormalization", IMAGE, *BATCH, training_mode=1, outputs=3),
    case(
        "BatchNormalization", IMAGE, *BATCH, training_mode=1, momentum=0.7, label="first output of training", ort=False
    ),
    case("InstanceNormalization", IMAGE, POSITIVE, (4,)),
    case("InstanceNormalization", (N, 3, 7), (3,), (3,), epsilon=0.2),
    *GROUPS_AT_18,
    case("GroupNormalization", IMAGE, POSITIVE, (4,), num_groups=2, opset=21),
    case("LayerNormalization", (N, 3, 4), POSITIVE),
    case("LayerNormalization", (N, 3, 4), POSITIVE, (4,), epsilon=0.3),
    case("LayerNormalization", (N, 3, 4), (3, 4), (3, 4), axis=1),
    case("LayerNormalization", (N, 3, 4), POSITIVE, (4,), outputs=3, label="statistics"),
    case(
        "LayerNormalization",
        (N, 3, 4),
        np.asarray([0.4, -1.1, 0.7, 1.9]),
        outputs=3,
        axis=1,
        label="statistics of x",
        ort=False,
    ),
]

CASES = [*CONVOLUTION, *NORMALISATION]
