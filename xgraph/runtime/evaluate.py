"""The Evaluator that rooms without a runtime are handed: one run on the CPU, nothing kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from xgraph.errors import GraphError, ProviderError
from xgraph.graph.artifact import Artifact
from xgraph.runtime.ort import onnxruntime
from xgraph.runtime.providers import Provider
from xgraph.runtime.session import Session


def evaluate(model: bytes, weights: Mapping[str, np.ndarray], feeds: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
    """Returns the outputs of a serialized model in order, run once on the CPU provider.

    Raises:
        GraphError: The engine does not take the model, or fails while running it.
    """
    artifact = Artifact(model, weights, sample_bytes=1, digest="")
    # Without the engine there is no verdict on the graph: that error keeps its own type.
    onnxruntime()
    try:
        session = Session(artifact, Provider("cpu"), threads=None, batch=None)
        return list(session.run(feeds).values())
    except ProviderError as error:
        raise GraphError(str(error)) from error
