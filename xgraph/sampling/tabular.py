"""LIME's neighbours of a table row, drawn from the statistics of background rows.

Ribeiro, Singh and Guestrin, "Why Should I Trust You? Explaining the Predictions of Any Classifier", 2016,
arXiv:1602.04938, as the authors' package ``lime`` implements it for tables: a column is either cut into quartiles
(``Quartiles``) or perturbed by Gaussian noise (``Gaussian``); integer-coded categories are redrawn by their frequency.

Background rows are rounded to float32 first, since that is what a sample is: a value that lies on an edge is in the
same bin in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from xgraph.errors import InputError, MethodError
from xgraph.sampling.philox import generator

_LEAST_STD = 1e-11
"""Added to a bin's standard deviation, as ``lime`` does; a bin of equal values has no width else."""
_LARGEST_CATEGORY = 2**24
"""Whole numbers up to here are float32 numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Categories:
    """A column of integer codes."""

    values: np.ndarray
    """float64 (V,): the codes that occur, ascending."""
    frequencies: np.ndarray
    """float64 (V,): the share of rows that have each."""

    @classmethod
    def fit(cls, column: np.ndarray, name: int) -> Categories:
        """Returns the categories of a column, float64 (n,).

        Raises:
            InputError: It holds numbers that are no codes.
        """
        if np.any((np.rint(column) != column) | (np.abs(column) > _LARGEST_CATEGORY)):
            raise InputError(
                f"column {name} of the background is categorical, but not all of it is whole numbers up to 2**24; "
                "code the categories as 0, 1, 2 ..."
            )
        values, counts = np.unique(column, return_counts=True)
        return cls(values, counts / len(column))

    def draw(self, x: np.ndarray, uniforms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns values float32 (pairs,) by frequency, and float64 (pairs,): 1 where they equal ``x``."""
        values = self.values[_chosen(self.frequencies, uniforms)].astype(np.float32)
        return values, (values == x).astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """A column of numbers cut at its quartiles; bin b is (edges[b - 1], edges[b]]."""

    edges: np.ndarray
    """float64 (B - 1,): the percentiles 25, 50 and 75, each number once."""
    frequencies: np.ndarray
    """float64 (B,): the share of rows in each bin; 0 for one that no row is in."""
    means: np.ndarray
    """float64 (B,): mean of a bin's values, 0 where it has none."""
    stds: np.ndarray
    """float64 (B,): their standard deviation plus 1e-11."""
    mins: np.ndarray
    """float64 (B,): the lower edge; the column's smallest value for the first bin."""
    maxs: np.ndarray
    """float64 (B,): the upper edge; the column's largest value for the last bin."""

    @classmethod
    def fit(cls, column: np.ndarray) -> Bins:
        """Returns the bins of a column, float64 (n,)."""
        edges = np.unique(np.percentile(column, [25, 50, 75]))
        which = np.searchsorted(edges, column)
        parts = [column[which == number] for number in range(len(edges) + 1)]
        return cls(
            edges=edges,
            frequencies=np.array([len(part) / len(column) for part in parts]),
            means=np.array([part.mean() if len(part) else 0.0 for part in parts]),
            stds=np.array([part.std() if len(part) else 0.0 for part in parts]) + _LEAST_STD,
            mins=np.concatenate([[column.min()], edges]),
            maxs=np.concatenate([edges, [column.max()]]),
        )

    def draw(self, x: np.ndarray, uniforms: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns values float32 (pairs,), and float64 (pairs,): 1 where they are in the bin of ``x``.

        The bin is drawn by frequency; within it, the value is a normal number truncated to it, by inversion:
        ``mean + std Phi^-1(Phi(a) + u (Phi(b) - Phi(a)))``, a and b being the bin's ends in standard units. A bin
        whose ends are equal has that one value (``lime`` 0.2 returns it in standard units, close to 0).
        """
        from scipy.special import ndtr, ndtri

        which = _chosen(self.frequencies, uniforms)
        below = ndtr((self.mins - self.means) / self.stds)
        inside = ndtr((self.maxs - self.means) / self.stds) - below
        values = self.means[which] + self.stds[which] * ndtri(below[which] + places * inside[which])
        low, high = self._ends()
        rounded = np.clip(values, self.mins[which], self.maxs[which]).astype(np.float32)
        return np.clip(rounded, low[which], high[which]), (which == np.searchsorted(self.edges, x)).astype(np.float64)

    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the smallest and the largest float32 number in each bin, so that rounding leaves none."""
        low, high = self.mins.astype(np.float32), self.maxs.astype(np.float32)
        up, down = np.float32(np.inf), np.float32(-np.inf)
        outside = low <= self.mins
        outside[0] = False
        return np.where(outside, np.nextafter(low, up), low), np.where(high > self.maxs, np.nextafter(high, down), high)


@dataclass(frozen=True, slots=True, eq=False)
class Quartiles:
    """Neighbours by quartile, the default of ``lime``; its interpretable representation is binary."""

    columns: tuple[Bins | Categories, ...]
    """One entry per column."""

    @classmethod
    def fit(cls, data: np.ndarray, categorical: Sequence[int] = ()) -> Quartiles:
        """Returns the quartiles of background rows.

        Args:
            data: numbers (n, F).
            categorical: numbers of the columns that hold integer codes.

        Raises:
            InputError: It is no table of finite numbers, or a categorical column holds numbers that are no codes.
            MethodError: There is no such column.
        """
        table = _table(data)
        chosen = _columns(categorical, table.shape[1])
        return cls(
            tuple(Categories.fit(column, i) if i in chosen else Bins.fit(column) for i, column in enumerate(table.T))
        )

    def draw(
        self, x: np.ndarray, rows: np.ndarray, draws: np.ndarray, seed: int, first_row: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns perturbed rows and what a surrogate sees of them; draw 0 is the sample itself, and all ones.

        Args:
            x: float32 (samples, F).
            rows: int64 (pairs,), which sample each pair belongs to.
            draws: int64 (pairs,), which draw of it.
            seed: of the draws.
            first_row: number of sample 0 among all that share the seed.

        Returns:
            float32 (pairs, F) and float64 (pairs, F): 1 where a value is in the bin, or category, of the sample.

        Raises:
            InputError: The samples do not have the columns of the background, or are not finite.
        """
        samples = _samples(x, rows, len(self.columns))
        uniforms = np.empty((len(rows), 2, len(self.columns)))
        for i, (row, draw) in enumerate(zip(rows, draws, strict=True)):
            uniforms[i] = generator("tabular", seed, first_row + row, draw).random(uniforms.shape[1:])
        values, seen = samples.copy(), np.ones(samples.shape)
        for i, column in enumerate(self.columns):
            if isinstance(column, Bins):
                values[:, i], seen[:, i] = column.draw(samples[:, i], uniforms[:, 0, i], uniforms[:, 1, i])
            else:
                values[:, i], seen[:, i] = column.draw(samples[:, i], uniforms[:, 0, i])
        itself = draws == 0
        values[itself], seen[itself] = samples[itself], 1.0
        return values, seen


@dataclass(frozen=True, slots=True, eq=False)
class Gaussian:
    """Neighbours by Gaussian noise; the interpretable representation is the value in standard units."""

    means: np.ndarray
    """float64 (F,)."""
    stds: np.ndarray
    """float64 (F,): 1 for a column of equal values."""
    categories: Mapping[int, Categories] = field(default_factory=dict)
    """By the number of the column."""
    around_instance: bool = False
    """The noise is added to the sample, not to the mean."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "categories", MappingProxyType(dict(self.categories)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Gaussian, (self.means, self.stds, dict(self.categories), self.around_instance)

    @classmethod
    def fit(cls, data: np.ndarray, categorical: Sequence[int] = (), *, around_instance: bool = False) -> Gaussian:
        """Returns mean and standard deviation of the columns of background rows.

        Args:
            data: numbers (n, F).
            categorical: numbers of the columns that hold integer codes.
            around_instance: add the noise to the sample, not to the mean.

        Raises:
            InputError: It is no table of finite numbers, or a categorical column holds numbers that are no codes.
            MethodError: There is no such column.
        """
        table = _table(data)
        chosen = _columns(categorical, table.shape[1])
        stds = table.std(axis=0)
        # By the range too, because the deviation of equal values need not round to 0.
        stds[(stds == 0) | (table.max(axis=0) == table.min(axis=0))] = 1.0
        categories = {i: Categories.fit(table[:, i], i) for i in sorted(chosen)}
        return cls(table.mean(axis=0), stds, categories, around_instance)

    def draw(
        self, x: np.ndarray, rows: np.ndarray, draws: np.ndarray, seed: int, first_row: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns perturbed rows and what a surrogate sees of them; draw 0 is the sample itself.

        Arguments and errors are those of ``Quartiles.draw``.

        Returns:
            float32 (pairs, F) and float64 (pairs, F): ``(value - mean) / std``; of a category, 1 where it is that of
            the sample.
        """
        samples = _samples(x, rows, len(self.means))
        noise, uniforms = np.empty(samples.shape), np.empty(samples.shape)
        for i, (row, draw) in enumerate(zip(rows, draws, strict=True)):
            own = generator("tabular", seed, first_row + row, draw)
            noise[i], uniforms[i] = own.standard_normal(len(self.means)), own.random(len(self.means))
        values = ((samples if self.around_instance else self.means) + self.stds * noise).astype(np.float32)
        itself = draws == 0
        values[itself] = samples[itself]
        seen = (values - self.means) / self.stds
        for i, column in self.categories.items():
            drawn, same = column.draw(samples[:, i], uniforms[:, i])
            values[:, i] = np.where(itself, samples[:, i], drawn)
            seen[:, i] = np.where(itself, 1.0, same)
        return values, seen


def _chosen(frequencies: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """Returns the number of an entry for each uniform number, never one of frequency 0."""
    last = np.flatnonzero(frequencies)[-1]  # rounding leaves the sum of all a little off 1
    return np.asarray(np.minimum(np.searchsorted(np.cumsum(frequencies), uniforms, side="right"), last))


def _table(data: Any) -> np.ndarray:
    table = np.asarray(data)
    if table.ndim != 2 or 0 in table.shape or table.dtype.kind not in "biuf":
        raise InputError(
            f"the background is {table.dtype} of shape {list(table.shape)}; give numbers, one row per sample and one "
            "column per feature"
        )
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which is reported by column
        rounded = table.astype(np.float32).astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(rounded).all(axis=0))
    if len(bad):
        raise InputError(f"column {bad[0]} of the background holds numbers that are not finite; fill or drop them")
    return rounded


def _columns(categorical: Sequence[int], count: int) -> set[int]:
    for column in categorical:
        if isinstance(column, bool) or not isinstance(column, int | np.integer) or not 0 <= column < count:
            raise MethodError(f"categorical={list(categorical)}: there is no column {column!r}, only 0 to {count - 1}")
    return {int(column) for column in categorical}


def _samples(x: np.ndarray, rows: np.ndarray, columns: int) -> np.ndarray:
    if x.ndim != 2 or x.shape[1] != columns:
        raise InputError(f"samples of shape {list(x.shape)} do not fit a background of {columns} columns")
    samples = np.asarray(x[rows], np.float32)
    if not np.isfinite(samples).all():
        row = rows[np.flatnonzero(~np.isfinite(samples).all(axis=1))[0]]
        raise InputError(f"row {row} of the samples holds numbers that are not finite; fill them")
    return samples
