"""LIME with global knowledge: what segments like these mean elsewhere, by itself (NormLIME) or as a prior (G-LIME)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xgraph.errors import MethodError
from xgraph.plan import Batch, Draws, Finding
from xgraph.reducing.clusters import Clusters, pooled_features, segment_features
from xgraph.reducing.drops import painted
from xgraph.reducing.linear import Fit, Normal, glime, prior_ridge
from xgraph.reducing.prior import Kind, Prior, aggregate, normlime_text, ridge_prior
from xgraph.reducing.surrogate import Fits, Sums, Surrogate

if TYPE_CHECKING:
    from xgraph.plan import Samples
    from xgraph.sampling.features import Features


@dataclass(frozen=True, slots=True)
class Clustering:
    """How the segments of different samples are known to be alike."""

    count: int = 64
    """Clusters to look for."""
    features: str = "picture"
    """``picture``: colour, texture and place; or the name of a layer's value, whose activations are pooled."""
    value: str | None = None
    """The value that an earlier stage returned, where a layer describes segments."""
    assign: Callable[..., Any] | None = None
    """A function of one's own instead: (picture, labels) -> cluster numbers."""

    def described(self, samples: Samples, features: Features, name: str) -> list[np.ndarray]:
        """Returns the features of the segments of every sample, (segments, d)."""
        labels = features.maps()
        assert labels is not None
        counts = features.counts
        if self.value is not None:
            maps = samples.earlier[self.value]
            return [pooled_features(maps[i], labels[i], int(counts[i])) for i in range(len(labels))]
        assert samples.pictures is not None
        pictures = samples.pictures(name)
        return [segment_features(pictures[i], labels[i], int(counts[i])) for i in range(len(labels))]

    def own(self, samples: Samples, features: Features, name: str) -> list[np.ndarray]:
        """Returns the clusters that the caller's function gives."""
        labels = features.maps()
        assert self.assign is not None
        assert labels is not None
        assert samples.pictures is not None
        pictures, found = samples.pictures(name), []
        for row, picture in enumerate(pictures):
            numbers = np.asarray(self.assign(picture, labels[row]))
            if numbers.shape != (features.counts[row],) or numbers.dtype.kind not in "iu":
                raise MethodError(
                    f"clusters: the function returned {numbers.dtype} {list(numbers.shape)} for "
                    f"{features.counts[row]} segments; it should return one whole number per segment"
                )
            found.append(numbers.astype(np.int64))
        return found


def told_by(role: str, positions: bool) -> str:
    """Returns what the numbers of a prior mean for inputs of a role that are no pictures."""
    if role != "tokens":
        return "columns"
    return "positions" if positions else "tokens"


