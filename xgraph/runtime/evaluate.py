"""The Evaluator that rooms without a runtime are handed: one run on the CPU, nothing kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from xgraph.graph.artifact import Artifact
from xgraph.runtime.providers import Provider
from xgraph.runtime.session import Session


def evaluate(model: bytes, weights: Mapping[str, np.ndarray], feeds: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
    """Returns the outputs of a serialized model in order, run once on the CPU provider."""
    artifact = Artifact(model, weights, sample_bytes=1, digest="")
    session = Session(artifact, Provider("cpu"), threads=None, batch=None)
    return list(session.run(feeds).values())
