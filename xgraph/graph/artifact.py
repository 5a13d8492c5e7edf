"""Artifact: a finished graph, ready to run or to be written. What leaves the graph room."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
import onnx
import onnx_ir as ir

from xgraph.graph.cost import input_bytes, peak_bytes
from xgraph.graph.evaluator import detach_weights

HIDDEN = "xgraph.hidden"
"""Model metadata key: values that our own runs read beside the outputs (explained value, class), by name."""
SAMPLE_BYTES = "xgraph.sample_bytes"
"""Model metadata key: ``Artifact.sample_bytes``."""
INPUT_BYTES = "xgraph.input_bytes"
"""Model metadata key: ``Artifact.input_bytes``."""


@dataclass(frozen=True)
class Artifact:
    """A serialized graph whose large weights are kept beside it."""

    graph: bytes
    """ModelProto; the initializers named in ``weights`` are declared as external data."""
    weights: Mapping[str, np.ndarray]
    sample_bytes: int
    """Estimated peak memory of activations for one sample."""
    digest: str
    """Of the graph and of the model it was made from, whose weights it shares."""
    hidden: Mapping[str, str] = field(default_factory=dict)
    """Role (``explained``, ``class``) -> name of a value that is computed but is no output of the file."""
    input_bytes: int = 0
    """Bytes of the inputs of that one sample, to scale the estimate by; 0: not known."""


def finish(model: ir.Model, identity: str, hidden: Mapping[str, ir.Value] | None = None) -> Artifact:
    """Returns the artifact of a model rewritten from the one whose digest is ``identity``."""
    names = {role: value.name or "" for role, value in (hidden or {}).items()}
    if names:
        model.metadata_props[HIDDEN] = json.dumps(names)
    cost, given = peak_bytes(model), input_bytes(model)
    model.metadata_props[SAMPLE_BYTES] = str(cost)
    model.metadata_props[INPUT_BYTES] = str(given)
    graph, weights = detach_weights(model)
    return Artifact(graph, weights, cost, sha256(identity.encode() + graph).hexdigest(), names, given)


def with_outputs(graph: bytes, names: Iterable[str]) -> bytes:
    """Returns the serialized graph with the values ``names`` as further outputs."""
    proto = onnx.ModelProto.FromString(graph)
    have = {output.name for output in proto.graph.output}
    known = {info.name: info for info in proto.graph.value_info}
    for name in names:
        if name not in have:
            proto.graph.output.append(known.get(name) or onnx.ValueInfoProto(name=name))
    return bytes(proto.SerializeToString())
