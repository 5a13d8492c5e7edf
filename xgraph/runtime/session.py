"""Sessions: opened once for a graph, provider, thread count and batch size, then kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np

from xgraph.errors import ProviderError
from xgraph.graph.artifact import Artifact, with_outputs
from xgraph.kernels import library_path
from xgraph.runtime.ort import first_line, onnxruntime, ort_errors
from xgraph.runtime.providers import Provider, configure

_KEPT = 8
"""Sessions kept open at once; each holds its own copy of packed weights."""


class Session:
    """An open ONNX Runtime session."""

    def __init__(self, artifact: Artifact, provider: Provider, threads: int | None, batch: int | None) -> None:
        ort = onnxruntime()
        options = ort.SessionOptions()
        # Fatal only: an error reaches the user as an exception, once, or is expected and caught.
        options.log_severity_level = 4
        # Else the engine quantises float weights that it finds between quantised activations: other numbers, no sign.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        if threads:
            options.intra_op_num_threads = threads
        if batch:
            # Fixed sizes let the blocked convolution layout survive element-wise nodes.
            options.add_free_dimension_override_by_name("batch", batch)
        graph = with_outputs(artifact.graph, artifact.hidden.values()) if artifact.hidden else artifact.graph
        # The engine borrows these buffers, so they live as long as the session.
        self._weights = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in artifact.weights.items()}
        if self._weights:
            options.add_external_initializers(list(self._weights), list(self._weights.values()))
        try:
            library = library_path()
            if library is not None:
                options.register_custom_ops_library(str(library))
            providers = configure(options, provider)
            self._session = ort.InferenceSession(graph, options, **({"providers": providers} if providers else {}))
        except ort_errors() as error:
            raise ProviderError(f"{provider} cannot open the graph: {first_line(error)}") from error
        self.outputs = [output.name for output in self._session.get_outputs()]
        self._inputs = {item.name for item in self._session.get_inputs()}
        self.providers: list[str] = self._session.get_providers()
        if provider.device == "cuda" and "CUDAExecutionProvider" not in self.providers:
            raise ProviderError("device cuda: the CUDA provider did not start (see `xgraph doctor`); use --device cpu")

    def run(self, feeds: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Returns the outputs by name.

        Raises:
            ProviderError: The engine failed.
        """
        names = list(outputs or self.outputs)
        wanted = {name: array for name, array in feeds.items() if name in self._inputs}
        try:
            return dict(zip(names, self._session.run(names, wanted), strict=True))
        except ort_errors() as error:
            raise ProviderError(f"the graph failed while running: {first_line(error)}") from error


def open_session(
    artifact: Artifact, provider: Provider, *, threads: int | None = None, batch: int | None = None
) -> Session:
    """Returns a session, from the cache where the same one was opened before."""
    key = (artifact.digest, provider, threads, batch)
    with _lock:
        if key in _sessions:
            _sessions.move_to_end(key)
            return _sessions[key]
    session = Session(artifact, provider, threads, batch)
    with _lock:
        _sessions[key] = session
        while len(_sessions) > _KEPT:
            _sessions.popitem(last=False)
    return session


_sessions: OrderedDict[Any, Session] = OrderedDict()
_lock = Lock()
