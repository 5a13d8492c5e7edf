"""Interpolation matrices: Resize along one axis, written as ``y = R x``, from the formulas of the standard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xgraph.errors import GraphError


@dataclass(frozen=True, slots=True)
class Interpolation:
    """What the attributes of a Resize say that is common to all its axes."""

    mode: str
    coordinates: str
    rounding: str
    cubic_a: float
    exclude_outside: bool
    antialias: bool

    @property
    def depends_on_size(self) -> bool:
        """Whether the source of an output pixel depends on the sizes beyond their ratio."""
        return self.coordinates in ("align_corners", "tf_crop_and_resize")

    def matrix(self, size: int, resized: int, scale: float, roi: tuple[float, float] = (0.0, 1.0)) -> np.ndarray:
        """Returns ``R`` of shape ``[resized, size]``; rows of extrapolated outputs are zero."""
        at = self._sources(size, resized, scale, roi)
        # The pixel to the left of a source, and the position behind it: 0 < ratio <= 1.
        left = np.ceil(at).astype(int) - 1
        ratio = (at - left).astype(np.float64)
        offsets, coefficients = self._taps(ratio, min(float(scale), 1.0) if self.antialias else 1.0)
        columns = left[:, None] + offsets
        if self.exclude_outside:
            coefficients = np.where((columns >= 0) & (columns < size), coefficients, 0.0)
            coefficients = coefficients / coefficients.sum(1, keepdims=True)
        matrix = np.zeros((resized, size))
        np.add.at(matrix, (np.arange(resized)[:, None], np.clip(columns, 0, size - 1)), coefficients)
        if self.coordinates == "tf_crop_and_resize":
            matrix[(at < 0) | (at > size - 1)] = 0.0
        return matrix

    def _sources(self, size: int, resized: int, scale: float, roi: tuple[float, float]) -> np.ndarray:
        """Returns where in the input each output lies, in float32: that is what runtimes round in nearest mode."""
        one = np.float32(1)
        x, s, half = np.arange(resized, dtype=np.float32), np.float32(scale), np.float32(0.5)
        match self.coordinates:
            case "half_pixel":
                return (x + half) / s - half
            case "pytorch_half_pixel":
                return (x + half) / s - half if resized > 1 else np.zeros_like(x)
            case "half_pixel_symmetric":
                adjustment = np.float32(resized) / (s * np.float32(size))
                offset = np.float32(size / 2) * (one - adjustment)
                return offset + (x + half) / s - half
            case "asymmetric":
                return x / s
            case "align_corners":
                return x * np.float32(size - 1) / np.float32(max(resized - 1, 1))
            case "tf_crop_and_resize":
                start, end = np.float32(roi[0]), np.float32(roi[1])
                last = np.float32(size - 1)
                if resized > 1:
                    return start * last + x * (end - start) * last / np.float32(resized - 1)
                return np.full_like(x, half * (start + end) * last)
        raise GraphError(f"Resize has no coordinate_transformation_mode '{self.coordinates}'")

    def _taps(self, ratio: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Returns the offsets of the pixels read, and a row of coefficients for each output."""
        if self.mode == "nearest":
            return np.arange(2), self._nearest(ratio)
        if self.mode not in ("linear", "cubic"):
            raise GraphError(f"Resize has no mode '{self.mode}'")
        radius = 1 if self.mode == "linear" else 2
        first = int(np.floor(-radius / scale)) + 1
        offsets = np.arange(first, 2 - first)
        distance = np.abs(offsets - ratio[:, None]) * scale
        coefficients = np.clip(1 - distance, 0, 1) if self.mode == "linear" else self._cubic(distance)
        return offsets, coefficients / coefficients.sum(1, keepdims=True)

    def _nearest(self, ratio: np.ndarray) -> np.ndarray:
        match self.rounding:
            case "round_prefer_floor":
                right = ratio > 0.5
            case "round_prefer_ceil":
                right = ratio >= 0.5
            case "floor":
                right = ratio == 1
            case "ceil":
                right = np.ones_like(ratio, bool)
            case _:
                raise GraphError(f"Resize has no nearest_mode '{self.rounding}'")
        return np.stack([~right, right], 1).astype(float)

    def _cubic(self, d: np.ndarray) -> np.ndarray:
        a = self.cubic_a
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = a * (((d - 5) * d + 8) * d - 4)
        return np.where(d <= 1, near, np.where(d < 2, far, 0.0))