@dataclass(frozen=True, slots=True)
class GlobalPrior:
    """Fits surrogates, and puts them together over all samples, or pulls each towards what is known already.

    ``knowledge``: each segment gets the weight of its cluster for the class (NormLIME). ``glime``: InterpretDL's
    G-LIME. ``pull``: ridge towards the prior instead of towards 0.
    """

    surrogate: Surrogate
    kind: Kind
    """How explanations are put together, where no prior is given."""
    result: Literal["knowledge", "glime", "pull"]
    clustering: Clustering
    prior: Prior | None = None
    strength: float = 1.0
    """Of the prior."""
    positions: bool = False
    """Tokens go by their position, as InterpretDL 0.8.0 has it, instead of by what they are."""

    def start(self, draws: Draws) -> Fits:
        """Returns an empty state."""
        return self.surrogate.start(draws)

    def update(self, state: Fits, outputs: Mapping[str, np.ndarray], batch: Batch) -> list[int]:
        """Adds a batch; returns the rows that are sure enough."""
        return self.surrogate.update(state, outputs, batch)

    def finish(self, state: Fits) -> Mapping[str, Finding]:
        """Returns what the prior makes of the fits, with the prior and each segment's cluster in ``details``."""
        samples, features = state.draws.samples, state.draws.features
        if samples.classes is None:
            raise MethodError("a prior is kept by class, so the target must be a class, not an entry or a contrast")
        part = state.draws.rows.parts[0]
        tokens = part.role == "tokens"
        clusters, known = self._clusters(state, samples, features, part.wrt.name, tokens)
        rows = [state.rows[row] for row in range(len(features.counts))]
        found = {}
        for k, name in enumerate(state.names):
            classes = samples.classes[:, k]
            prior = self.prior or self._prior(state, clusters, known, classes, k, tokens)
            expected = [
                prior.for_row(int(c), np.arange(len(own)) if tokens and self.positions else own)
                for c, own in zip(classes, clusters, strict=True)
            ]
            fits = [self._fit(own, towards, k) for own, towards in zip(rows, expected, strict=True)]
            checks = {
                "r2": np.asarray([fit.r2 for fit in fits], np.float32),
                "condition": np.minimum([fit.condition for fit in fits], np.finfo(np.float32).max).astype(np.float32),
            }
            if max(row.used for row in rows) < 2:
                checks = {}  # nothing was fitted
            values = expected if self.result == "knowledge" else [fit.coefficients for fit in fits]
            details = {"clusters": tuple(clusters), "prior": prior.to_details()}
            found[name] = painted(features, values, [row.used for row in rows], checks, **details)
        return found

    def _fit(self, own: Sums, towards: np.ndarray, target: int) -> Fit:
        normal = Normal(own.gram, own.moments, own.squares)
        if self.result == "glime":
            assert own.plain is not None
            return glime(normal, own.plain, target, towards, self.strength)
        if self.result == "pull":
            return prior_ridge(normal, target, self.strength, towards)
        return self.surrogate.fitted(own)[target]

    def _clusters(
        self, state: Fits, samples: Samples, features: Features, name: str, tokens: bool
    ) -> tuple[list[np.ndarray], Clusters | None]:
        """Returns the clusters of every row's features, and how new ones would be found."""
        if tokens:
            labels, ids = features.labels[0], samples.inputs[name]
            # A word goes by its first token.
            return [
                ids[row][[int(np.argmax(labels[row] == feature)) for feature in range(count)]].astype(np.int64)
                for row, count in enumerate(features.counts)
            ], None
        if features.maps() is None or samples.pictures is None or state.draws.rows.parts[0].role != "image":
            return [np.arange(count) for count in features.counts], None
        if self.clustering.assign is not None:
            return self.clustering.own(samples, features, name), None
        described = self.clustering.described(samples, features, name)
        known = self.prior.clusters if self.prior is not None else None
        if self.prior is not None and known is None and self.prior.weights:
            raise MethodError(
                "the prior does not say how clusters are found; give the function that found them as clusters"
            )
        if known is None:
            known = Clusters.fit(np.concatenate(described), self.clustering.count, seed=samples.seed)
        return [known.assign(own) for own in described], known

    def _prior(
        self,
        state: Fits,
        clusters: list[np.ndarray],
        known: Clusters | None,
        classes: np.ndarray,
        target: int,
        tokens: bool,
    ) -> Prior:
        pictured = state.draws.rows.parts[0].role == "image"
        features = self.clustering.features if pictured else told_by(state.draws.rows.parts[0].role, self.positions)
        if self.kind == "ridge":
            return Prior(self._ridge(state, clusters), "ridge", known, features)
        coefficients = [fits[target].coefficients for fits in self.surrogate.fits(state)]
        if tokens and self.positions and self.kind == "normlime":
            weights = normlime_text(coefficients, clusters, classes, positions=self.positions)
        else:
            weights = aggregate(self.kind, coefficients, clusters, classes)
        return Prior(weights, self.kind, known, features)

    def _ridge(self, state: Fits, clusters: list[np.ndarray]) -> dict[int, dict[int, float]]:
        """Returns the ridge of what the model says on which clusters a sample has."""
        explained = state.draws.samples.explained
        assert explained is not None
        numbers = np.unique(np.concatenate([own[own >= 0] for own in clusters]))
        presence = np.stack([np.isin(numbers, own) for own in clusters]).astype(np.float64)
        if presence.all():
            raise MethodError(
                "every sample has every kind of feature, so their presence explains nothing; the ridge prior is for "
                "pictures and tokens, and for more than one sample"
            )
        weights = ridge_prior(presence, explained)
        return {c: {int(numbers[j]): w for j, w in row.items()} for c, row in weights.items()}
