"""The gradients of Fourier transforms against central differences."""

from __future__ import annotations

import numpy as np
from rules.harness import Case, Fed, N, case

WINDOW = np.hanning(6)[1:5] + 0.3


def one(value: int) -> Fed:
    """A scalar that arrives at run time."""
    return Fed(lambda _: np.asarray(value, np.int64), ())


KINDS = {"": {}, "inverse": {"inverse": 1}, "onesided": {"onesided": 1}, "back": {"inverse": 1, "onesided": 1}}


def transforms(opset: int, *axis: object, **attributes: object) -> list[Case]:
    """Even and odd lengths, cut and padded, real and complex; one-sided spectra are real on one side."""
    rows = []
    for kind, flags in KINDS.items():
        for length in (None, 4, 7):
            for parts in (1, 2):
                if (kind == "onesided" and parts == 2) or (kind == "back" and parts == 1):
                    continue
                label = f"{opset},{kind},{length},{parts}"
                rest = {**flags, **attributes}
                rows.append(case("DFT", (N, 5, parts), length, *axis, label=label, opset=opset, ranks=(3,), **rest))
    return rows


DFT = [
    *transforms(18, axis=1),
    *transforms(20, 1),
    case("DFT", (N, 3, 6, 1), label="default axis", opset=18),
    case("DFT", (N, 3, 6, 1), label="default axis", opset=20),
    case("DFT", (N, 3, 6, 2), None, -3, label="other axis", opset=20),
    case("DFT", (N, 5, 1), one(7), label="told length", axis=1, ranks=(3,)),
    case("DFT", (N, 5, 1), one(4), label="told length,onesided", axis=1, onesided=1, ranks=(3,)),
    case("DFT", (N, 5, 2), None, one(-2), label="told axis", opset=20, ranks=(3,)),
    case("DFT", (N, 5, 1), 6, one(1), label="told axis,onesided", opset=20, onesided=1, ranks=(3,)),
    case("DFT", (N, 4, 2), 7, one(1), label="told axis,back", opset=20, onesided=1, inverse=1, ranks=(3,)),
    case("DFT", (N, "time", 1), label="named length", axis=1, onesided=1),
    case("DFT", (N, "time", 2), label="named length,inverse", axis=1, inverse=1),
    case("DFT", (N, "time", 2), label="named length,back", axis=1, inverse=1, onesided=1),
]

STFT = [
    case("STFT", (N, 10, 1), 3, WINDOW, label="window"),
    case("STFT", (N, 10, 1), 2, None, 4, label="no window"),
    case("STFT", (N, 10, 1), 3, (5,), label="computed window"),
    case("STFT", (N, 10, 1), one(3), WINDOW, label="told step", ranks=(4,)),
    case("STFT", (N, 10, 1), 2, None, one(4), label="told length", ranks=(4,)),
    case("STFT", (N, 10, 1), 2, WINDOW, onesided=0),
    case("STFT", (N, 10, 2), 4, WINDOW, onesided=0, label="complex"),
    case("STFT", (N, "time", 1), 1, WINDOW[:2], label="named length", ranks=(4,)),
]

CASES = [*DFT, *STFT]
