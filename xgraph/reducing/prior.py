"""What many explanations say together: a weight for each class and each cluster of features.

With w_s the coefficients of one explanation, the weight of a cluster is a mean over all its segments in all
explanations of the class, of

* ``normlime``: w_s² / Σ_t |w_t| (Ahern et al., "NormLime: A New Feature Importance Metric for Explaining Deep Neural
  Networks", 2019, arXiv:1909.04200);
* ``average``: |w_s|;
* ``squares``: w_s²;

the three priors of Li et al., "G-LIME: Statistical Learning for Local Interpretations of Deep Neural Networks Using
Global Priors", Artificial Intelligence 2023, doi:10.1016/j.artint.2022.103823. ``ridge`` needs no explanations: it is
the linear map from the presence of clusters to the model's probabilities.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args
from zipfile import BadZipFile

import numpy as np

from xgraph.errors import InputError, MethodError
from xgraph.files import atomic_write
from xgraph.reducing.clusters import Clusters
from xgraph.result import Attribution

Kind: TypeAlias = Literal["normlime", "average", "squares", "ridge"]
Weights: TypeAlias = Mapping[int, Mapping[int, float]]
"""Class -> cluster -> value."""

_FORMAT = "xgraph.prior"
_VERSION = 1
_CLUSTERS = ("centres", "mean", "scale")
_NUMBERED = ("tokens", "positions", "columns")
"""Features that need no clusters to be found again."""
_DAMAGED = (
    OSError,
    BadZipFile,
    zlib.error,
    struct.error,
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,  # an entry that says it is encrypted, or packed by what zipfile does not know
    OverflowError,
    MemoryError,  # an entry that says it is larger than memory
)
"""What NumPy and ``zipfile`` raise on damaged files."""
_CONTRIBUTIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = MappingProxyType(
    {
        "normlime": lambda w: _shares(w) * np.abs(w),
        "average": np.abs,
        "squares": np.square,
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """Weights by class and cluster, and what is needed to find the clusters of a new sample.

    Raises:
        MethodError: An unknown kind, or features that are not understood.
        InputError: A weight is not finite, or a class or cluster is no whole number.
    """

    weights: Weights
    """Class -> cluster -> value; classes without clusters are left out."""
    kind: Kind = "normlime"
    """How they came about."""
    clusters: Clusters | None = None
    """Which cluster a segment belongs to; None for tokens, whose clusters are their ids."""
    features: str = "picture"
    """What segments were described by: ``picture`` (``segment_features``), ``layer:NAME`` (``pooled_features``); or
    what their numbers are: ``tokens``, ``positions`` in a text, ``columns`` and other fixed places."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise MethodError(f"kind='{self.kind}' of a prior is not one of {', '.join(get_args(Kind))}")
        layer = self.features.partition("layer:")
        if self.features not in ("picture", *_NUMBERED) and (layer[0] or not layer[2]):
            raise MethodError(
                f"features='{self.features}' of a prior should be 'picture', 'layer:NAME' or {', '.join(_NUMBERED)}"
            )
        if self.features in _NUMBERED and self.clusters is not None:
            raise MethodError(
                f"a prior for {self.features} has no clusters, since they are numbered; leave clusters out"
            )
        frozen = {}
        for number, entries in self.weights.items():
            plain = {_number("cluster", cluster): float(value) for cluster, value in entries.items()}
            bad = [cluster for cluster, value in plain.items() if not np.isfinite(value)]
            if bad:
                raise InputError(
                    f"the prior's weight of class {number}, cluster {bad[0]} is {plain[bad[0]]}, not finite"
                )
            if plain:
                frozen[_number("class", number)] = MappingProxyType(plain)
        object.__setattr__(self, "weights", MappingProxyType(frozen))

    def __reduce__(self) -> tuple[Any, ...]:
        plain = {number: dict(entries) for number, entries in self.weights.items()}
        return Prior, (plain, self.kind, self.clusters, self.features)

    def for_row(self, cls: int, clusters: np.ndarray) -> np.ndarray:
        """Returns the weight of each segment of a sample.

        Args:
            cls: the explained class.
            clusters: int64 (K,), the cluster of each segment.

        Returns:
            float64 (K,); 0 where the class, or the class's cluster, was never seen.
        """
        known = self.weights.get(int(cls), {})
        return np.array([known.get(int(cluster), 0.0) for cluster in clusters], np.float64)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes one ``.npz``, which appears whole or not at all. Returns the path.

        Raises:
            InputError: The file cannot be written.
        """
        details = self.to_details()
        found = details.pop("found", {})
        texts = {name: details.pop(name) for name in ("kind", "features")}
        header = {"format": _FORMAT, "version": _VERSION, **texts, "clusters": bool(found)}
        arrays: dict[str, Any] = {
            "header": np.frombuffer(json.dumps(header, ensure_ascii=False).encode(), dtype=np.uint8)
        }
        arrays.update({**details, **found})
        try:
            with atomic_write(path) as file:
                np.savez(file, **arrays)
        except OSError as error:
            raise InputError(f"{path}: cannot write it ({error.strerror or error})") from error
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Prior:
        """Reads what ``save`` wrote, or the prior in an explanation that has one. No pickle: nothing is executed.

        Raises:
            InputError: The file is missing, damaged, or no prior.
        """
        try:
            # Opened here, because numpy leaves a damaged file open.
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as stored:
                entries = {name: stored[name] for name in stored.files}
            header = json.loads(entries["header"].tobytes())
            if header["format"] != _FORMAT:
                return cls.from_details(Attribution.load(path).details["prior"])
            version = header["version"]
        except FileNotFoundError as error:
            raise InputError(f"{path}: no such file") from error
        except (*_DAMAGED, InputError) as error:
            raise InputError(f"{path}: not a prior that xgraph saved, or damaged") from error
        if version != _VERSION:
            raise InputError(f"{path}: prior format {version}, but {_VERSION} is read here; make the prior again")
        try:
            found = {"found": {name: entries[name] for name in _CLUSTERS}} if header["clusters"] else {}
            return cls.from_details({**entries, "kind": header["kind"], "features": header["features"], **found})
        except (*_DAMAGED, InputError, MethodError) as error:
            raise InputError(f"{path}: the prior's header does not fit its arrays; it is damaged") from error

    def to_details(self) -> dict[str, Any]:
        """Returns the prior as results keep it."""
        entries = list(self._entries())
        details: dict[str, Any] = {
            "kind": self.kind,
            "features": self.features,
            "classes": np.array([number for number, _, _ in entries], np.int64),
            "clusters": np.array([cluster for _, cluster, _ in entries], np.int64),
            "weights": np.array([value for _, _, value in entries], np.float64),
        }
        if self.clusters is not None:
            details["found"] = {name: getattr(self.clusters, name) for name in _CLUSTERS}
        return details

    @classmethod
    def from_details(cls, details: Mapping[str, Any]) -> Prior:
        """Returns the prior that ``to_details`` told: ``Prior.from_details(attribution.details["prior"])``."""
        weights: dict[int, dict[int, float]] = defaultdict(dict)
        triples = (details[name].tolist() for name in ("classes", "clusters", "weights"))
        for number, cluster, value in zip(*triples, strict=True):
            weights[number][cluster] = value
        found = details.get("found")
        clusters = None if found is None else Clusters(*(found[name] for name in _CLUSTERS))
        return cls(weights, details["kind"], clusters, details["features"])

    def _entries(self) -> Iterator[tuple[int, int, float]]:
        for number, entries in self.weights.items():
            yield from ((number, cluster, value) for cluster, value in entries.items())


def aggregate(
    kind: str, coefficients: Sequence[np.ndarray], clusters: Sequence[np.ndarray], classes: np.ndarray
) -> dict[int, dict[int, float]]:
    """Returns the mean contribution of each cluster to each class; the module has the formulas.

    Args:
        kind: ``normlime``, ``average`` or ``squares``.
        coefficients: float64 (K_i,) of each explanation.
        clusters: int64 (K_i,), the cluster of each coefficient; a negative one counts in Σ|w| alone.
        classes: int64 (n,), the class that each explains.

    Returns:
        Class -> cluster -> value. An explanation whose coefficients are all 0 contributes zeros.

    Raises:
        MethodError: There is no such kind.
        InputError: Lengths differ, or a coefficient is not finite.
    """
    if kind not in _CONTRIBUTIONS:
        raise MethodError(f"kind='{kind}' is not one of {', '.join(_CONTRIBUTIONS)}")
    contribution = _CONTRIBUTIONS[kind]
    return _means(
        (number, names[names >= 0], contribution(w)[names >= 0])
        for number, names, w in _explanations(coefficients, clusters, classes)
    )


def normlime_text(
    coefficients: Sequence[np.ndarray], words: Sequence[np.ndarray], classes: np.ndarray, *, positions: bool = False
) -> dict[int, dict[int, float]]:
    """Returns the mean of w² / Σ|w| over the positive coefficients of each word, for each class.

    Args:
        coefficients: float64 (T_i,) of each explanation, one per token or word.
        words: int64 (T_i,), the id of each; a negative one counts in Σ|w| alone.
        classes: int64 (n,), the class that each explains.
        positions: go by the position in the text, whatever word is there, as InterpretDL 0.8.0 does.

    Returns:
        Class -> word id, or position -> value.

    Raises:
        InputError: Lengths differ, or a coefficient is not finite.
    """
    rows = []
    for number, ids, w in _explanations(coefficients, words, classes):
        counted = (w > 0) & (ids >= 0)
        names = np.arange(len(w)) if positions else ids
        rows.append((number, names[counted], _CONTRIBUTIONS["normlime"](w)[counted]))
    return _means(rows)


def ridge_prior(
    presence: np.ndarray, probabilities: np.ndarray, strength: float = 1.0, *, softmax: bool = False
) -> dict[int, dict[int, float]]:
    """Returns the coefficients of a ridge regression of the probabilities on which clusters a picture has.

    ``min_W,b |P - X W - b|² + strength |W|²`` in closed form, the intercept being free: the "fast NormLIME" prior of
    InterpretDL 0.8.0.

    Args:
        presence: numbers (n, clusters), 1 where the picture has the cluster, else 0.
        probabilities: float (n, classes).
        strength: of the penalty.
        softmax: replace the weights w of a class by ``softmax(10 (w - max w))``.

    Returns:
        Class -> cluster -> value, all of them.

    Raises:
        MethodError: The strength is not a positive number.
        InputError: The shapes do not fit, or a number is not finite.
    """
    if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 < strength < np.inf:
        raise MethodError(f"strength={strength!r} should be a number above 0")
    x, p = np.asarray(presence, np.float64), np.asarray(probabilities, np.float64)
    if x.ndim != 2 or p.ndim != 2 or len(x) != len(p) or 0 in x.shape:
        raise InputError(
            f"presence of shape {list(x.shape)} and probabilities of shape {list(p.shape)} should be one row per "
            "picture each"
        )
    if not (np.isfinite(x).all() and np.isfinite(p).all()):
        raise InputError("presence or probabilities hold numbers that are not finite; look for overflow in the model")
    x, p = x - x.mean(axis=0), p - p.mean(axis=0)
    weights = np.linalg.solve(x.T @ x + strength * np.eye(x.shape[1]), x.T @ p).T
    if softmax:
        weights = np.exp(10.0 * (weights - weights.max(axis=1, keepdims=True)))
        weights /= weights.sum(axis=1, keepdims=True)
    return {number: dict(enumerate(row)) for number, row in enumerate(weights.tolist())}


def _shares(w: np.ndarray) -> np.ndarray:
    total = np.abs(w).sum()
    return np.abs(w) / total if total > 0 else np.zeros_like(w)


def _explanations(
    coefficients: Sequence[np.ndarray], names: Sequence[np.ndarray], classes: np.ndarray
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    if not len(coefficients) == len(names) == len(classes):
        raise InputError(
            f"{len(coefficients)} explanations, {len(names)} rows of clusters and {len(classes)} classes; give as many "
            "of each"
        )
    for i, (w, keys, number) in enumerate(zip(coefficients, names, classes, strict=True)):
        values, numbers = np.asarray(w, np.float64), np.asarray(keys)
        if values.ndim != 1 or values.shape != numbers.shape:
            raise InputError(
                f"explanation {i} has coefficients of shape {list(values.shape)} and clusters of shape "
                f"{list(numbers.shape)}; give one cluster per coefficient"
            )
        if not np.isfinite(values).all():
            raise InputError(f"explanation {i} has a coefficient that is not finite; leave it out")
        yield int(number), numbers.astype(np.int64), values


def _means(rows: Any) -> dict[int, dict[int, float]]:
    found: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number, names, values in rows:
        for name, value in zip(names.tolist(), values.tolist(), strict=True):
            found[number][name].append(value)
    return {
        number: {name: float(np.mean(values)) for name, values in sorted(entries.items())}
        for number, entries in sorted(found.items())
    }


def _number(what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise InputError(f"the prior's {what} {value!r} is no whole number")
    return int(value)
