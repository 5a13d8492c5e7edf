"""The *shapes* data: seeded images whose evidence is known to the pixel.

Every image shows one of eight shapes in a random colour, size, place and rotation, on textured ground among
distractors (dots, lines and bars, all of them smaller or thinner than any shape and all of them behind it).
The pixels of the shape are the ground truth that a faithful explanation of the label has to point at.

    from shapes import CLASSES, make
    images, labels, masks = make(seed=1, count=1000)

Each sample draws from a random stream of its own, so sample `i` of a seed is the same whatever the count.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

CLASSES = ("circle", "square", "triangle", "star", "cross", "ring", "crescent", "heart")
SIZE = 64
RADIUS = 11.0, 22.0
"""Least and greatest distance, in pixels, from a shape's centre to its outermost point."""

_DISTRACTORS = 12
_GRIDS = 3, 6, 12, 24  # the coarse grids that the ground's texture is interpolated from
_GAINS = 0.20, 0.16, 0.12, 0.10
_CHUNK = 256


def make(seed: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
    """Generate samples.

    Args:
        seed: Which data set; different seeds share no samples.
        count: How many samples; the first ones do not depend on it.

    Returns:
        Images as uint8 RGB `(N, 64, 64, 3)`, labels as int64 `(N,)` that index `CLASSES`, and the shapes'
        pixels as bool `(N, 64, 64)`.
    """
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    labels = np.empty(count, np.int64)
    masks = np.empty((count, SIZE, SIZE), np.bool_)
    for start in range(0, count, _CHUNK):
        part = slice(start, min(start + _CHUNK, count))
        images[part], labels[part], masks[part] = _render(_Draws(seed, range(part.start, part.stop)))
    return images, labels, masks


class _Draws:
    """Uniform numbers for a chunk of samples, dealt out in the order they are asked for."""

    def __init__(self, seed: int, samples: range) -> None:
        # A stream per sample: the counter's highest word is the sample, so that no two streams meet.
        self._streams = [np.random.Generator(np.random.Philox(key=seed, counter=i << 192)) for i in samples]

    def __call__(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Array:
        """Draw `(N, *shape)` numbers between `low` and `high`."""
        unit = np.stack([stream.random(shape, np.float32) for stream in self._streams])
        return np.float32(low) + unit * np.float32(high - low)


def _render(draw: _Draws) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
    """Render one chunk: ground, distractors, shape, sensor noise."""
    base = draw(3, low=0.15, high=0.85)
    image = base[:, None, None] + _texture(draw)
    for _ in range(_DISTRACTORS):
        image = _distractor(draw, image)

    labels = (draw() * len(CLASSES)).astype(np.int64)
    radius = draw(low=RADIUS[0], high=RADIUS[1])
    margin = radius + 1
    centre = margin[:, None] + draw(2) * (SIZE - 2 * margin)[:, None]
    x, y = _local(centre, draw(high=2 * np.pi))
    distance = np.empty_like(x)
    for label, shape in enumerate(_SHAPES):
        chosen = labels == label
        unit = radius[chosen, None, None]
        distance[chosen] = shape(x[chosen] / unit, y[chosen] / unit) * unit

    # A colour that stands out from the ground in every channel, shaded along a random direction.
    offset = draw(3, low=0.22, high=0.60) * np.where(draw(3) < 0.5, -1, 1).astype(np.float32)
    colour = np.where((base + offset > 1.05) | (base + offset < -0.05), base - offset, base + offset)
    shading = (x * draw(low=-0.15, high=0.15)[:, None, None]) / radius[:, None, None]
    paint = np.clip(colour, 0, 1)[:, None, None] + shading[..., None] + 0.5 * _texture(draw)
    image = _over(image, paint, distance)

    image += draw(SIZE, SIZE, 3, low=-0.06, high=0.06)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8), labels, distance < 0


def _texture(draw: _Draws) -> Array:
    """Sum noise of several scales, partly grey and partly coloured, to `(N, 64, 64, 3)`."""
    total = np.float32(0)
    for cells, gain in zip(_GRIDS, _GAINS, strict=True):
        grid = draw(cells, cells, 4, low=-1)
        grid = grid[..., :1] + 0.6 * grid[..., 1:]
        weights = _interpolation(cells)
        total = total + gain * np.einsum("yi,nijc,xj->nyxc", weights, grid, weights, optimize=True)
    strength: Array = draw(low=0.3, high=1.0)[:, None, None, None]
    return strength * np.asarray(total, np.float32)


def _interpolation(cells: int) -> Array:
    """Return the `(64, cells)` matrix that interpolates linearly between evenly spaced knots."""
    knots = np.linspace(0, SIZE - 1, cells)
    columns = [np.interp(np.arange(SIZE), knots, row) for row in np.eye(cells)]
    return np.stack(columns, axis=1).astype(np.float32)


def _distractor(draw: _Draws, image: Array) -> Array:
    """Paint one dot, line or bar (or, for some samples, nothing) onto each image."""
    x, y = _local(draw(2, high=SIZE), draw(high=2 * np.pi))
    kind, size, ratio = draw(), draw(), draw()
    dot, line, none = kind < 0.30, (kind >= 0.30) & (kind < 0.55), kind > 0.80
    bar = 3.5 + 4 * size
    length = np.where(dot, 1.2 + 2.0 * size, np.where(line, 6 + 20 * size, bar))
    width = np.where(dot, length, np.where(line, 0.5 + 0.7 * ratio, bar / (1.8 + 1.5 * ratio)))
    rounding = np.where(dot | (draw() < 0.5), width, 0)
    outside_x = np.maximum(np.abs(x) - (length - rounding)[:, None, None], 0)
    outside_y = np.maximum(np.abs(y) - (width - rounding)[:, None, None], 0)
    distance = np.hypot(outside_x, outside_y) - rounding[:, None, None]
    distance[none] = SIZE
    return _over(image, draw(3)[:, None, None], distance)


def _over(below: Array, paint: Array, distance: Array) -> Array:
    """Cover `below` with `paint` where `distance` is negative, with edges one pixel wide."""
    alpha = np.clip(0.5 - distance, 0, 1)[..., None]
    result: Array = below + alpha * (paint - below)
    return result


def _local(centre: Array, angle: Array) -> tuple[Array, Array]:
    """Return the pixel centres' coordinates in frames at `centre`, turned by `angle`."""
    pixel = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)
    x = pixel[None, None, :] - centre[:, 0, None, None]
    y = pixel[None, :, None] - centre[:, 1, None, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    return cos * x + sin * y, cos * y - sin * x


# The shapes, as signed distances (negative inside) in a frame where the shape lies within the unit circle.
# They are exact near the edges, which is where they are used.


def _circle(x: Array, y: Array) -> Array:
    return np.hypot(x, y) - np.float32(0.9)


def _square(x: Array, y: Array) -> Array:
    return np.maximum(np.abs(x), np.abs(y)) - np.float32(0.7)


def _triangle(x: Array, y: Array) -> Array:
    slope = np.float32(np.sqrt(0.75))
    distance: Array = np.maximum(slope * np.abs(x) + y / 2, -y) - np.float32(0.5)
    return distance


def _star(x: Array, y: Array) -> Array:
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    folded = np.abs((angle + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)
    inner = 0.42 * np.exp(0.2j * np.pi)  # the corner between two tips, as x + iy
    normal = np.complex64(1j * (1 - inner) / abs(1 - inner))
    tip, side = radius * np.cos(folded) - 1, radius * np.sin(folded)
    return np.asarray(tip * normal.real + side * normal.imag, np.float32)


def _cross(x: Array, y: Array) -> Array:
    x, y = np.abs(x), np.abs(y)
    long, short = np.float32(0.94), np.float32(0.3)
    distance: Array = np.minimum(np.maximum(x - long, y - short), np.maximum(x - short, y - long))
    return distance


def _ring(x: Array, y: Array) -> Array:
    return np.abs(np.hypot(x, y) - np.float32(0.7)) - np.float32(0.2)


def _crescent(x: Array, y: Array) -> Array:
    moon, shadow = np.hypot(x, y) - np.float32(0.95), np.float32(0.78) - np.hypot(x - np.float32(0.5), y)
    distance: Array = np.maximum(moon, shadow)
    return distance


def _heart(x: Array, y: Array) -> Array:
    # A square standing on its corner, with half discs on its two upper sides.
    half = np.float32(0.52)
    u = (x - y) * np.float32(np.sqrt(0.5)) + np.float32(0.14)
    v = (-x - y) * np.float32(np.sqrt(0.5)) + np.float32(0.14)
    square = np.maximum(np.abs(u), np.abs(v)) - half
    discs = np.minimum(np.hypot(u - half, v), np.hypot(u, v - half)) - half
    distance: Array = np.minimum(square, discs)
    return distance


_SHAPES: tuple[Callable[[Array, Array], Array], ...]
_SHAPES = _circle, _square, _triangle, _star, _cross, _ring, _crescent, _heart
