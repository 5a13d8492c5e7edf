"""Clusters of superpixels: the "words" that pictures share.

What many explanations say together (``xgraph.reducing.prior``) needs names for segments that hold from one picture to
the next: a segment is described by features, and k-means (Lloyd, "Least Squares Quantization in PCM", 1982,
doi:10.1109/TIT.1982.1056489) on the features of many pictures gives the names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xgraph.errors import InputError, MethodError

_PATTERNS = 10
"""Uniform local binary patterns of 8 neighbours, all that are not uniform being one."""
_CHUNK = 4096
"""Segments whose distances to all centres are computed at once."""
_DIGITS = 5
"""Standardised features that agree in so many decimals are one point."""


def segment_features(picture: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Returns what describes the segments of a picture without a network.

    Of each segment: mean and standard deviation of L, a and b; the shares of the 10 uniform local binary patterns of
    the grey picture (Ojala, Pietikäinen and Mäenpää, "Multiresolution Gray-Scale and Rotation Invariant Texture
    Classification with Local Binary Patterns", PAMI 2002, doi:10.1109/TPAMI.2002.1017623); the centroid as (y, x) in
    (0, 1); the share of the picture.

    Args:
        picture: uint8 (H, W, 3), RGB.
        labels: int32 (H, W); pixels with a negative label belong to no segment.
        count: how many segments there are.

    Returns:
        float32 (count, 19); NaN for a segment without pixels.

    Raises:
        InputError: It is no such picture, or the labels do not fit it or reach ``count``.
    """
    from skimage.color import rgb2gray, rgb2lab
    from skimage.feature import local_binary_pattern

    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise InputError(
            f"segments are described by a uint8 picture of shape (H, W, 3), not {picture.dtype} {list(picture.shape)}"
        )
    if picture.shape[:2] != labels.shape:
        raise InputError(f"labels of shape {list(labels.shape)} do not fit a picture of shape {list(picture.shape)}")
    _check_labels(labels, count)
    height, width = labels.shape
    kept = labels.ravel() >= 0
    which = labels.ravel()[kept]
    sizes = np.bincount(which, minlength=count).astype(np.float64)

    def averaged(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(which, weights=values.ravel()[kept], minlength=count)
        return np.asarray(np.divide(sums, sizes, out=np.full(count, np.nan), where=sizes > 0))

    lab = np.moveaxis(np.asarray(rgb2lab(picture), np.float64), 2, 0)
    grey = np.rint(rgb2gray(picture) * 255.0).astype(np.uint8)
    patterns = np.asarray(local_binary_pattern(grey, 8, 1, method="uniform"))
    filled = np.maximum(labels, 0)
    means = [averaged(channel) for channel in lab]
    # Around the mean, because a difference of squares may round below 0.
    spreads = [
        np.sqrt(averaged((channel - np.nan_to_num(mean)[filled]) ** 2))
        for channel, mean in zip(lab, means, strict=True)
    ]
    textures = [averaged(patterns == number) for number in range(_PATTERNS)]
    y, x = np.mgrid[:height, :width]
    places = [averaged((y + 0.5) / height), averaged((x + 0.5) / width)]
    areas = np.where(sizes > 0, sizes / labels.size, np.nan)
    return np.stack([*means, *spreads, *textures, *places, areas], axis=1).astype(np.float32)


def pooled_features(maps: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Returns the mean of a layer's activations over each segment, of length 1.

    The maps are resized bilinearly to the label map, pixel centres being at half integers and borders repeated. Both
    steps are linear, so the small map is multiplied by what each segment has of its entries, and never enlarged.

    Args:
        maps: float32 (C, h, w).
        labels: int32 (H, W); pixels with a negative label belong to no segment.
        count: how many segments there are.

    Returns:
        float32 (count, C); NaN for a segment without pixels, 0 for one whose mean is 0.

    Raises:
        InputError: The maps are not finite or of another rank, or the labels reach ``count``.
    """
    from scipy.sparse import coo_array

    if maps.ndim != 3 or 0 in maps.shape:
        raise InputError(f"activations of shape {list(maps.shape)} are no maps (channels, h, w); name another layer")
    if not np.isfinite(maps).all():
        raise InputError("activations hold numbers that are not finite; look for overflow in the model, or a bad input")
    _check_labels(labels, count)
    (height, width), (h, w) = labels.shape, maps.shape[1:]
    kept = labels.ravel() >= 0
    shares, segments, entries = [], [], []
    for rows, row_shares in _taps(h, height):
        for columns, column_shares in _taps(w, width):
            shares.append(np.multiply.outer(row_shares, column_shares).ravel()[kept])
            entries.append(np.add.outer(rows * w, columns).ravel()[kept])
            segments.append(labels.ravel()[kept])
    at = (np.concatenate(segments), np.concatenate(entries))
    pooled = coo_array((np.concatenate(shares), at), shape=(count, h * w)).tocsr() @ (
        maps.reshape(len(maps), -1).T.astype(np.float64)
    )
    lengths = np.linalg.norm(pooled, axis=1, keepdims=True)
    features = np.divide(pooled, lengths, out=np.zeros_like(pooled), where=lengths > 0)
    features[np.bincount(labels.ravel()[kept], minlength=count) == 0] = np.nan
    return np.asarray(features, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Centres of clusters of standardised features.

    Raises:
        InputError: The arrays do not fit one another, or hold numbers that are not finite.
    """

    centres: np.ndarray
    """float32 (k, d), in standard units."""
    mean: np.ndarray
    """float32 (d,), of the features."""
    scale: np.ndarray
    """float32 (d,), their standard deviation; 1 for one that is the same everywhere."""

    def __post_init__(self) -> None:
        for name, rank in (("centres", 2), ("mean", 1), ("scale", 1)):
            array = np.array(getattr(self, name), np.float32)
            if array.ndim != rank or 0 in array.shape or not np.isfinite(array).all():
                raise InputError(
                    f"clusters: {name} of shape {list(array.shape)} should be {rank} axes of finite numbers"
                )
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        width = self.centres.shape[1]
        if self.mean.shape != (width,) or self.scale.shape != (width,) or not (self.scale > 0).all():
            raise InputError(f"clusters: centres of {width} features need as many means, and scales above 0")

    def __len__(self) -> int:
        return len(self.centres)

    @classmethod
    def fit(cls, features: np.ndarray, k: int, seed: int = 0) -> Clusters:
        """Returns the best of ten runs of k-means on standardised features.

        Args:
            features: float32 (n, d), of the segments of many pictures; rows of NaN are left out.
            k: how many clusters; lowered to the number of different rows.
            seed: of the starting points.

        Raises:
            MethodError: ``k`` is no whole number from 1 on.
            InputError: There is no row, or a number is infinite, or the seed is none.
        """
        from sklearn.cluster import KMeans

        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise MethodError(f"clusters={k!r} should be a whole number from 1 on")
        if features.ndim != 2 or 0 in features.shape:
            raise InputError(f"features of shape {list(features.shape)} should be one row per segment")
        rows = features[~np.isnan(features).any(axis=1)].astype(np.float64)
        if not len(rows):
            raise InputError(f"none of {len(features)} segments has features; give pictures whose segments have pixels")
        if np.isinf(rows).any():
            raise InputError("features of segments hold infinite numbers; look for overflow in the layer they are from")
        mean, scale = rows.mean(axis=0).astype(np.float32), rows.std(axis=0).astype(np.float32)
        scale[(scale == 0) | (rows.max(axis=0) == rows.min(axis=0))] = 1.0
        points = np.round((rows - mean) / scale, _DIGITS)
        count = min(int(k), len(np.unique(points, axis=0)))
        start = int(np.random.SeedSequence(seed).generate_state(1)[0])
        found = KMeans(n_clusters=count, n_init=10, random_state=start).fit(points)
        return cls(found.cluster_centers_, mean, scale)

    def assign(self, features: np.ndarray) -> np.ndarray:
        """Returns the nearest cluster of each row.

        Args:
            features: float32 (n, d).

        Returns:
            int64 (n,); -1 for a row with NaN (a segment without pixels). Of equally near ones, the first.

        Raises:
            InputError: The rows do not have the features of the centres, or an infinite one.
        """
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise InputError(
                f"features of shape {list(features.shape)} do not fit clusters of {len(self.mean)} features; describe "
                "segments the way that the clusters were fitted"
            )
        if np.isinf(features).any():
            raise InputError("features of segments hold infinite numbers; look for overflow in the layer they are from")
        numbers = np.full(len(features), -1, np.int64)
        known = np.flatnonzero(~np.isnan(features).any(axis=1))
        centres = self.centres.astype(np.float64)
        half = (centres**2).sum(axis=1) / 2
        for start in range(0, len(known), _CHUNK):
            rows = known[start : start + _CHUNK]
            points = (features[rows].astype(np.float64) - self.mean) / self.scale
            numbers[rows] = np.argmin(half - points @ centres.T, axis=1)
        return numbers


def _check_labels(labels: np.ndarray, count: int) -> None:
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise InputError(f"labels are {labels.dtype} of shape {list(labels.shape)}; give whole numbers (H, W)")
    if labels.max(initial=-1) >= count:
        raise InputError(f"labels reach {labels.max()}, but there are {count} segments, numbered from 0")


def _taps(size_in: int, size_out: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the two entries that each place of the larger axis lies between, and its share of each."""
    centre = np.clip((np.arange(size_out) + 0.5) * (size_in / size_out) - 0.5, 0, size_in - 1)
    first = np.floor(centre).astype(np.int64)
    share = centre - first
    return [(first, 1.0 - share), (np.minimum(first + 1, size_in - 1), share)]
